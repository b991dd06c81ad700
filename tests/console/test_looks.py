"""Every page in each of its states: axe finds nothing, in light and in dark; it fits 360 pixels, and holds at 200 %."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from everproof.access import Wanted
from everproof.identity.provider.devices import DeviceRequest, begin
from everproof.kernel.words import Ref
from tests.console.browser import Person
from tests.console.looks import cut_off, violations
from tests.console.site import Site
from tests.console.world import asking, newcomer, signed_on
from tests.server.asgi import call

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("pages")]

LONG = "Supercalifragilisticexpialidocious-" * 6
SMALL = {"width": 360, "height": 640}
ZOOMED = {"width": 640, "height": 400}
"""What a window of 1280 by 800 has room for at 200 %."""

State = Callable[[Page], Awaitable[None]]


class Room:
    """Somebody with everything that a page can show."""

    def __init__(self, site: Site, person: Person) -> None:
        self.site = site
        self.person = person
        self.states: dict[str, str] = {}


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def room(browser: Browser, site: Site) -> AsyncIterator[Room]:
    """Requests of every state, a grant, two sessions, factors, a device that waits, a consent that is asked for."""
    dora = await newcomer(site, "dora", "developers")
    emil = await newcomer(site, "emil", "release", "a-group-with-a-name-that-is-rather-long-as-names-of-groups-go")
    person = await Person.at(browser, site, reduced_motion="reduce")  # else colours are looked at on their way
    await signed_on(site, "dora", agent="Mozilla/5.0 (X11; Linux x86_64) Chrome/156", address="2001:db8::1:2:3:4")
    _, cookie = await signed_on(site, "dora")
    await person.context.add_cookies([cookie])
    await person.give_authenticator()
    page = person.page
    await page.goto("/factors")
    await page.get_by_label("Name").first.fill("A name of a passkey that is quite long, as people choose")
    await page.get_by_role("button", name="Add a passkey").click()
    await page.get_by_text("It is added").wait_for()
    made = Room(site, person)
    made.states = await states(site, dora, emil)
    yield made
    await person.close()


async def states(site: Site, dora: Ref, emil: Ref) -> dict[str, str]:
    """The paths of the pages that need something to be there first."""
    app = site.app
    requests = app.access.requests
    asker = app.identity.sessions.proof((await signed_on(site, dora.id))[0].id)
    session, _ = await signed_on(site, emil.id, factors={"passkey": app.storage.clock.now()})
    answerer = app.identity.sessions.proof(session.id)
    wanted = Wanted(
        action="identity:sign-in", resource=Ref("Client", "deploys"), seconds=3600, reason=f"<b>{LONG}</b> & more"
    )
    found = {}
    for name in ("granted", "refused", "cancelled", "open"):
        outcome = await requests.request(asker, wanted)
        record = outcome.outcome  # type: ignore[union-attr]
        found[f"request, {name}"] = f"/requests/{record.id}"
        if name == "granted":
            given = await requests.approve(answerer, record.id, digest=record.digest, message=LONG)
            await requests.revoke(answerer, given.outcome.grant.id, reason="enough")  # type: ignore[union-attr]
        elif name == "refused":
            await requests.refuse(answerer, record.id, reason=LONG)
        elif name == "cancelled":
            await requests.cancel(asker, record.id)
    asked = DeviceRequest(
        client="everproof-cli", scope=(), key="", at=app.storage.clock.now(), address="2001:db8::1", agent=LONG
    )
    codes = await app.storage.write(lambda tx: begin(tx, asked))
    found["device, one waits"] = f"/device?user_code={codes.user_code}"
    return found


PATHS = {
    "access": "/access",
    "requests": "/requests",
    "requests, one state": "/requests?state=refused",
    "request, new": "/requests/new?action=identity:sign-in&type=Client&id=deploys&for=1h",
    "sessions": "/sessions",
    "factors": "/factors",
    "factors, said": "/factors?said=added",
    "step-up": "/step-up?next=/factors",
    "device": "/device",
    "device, none waits": "/device?user_code=BBBB-BBBB",
    "sign in anew": "/login?max_age=0",
    "invitation": "/enrol#secret",
    "go on": "/continue?next=/access",
    "nothing there": "/nothing/of/the/kind",
    "another site": "/login?next=//evil.example",
}


async def check(person: Person, name: str) -> list[str]:
    """What is wrong with the page that is open, in all ways to look at it."""
    page = person.page
    found = [f"{name}: {one}" for one in await violations(page)]
    await page.emulate_media(color_scheme="dark")
    found += [f"{name}, dark: {one}" for one in await violations(page, colours_alone=True)]
    await page.emulate_media(color_scheme="light")
    for size in (SMALL, ZOOMED):
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        found += [f"{name}, {size['width']} px: {one}" for one in await cut_off(page)]
    await page.set_viewport_size({"width": 900, "height": 720})
    return found


async def stay(site: Site, route: Route) -> None:
    """Answer with the page that is left at once, as it is before."""
    answer = await call(site.doors, "GET", "/continue", query="next=/access")
    text = answer.body.decode().replace("http-equiv", "name")
    await route.fulfill(body=text, headers={"content-type": answer.headers["content-type"]})


async def test_no_page_has_a_violation_or_is_cut_off(room: Room) -> None:
    found: list[str] = []
    page = room.person.page
    await page.route(re.compile("/continue"), partial(stay, room.site))
    for name, path in {**PATHS, **room.states}.items():
        await page.goto(path, wait_until="domcontentloaded")
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        found += await check(room.person, name)
    assert not found, "\n".join(found)


async def test_no_answer_to_a_form_has_a_violation_or_is_cut_off(room: Room) -> None:
    found: list[str] = []
    page = room.person.page
    await page.goto(asking(room.site))
    found += await check(room.person, "denial")
    await page.goto("/factors")
    await page.get_by_role("button", name="Add an authenticator app").click()
    await page.get_by_role("heading", name="Add an authenticator app").wait_for()
    found += await check(room.person, "authenticator app")
    await page.get_by_label("Its first code").fill("000000")
    await page.get_by_role("button", name="Show this code").click()
    await page.get_by_role("alert").wait_for()
    found += await check(room.person, "authenticator app, wrong code")
    await page.goto("/factors")
    await page.get_by_role("button", name="Make recovery codes").click()
    await page.get_by_role("heading", name="Your recovery codes").wait_for()
    found += await check(room.person, "recovery codes")
    await page.goto("/requests/new")
    await page.get_by_label("What you want to do").fill("deploy")
    await page.get_by_label("On what").fill("<script>alert(1)</script>")
    await page.get_by_label("Why").fill(LONG)
    await page.get_by_role("button", name="Send the request").click()
    await page.get_by_role("alert").wait_for()
    found += await check(room.person, "request, wrong")
    room.site.clock.advance(timedelta(minutes=6))
    await page.goto("/factors")
    await page.get_by_role("button", name="Make recovery codes").click()
    await page.get_by_role("heading", name="Not yet").wait_for()
    found += await check(room.person, "step-up wanted")
    assert not found, "\n".join(found)


async def test_whoever_wants_less_motion_gets_none(room: Room) -> None:
    page = room.person.page
    await page.goto("/access")
    moves = "one => parseFloat(getComputedStyle(one).transitionDuration) > 0"
    assert await page.evaluate(f"[...document.querySelectorAll('*')].filter({moves}).length") == 0
