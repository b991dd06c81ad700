"""Debian's Chromium, headless, that knows the server's own certificate authority and complains of whatever it sees."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, CDPSession, ConsoleMessage, Page, async_playwright

from tests.console.site import Site

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT = 8_000
"""Milliseconds that anything in a page may take before its test fails."""

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def require_chromium() -> None:
    """Skip where there is no Chromium to drive, but never where the whole suite must run."""
    missing = [name for name in (CHROMIUM, "certutil") if shutil.which(name) is None]
    if missing:
        said = f"{' and '.join(missing)} not installed: scripts/setup installs them"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)


def trust(home: Path, ca: Path) -> None:
    """Have every browser under ``home`` believe ``ca``."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for arguments in (
        ["-N", "--empty-password"],
        ["-A", "-n", "everproof", "-t", "C,,", "-i", str(ca)],
    ):
        subprocess.run(["certutil", "-d", f"sql:{store}", *arguments], check=True, capture_output=True, timeout=20)


@asynccontextmanager
async def chromium(home: Path) -> AsyncIterator[Browser]:
    """A browser whose home is ``home``."""
    environment: dict[str, str | float | bool] = {"PATH": os.environ["PATH"], "HOME": str(home)}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS, env=environment, chromium_sandbox=False, timeout=30_000
        )
        try:
            yield browser
        finally:
            await browser.close()


class Person:
    """Somebody at a browser of their own. ``complaints`` is what the browser held against the pages."""

    def __init__(self, context: BrowserContext, page: Page, cdp: CDPSession) -> None:
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        self._cdp = cdp
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    @classmethod
    async def at(cls, browser: Browser, site: Site, **options: Any) -> "Person":
        """Open a browser at ``site``, with nothing in it."""
        size = {"viewport": {"width": 900, "height": 720}, **options}
        context = await browser.new_context(base_url=site.url, **size)
        context.set_default_timeout(TIMEOUT)
        page = await context.new_page()
        person = cls(context, page, await context.new_cdp_session(page))
        await person.set_clock(site.clock.leap)
        return person

    async def set_clock(self, ahead: timedelta) -> None:
        """Set the clock of the browser forward, from the next page on."""
        shift = ahead.total_seconds() * 1000
        await self.context.add_init_script(f"{{ const now = Date.now; Date.now = () => now.call(Date) + {shift} }}")

    async def give_authenticator(self, **changes: Any) -> str:
        """Give the browser an authenticator of its own; its id."""
        await self._cdp.send("WebAuthn.enable")
        made = await self._cdp.send("WebAuthn.addVirtualAuthenticator", {"options": {**AUTHENTICATOR, **changes}})
        return str(made["authenticatorId"])

    async def take_authenticator(self, authenticator: str) -> None:
        """Take it away again."""
        await self._cdp.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": authenticator})

    async def close(self) -> None:
        """Close it, and fail if the browser complained of anything."""
        await self.context.close()
        assert self.complaints == []

    def _hear(self, message: ConsoleMessage) -> None:
        # An answer of 4xx is what many tests are about, and the browser says so of each.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)
