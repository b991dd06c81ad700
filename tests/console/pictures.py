"""Pictures of the pages for docs/, made where EVERPROOF_SCREENSHOTS names a folder."""

import os
from pathlib import Path

from playwright.async_api import Page

FOLDER = os.environ.get("EVERPROOF_SCREENSHOTS", "")


async def picture(page: Page, name: str) -> None:
    """Take one, if they are wanted."""
    if FOLDER:
        await page.screenshot(path=Path(FOLDER) / f"{name}.png", full_page=True, animations="disabled")
