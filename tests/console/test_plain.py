"""Without a script, and without a mouse."""

import pytest
from playwright.async_api import Browser, expect

from tests.console.browser import Person
from tests.console.site import Site
from tests.console.world import asking, newcomer, signed_on

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("pages")]


async def test_requests_approvals_and_sessions_take_no_script(browser: Browser, site: Site) -> None:
    now = site.app.storage.clock.now()
    people = {}
    for id_, group in (("nora", "developers"), ("otto", "release")):
        await newcomer(site, id_, group)
        people[id_] = await Person.at(browser, site, java_script_enabled=False)
        _, cookie = await signed_on(site, id_, factors={"passkey": now})
        await people[id_].context.add_cookies([cookie])
    nora, otto = people["nora"].page, people["otto"].page
    await signed_on(site, "nora")

    await nora.goto(asking(site))
    await nora.get_by_role("link", name="Request access").click()
    await nora.get_by_label("Why").fill("To see what was deployed")
    await nora.get_by_role("button", name="Send the request").click()
    await expect(nora.get_by_text("Your request is on its way")).to_be_visible()

    await otto.goto("/requests")
    await otto.get_by_role("region", name="Waiting for your answer").get_by_role("link").first.click()
    await otto.get_by_role("button", name="Refuse").click()
    await expect(otto.get_by_role("alert")).to_contain_text("why")
    await otto.get_by_label("Message").fill("yes")
    await otto.get_by_role("button", name="Approve for 1 h").click()
    await expect(otto.get_by_text("Your approval counts.")).to_be_visible()

    await nora.reload()
    await nora.get_by_role("link", name="Go on to where you were").click()
    await nora.get_by_role("button", name="Sign in", exact=True).click()
    await nora.wait_for_url(f"{site.beyond}/callback**")

    await nora.goto("/access")
    await expect(nora.get_by_text("59 min left")).to_be_visible()
    await nora.get_by_role("button", name="Give it back").click()
    await expect(nora.get_by_text("It is given back")).to_be_visible()

    await nora.goto("/sessions")
    await expect(nora.get_by_text("What knows who you are")).to_be_visible()
    await nora.get_by_role("button", name="Take it back from Deploys").click()
    await expect(nora.get_by_text("It may know nothing of you any more")).to_be_visible()
    await nora.get_by_role("button", name="End all others").click()
    await expect(nora.get_by_text("All other sessions are ended")).to_be_visible()
    await nora.get_by_role("button", name="End it: session 1 of 1").click()
    await expect(nora.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    await nora.goto("/access")
    await expect(nora.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    for person in people.values():
        await person.close()


async def test_sign_in_takes_no_mouse(browser: Browser, site: Site) -> None:
    await newcomer(site, "kim")
    kim = await Person.at(browser, site)
    _, cookie = await signed_on(site, "kim")
    await kim.context.add_cookies([cookie])
    await kim.give_authenticator()
    page = kim.page
    await page.goto("/factors")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Name").first).to_be_focused()
    await page.keyboard.type("laptop")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Add a passkey")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("It is added")).to_be_visible()

    await page.get_by_role("button", name="Sign out").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    reached = []
    for _ in range(3):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.textContent.trim()"))
    assert reached == ["Skip to the content", "Everproof", "Use a passkey"]
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="My access")).to_be_visible()
    await kim.close()
