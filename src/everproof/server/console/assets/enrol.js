// @ts-check
/** Reads the end of the page's address, which no server was sent, into what is to be done with it. */

import { find } from "./press.js";

const secret = location.hash.slice(1);

if (secret !== "") {
  const command = find("[data-command]");
  if (command) {
    command.textContent = `everproof login --enrol '${location.href.replaceAll("'", "%27")}'`;
  }
  const ways = find("[data-invited]");
  if (ways) {
    for (const field of ways.querySelectorAll("input[name=invitation]")) {
      if (field instanceof HTMLInputElement) {
        field.value = secret;
      }
    }
    ways.hidden = false;
    find("[data-without]")?.remove();
  }
}
