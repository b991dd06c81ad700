"""From a terminal to the pages, in a real browser."""

import pytest
from playwright.async_api import Browser, expect

from everproof.identity.challenges import Challenges
from everproof.server.handover import KEY
from tests.console.browser import Person
from tests.console.looks import cut_off, violations
from tests.console.site import Site
from tests.console.world import newcomer, signed_on

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("pages")]


async def link(site: Site, id_: str) -> str:
    """What `everproof open /factors` opens, for somebody who has logged in with an SSH key."""
    session, _ = await signed_on(site, id_, kind="cli", provider="ssh-key", address="192.0.2.7")
    codes = Challenges(site.app.storage.clock, server=site.url, key=site.app.signing.derived(KEY))
    return f"/from-terminal?next=/factors#{session.id}.{codes.new(session.id).text}"


async def test_an_ssh_key_leads_to_a_passkey(browser: Browser, site: Site) -> None:
    await newcomer(site, "sam")
    sam = await Person.at(browser, site)
    await sam.give_authenticator()
    page = sam.page
    await page.goto(await link(site, "sam"))
    await expect(page.get_by_text("192.0.2.7")).to_be_visible()
    assert "#" not in page.url
    assert await violations(page) == []
    await page.set_viewport_size({"width": 360, "height": 640})
    assert await cut_off(page) == []
    await page.get_by_role("button", name="Sign this browser in").click()
    await expect(page.get_by_role("heading", name="Factors")).to_be_visible()
    await page.get_by_label("Name").first.fill("laptop")
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.get_by_text("It is added")).to_be_visible()
    await sam.close()


async def test_nobody_works_under_anothers_name_unseen(browser: Browser, site: Site) -> None:
    await newcomer(site, "tess")
    tess = await Person.at(browser, site)
    _, cookie = await signed_on(site, "tess")
    await tess.context.add_cookies([cookie])
    page = tess.page
    await page.goto(await link(site, "carol"))
    await expect(page.get_by_text("carol", exact=True)).to_be_visible()
    await page.goto("/access")
    await expect(page.get_by_text("tess", exact=True)).to_be_visible()
    await page.goto("/from-terminal#" + "x" * 90)
    await expect(page.get_by_text("The link is not one of this server")).to_be_visible()
    await tess.close()
