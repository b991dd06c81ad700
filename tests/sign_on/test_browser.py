"""Signing on in a real browser: what it makes of our cookies, redirects and policies, nobody else can say."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from everproof.identity import invite
from everproof.kernel.words import Ref
from everproof.server.listener import Listener
from everproof.server.tls import Certificates
from tests.cli.server import free_port
from tests.console.browser import Person, chromium, require_chromium, trust
from tests.fakes import openid
from tests.sign_on.conftest import FILE, server
from tests.sign_on.site import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("pages")]


@pytest_asyncio.fixture(loop_scope="session")
async def listening(provider: openid.Running, ca_file: Path, tmp_path: Path) -> AsyncIterator[Site]:
    """The server, on a port of its own."""
    port = free_port()
    client = provider.register([f"https://localhost:{port}/login/callback/example"])
    text = FILE.format(issuer=provider.issuer, client=client.id)
    site = server(tmp_path, ca_file, {"example": (text, provider.issuer, client.secret)}, port=port)
    listener = Listener(site.doors)
    await site.app.start()
    try:
        certificates = Certificates(site.app.settings, site.app.storage.clock)
        await listener.listen("127.0.0.1", port, certificates.context)
        yield site
    finally:
        await listener.stop()
        await site.app.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(listening: Site, provider: openid.Running, tmp_path: Path) -> AsyncIterator[Browser]:
    """Debian's Chromium, which believes the certificates of both."""
    require_chromium()
    trust(tmp_path, listening.app.settings.state / "ca.pem")
    also_trust(tmp_path, provider.ca_file)
    async with chromium(tmp_path) as browser:
        yield browser


def also_trust(home: Path, ca: Path) -> None:
    """Have every browser under ``home`` believe ``ca`` too."""
    store = ["-d", f"sql:{home / '.pki' / 'nssdb'}"]
    more = ["-A", "-n", "provider", "-t", "C,,", "-i", str(ca)]
    subprocess.run(["certutil", *store, *more], check=True, capture_output=True, timeout=20)


async def sign_in_there(page: Page, account: str) -> None:
    await page.get_by_label("Account").fill(account)
    await page.get_by_role("button", name="Sign in").click()


async def test_signing_on_stepping_up_and_out_in_a_real_browser(
    browser: Browser, listening: Site, ada: str, bob: str
) -> None:
    person = await opened(browser, listening)
    page = person.page
    await page.goto("/requests?x=1")
    await page.get_by_role("link", name="Go on with Example").click()
    await sign_in_there(page, ada)
    await page.wait_for_url("**/requests?x=1")
    assert [one.principal.id for one in listening.app.identity.sessions.all()] == [ada]

    (before,) = listening.sessions(ada)
    await page.goto("/step-up?next=/access")
    await page.get_by_role("link", name="Have Example ask for it").click()
    await sign_in_there(page, ada)  # once more, although the provider knew the browser
    await page.wait_for_url("**/access")
    (after,) = listening.sessions(ada)
    assert after.id == before.id
    assert after.factors["provider"] >= before.factors["provider"]

    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/login")
    assert not listening.sessions(ada)
    await person.close()

    guest = await opened(browser, listening)
    issued = await listening.app.storage.write(lambda tx: invite(tx, user=f"guest-{bob}", groups=("auditors",)))
    await guest.page.goto(f"/enrol#{issued.secret}")
    await guest.page.get_by_role("button", name="Go on with Example").click()
    await sign_in_there(guest.page, bob)
    await guest.page.wait_for_url("**/factors")
    assert listening.app.identity.directory.record(Ref("User", f"guest-{bob}")).groups == ("auditors",)
    await guest.close()


async def opened(browser: Browser, site: Site) -> Person:
    """Somebody's browser, with nothing in it."""
    context = await browser.new_context(base_url=site.app.settings.issuer)
    context.set_default_timeout(8_000)
    page = await context.new_page()
    await expect(page).to_have_url("about:blank")
    return Person(context, page, await context.new_cdp_session(page))
