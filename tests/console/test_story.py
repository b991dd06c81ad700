"""A working day in real browsers, from the first passkey to the end of a grant."""

import re
from datetime import timedelta

import pytest
from playwright.async_api import Browser, Page, expect

from tests.console.browser import Person
from tests.console.pictures import picture
from tests.console.site import Site
from tests.console.world import asking, signed_on

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("pages")]


async def arrive(browser: Browser, site: Site, id_: str) -> Person:
    """Somebody who has signed on at their provider, with an authenticator in their machine."""
    person = await Person.at(browser, site, viewport={"width": 720, "height": 600})
    _, cookie = await signed_on(site, id_)
    await person.context.add_cookies([cookie])
    await person.give_authenticator()
    return person


async def show_passkey(page: Page) -> None:
    await page.get_by_role("link", name="Show a factor and go on").click()
    await page.get_by_role("button", name="Use a passkey").click()


async def enrol_passkey(person: Person, name: str) -> None:
    page = person.page
    await page.goto("/factors")
    await page.get_by_label("Name").first.fill(name)
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.get_by_role("status").filter(has_text="It is added")).to_be_visible()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


async def later(site: Site, by: timedelta, *people: Person) -> None:
    """Time goes on, for the server and for its visitors."""
    site.clock.advance(by)
    for person in people:
        await person.set_clock(by)


async def test_from_the_first_passkey_to_the_end_of_a_grant(browser: Browser, site: Site) -> None:
    alice, bob = await arrive(browser, site, "alice"), await arrive(browser, site, "bob")
    await enrol_passkey(bob, "phone")
    await the_first_factor_signs_in(alice)
    await later(site, timedelta(minutes=6), alice, bob)
    await a_factor_is_asked_for_in_the_middle(alice.page)
    await later(site, timedelta(minutes=6), alice, bob)
    await a_denial_leads_to_a_request(alice.page, site)
    await later(site, timedelta(minutes=6), alice, bob)
    await somebody_else_approves(bob.page)
    await it_goes_on_where_it_was(alice.page, site)
    await later(site, timedelta(minutes=61), alice)
    await it_is_over_by_itself(alice.page, site)
    for person in (alice, bob):
        await person.close()


async def the_first_factor_signs_in(alice: Person) -> None:
    page = alice.page
    await enrol_passkey(alice, "laptop")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    await picture(page, "sign-in")
    await page.get_by_role("button", name="Use a passkey").click()
    await expect(page.get_by_role("heading", name="My access")).to_be_visible()


async def a_factor_is_asked_for_in_the_middle(page: Page) -> None:
    await page.get_by_role("link", name="Factors").click()
    await page.get_by_role("button", name="Make recovery codes").click()
    await expect(page.get_by_role("heading", name="Not yet: show a factor first")).to_be_visible()
    await picture(page, "step-up-wanted")
    await show_passkey(page)
    await page.get_by_role("button", name="Make recovery codes").click()
    await expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()


async def a_denial_leads_to_a_request(page: Page, site: Site) -> None:
    await page.goto(asking(site))
    await expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
    await expect(page.get_by_text("deploys/granted")).to_be_visible()
    await picture(page, "denial")
    await page.get_by_role("link", name="Request access").click()
    await expect(page.get_by_label("What you want to do")).to_have_value("identity:sign-in")
    await expect(page.get_by_label("On what")).to_have_value('Client::"deploys"')
    await page.get_by_label("Why").fill("The payments of last night have to be sent again")
    await picture(page, "request")
    await page.get_by_role("button", name="Send the request").click()
    await expect(page.get_by_text("Your request is on its way")).to_be_visible()


async def somebody_else_approves(page: Page) -> None:
    """With a factor, and with what they had begun to write."""
    await page.goto("/requests")
    await page.get_by_role("region", name="Waiting for your answer").get_by_role("link").first.click()
    await page.get_by_label("Message").fill("Go ahead, I am watching")
    await page.get_by_role("button", name="Approve for 1 h").click()
    await show_passkey(page)
    await expect(page.get_by_label("Message")).to_have_value("Go ahead, I am watching")
    await picture(page, "approval")
    await page.get_by_role("button", name="Approve for 1 h").click()
    await expect(page.get_by_text("Your approval counts.")).to_be_visible()


async def it_goes_on_where_it_was(page: Page, site: Site) -> None:
    await page.reload()
    await page.get_by_role("link", name="Go on to where you were").click()
    await show_passkey(page)
    await expect(page.get_by_role("heading", name="Sign in to Deploys?")).to_be_visible()
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.wait_for_url(re.compile(re.escape(site.beyond) + r"/callback\?code="))
    await page.goto("/access")
    await expect(page.get_by_text("min left")).to_be_visible()
    await picture(page, "access")


async def it_is_over_by_itself(page: Page, site: Site) -> None:
    await page.goto(asking(site))
    await expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()  # the session is over too
    await page.get_by_role("button", name="Use a passkey").click()
    await expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
    await page.goto("/requests")
    await expect(page.get_by_role("region", name="Answered, and past").get_by_text("over", exact=True)).to_be_visible()
