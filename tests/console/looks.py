"""What holds for every page, however it looks: axe finds nothing, and nothing is cut off or scrolls sideways."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from playwright.async_api import Page

AXE = Path(__file__).parents[1] / "npm" / "node_modules" / "axe-core" / "axe.min.js"

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}

CUT_OFF = """() => {
  const found = [];
  if (document.documentElement.scrollWidth > window.innerWidth) {
    found.push(`the page is ${document.documentElement.scrollWidth} wide at ${window.innerWidth}`);
  }
  for (const one of document.querySelectorAll("body *")) {
    const box = one.getBoundingClientRect();
    const style = getComputedStyle(one);
    if (box.width <= 1 || box.height <= 1 || style.visibility === "hidden" || one.closest("svg")) continue;
    if (box.right > window.innerWidth + 0.5 || box.left < -0.5) {
      found.push(`${one.tagName} ${one.className} reaches ${Math.round(box.right)}`);
    }
    const hides = ["hidden", "clip"].includes(style.overflowX) || style.textOverflow === "ellipsis";
    if (hides
      && one.tagName !== "INPUT" && one.scrollWidth > one.clientWidth + 1)
      found.push(`${one.tagName} ${one.className} is cut off`);
  }
  return found;
}"""


@lru_cache(maxsize=1)
def axe_source() -> str:
    """axe, as npm has it."""
    return AXE.read_text()


async def violations(page: Page, *, colours_alone: bool = False) -> list[str]:
    """What axe holds against a page as it stands."""
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(axe_source())
    rules = {**RULES, "runOnly": ["color-contrast"]} if colours_alone else RULES
    found: dict[str, Any] = await page.evaluate("rules => axe.run(document, rules)", rules)
    return [
        f"{one['id']}: {one['help']}: {node['html'][:120]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


async def cut_off(page: Page) -> list[str]:
    """What of a page is out of sight to the side."""
    found: list[str] = await page.evaluate(CUT_OFF)
    return found
