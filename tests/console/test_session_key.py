"""The key that a page makes for its session: it renews the cookie, and a copy of the cookie is soon worth nothing."""

from datetime import timedelta

import pytest
from playwright.async_api import Browser, expect

from tests.console.browser import Person
from tests.console.site import Site
from tests.console.world import newcomer, signed_on

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("pages")]

BOUND = "async () => (await (await fetch('/session')).json()).key_bound"
KEPT = """async () => false === await new Promise((resolve) => {
  const opening = indexedDB.open("everproof", 1);
  opening.onsuccess = () => {
    const reading = opening.result.transaction("keys").objectStore("keys").get("current");
    reading.onsuccess = () => resolve(reading.result?.privateKey.extractable);
  };
})"""


async def test_a_copied_cookie_is_soon_worth_nothing(browser: Browser, site: Site) -> None:
    await newcomer(site, "uma")
    uma, thief = await Person.at(browser, site), await Person.at(browser, site)
    _, cookie = await signed_on(site, "uma")
    await uma.context.add_cookies([cookie])
    await uma.page.goto("/access")
    await uma.page.wait_for_function(BOUND)
    await uma.page.wait_for_function(KEPT)
    stolen = [one for one in await uma.context.cookies() if one["name"] == cookie["name"]]
    await thief.context.add_cookies(stolen)  # type: ignore[arg-type]
    await thief.page.goto("/access")
    await expect(thief.page.get_by_text("uma", exact=True)).to_be_visible()

    site.clock.advance(timedelta(minutes=11))
    for person in (uma, thief):
        await person.set_clock(timedelta(minutes=11))
    await thief.page.goto("/requests")
    await expect(thief.page.get_by_text("This browser has no key of the session any more")).to_be_visible()
    await uma.page.goto("/requests?state=refused")
    await expect(uma.page.get_by_role("heading", name="Requests", exact=True)).to_be_visible()
    assert uma.page.url.endswith("/requests?state=refused")
    for person in (uma, thief):
        await person.close()


async def test_a_browser_that_keeps_no_keys_is_served_all_the_same(browser: Browser, site: Site) -> None:
    await newcomer(site, "vito")
    vito = await Person.at(browser, site)
    await vito.context.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
    _, cookie = await signed_on(site, "vito")
    await vito.context.add_cookies([cookie])
    await vito.page.goto("/access")
    await vito.page.get_by_role("link", name="Sessions").click()
    await expect(vito.page.get_by_text("to nothing: it ends sooner")).to_be_visible()
    await vito.close()
