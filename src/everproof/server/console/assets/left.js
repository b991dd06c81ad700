// @ts-check
/** What ends counts down. Without this script the page says how much was left when it was made. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * As the server says a length of time.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function span(seconds) {
  if (seconds < MINUTE) {
    return `${Math.max(0, Math.floor(seconds))} s`;
  }
  if (seconds < HOUR) {
    return `${Math.floor(seconds / MINUTE)} min`;
  }
  if (seconds < DAY) {
    const minutes = Math.floor((seconds % HOUR) / MINUTE);
    return `${Math.floor(seconds / HOUR)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  const hours = Math.floor((seconds % DAY) / HOUR);
  return `${Math.floor(seconds / DAY)} d${hours ? ` ${hours} h` : ""}`;
}

/** The server's clock less this one's, so that a wrong clock here does not promise more than there is. */
const made = document.querySelector("meta[name=made]");
const ahead = made instanceof HTMLMetaElement ? Date.parse(made.content) - Date.now() : 0;

function count() {
  for (const one of document.querySelectorAll("time[data-left]")) {
    if (one instanceof HTMLTimeElement) {
      const seconds = (Date.parse(one.dateTime) - Date.now() - ahead) / 1000;
      one.textContent = seconds > 0 ? `${span(seconds)} left` : "over";
    }
  }
}

setInterval(count, 1000);
