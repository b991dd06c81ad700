"""Signing out: at the provider, which tells us; here; and here and there."""

from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest

from tests.fakes import openid
from tests.fakes.https import Asked, Said
from tests.fakes.https import serving as fake_api
from tests.fakes.lying_provider import LyingProvider
from tests.sign_on.conftest import FILE, SiteOf
from tests.sign_on.site import URL, Site, answered, onward, parts

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def told(site: Site, token: str, provider: str = "liar") -> httpx.Response:
    """What the server answers a provider that sends a logout token: no browser, no cookie."""
    return await site.visitor().post(
        f"/logout/backchannel/{provider}", {"logout_token": token}, sec_fetch_site="", origin=""
    )


async def test_who_signs_out_at_the_provider_is_signed_out_here(site: Site, liar: LyingProvider) -> None:
    hers, phone = site.visitor(), site.visitor()
    assert (await answered(hers, liar)).status_code == 303
    liar.claims = {"sid": "another-sid"}
    assert (await answered(phone, liar)).status_code == 303
    answer = await told(site, liar.logout_token(sub=None))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert (await hers.me(), await phone.me()) == ("", liar.person)
    assert (await told(site, liar.logout_token(sid=None))).status_code == 200
    assert await phone.me() == ""
    said = [one for one in await site.entries() if one.get("event") == "signed-out-at-provider"]
    assert [one["ended"] for one in said] == [1, 1]


async def test_a_sign_on_that_was_on_its_way_when_its_session_was_ended_begins_nothing(
    site: Site, liar: LyingProvider
) -> None:
    """The logout is faster than the browser."""
    hers = site.visitor()
    assert (await answered(hers, liar)).status_code == 303
    liar.claims = {"sid": "s2"}
    asked = parts(await hers.ask("liar"))
    liar.nonce = asked["nonce"]
    assert (await told(site, liar.logout_token(sid="s2"))).status_code == 200
    answer = await hers.get(f"/login/callback/liar?state={asked['state']}&code=x")
    assert answer.status_code == 403
    assert "has ended" in answer.json()["detail"]


class Receiver:
    """Takes what a provider sends to a client's back-channel address."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> Said:  # noqa: ARG002 - the interface's
        return Said(200)


async def test_the_certified_providers_own_logout_token(tmp_path: Path, serving: SiteOf) -> None:
    """Caught on its way by a receiver of the test's: the server has no address of its own in this test."""
    receiver = Receiver()
    with (
        fake_api(receiver, tmp_path) as at,
        openid.running(tmp_path, trusting=at.ca_file.read_text()) as provider,
        provider.browser() as browser,
    ):
        provider.account("ada", preferred_username="ada", groups=[])
        client = provider.register(
            [f"{URL}/login/callback/example"], backchannel_logout_uri=f"{at.url}/logout",
            backchannel_logout_session_required=True,
        )  # fmt: skip
        text = FILE.format(issuer=provider.issuer, client=client.id)
        site = await serving(ca=provider.ca_file, example=(text, provider.issuer, client.secret))
        hers = site.visitor()
        assert (await hers.sign_on(provider, "ada", browser=browser)).status_code == 303
        page = provider.visit(f"{provider.issuer}/session/end", browser)
        xsrf = page.text.partition('name="xsrf" value="')[2].partition('"')[0]
        browser.post(f"{provider.issuer}/session/end/confirm", data={"xsrf": xsrf, "logout": "yes"})
        (sent,) = receiver.asked
    token = dict(parse_qsl(sent.body.decode()))["logout_token"]
    assert await hers.me() == "ada"
    assert (await told(site, token, "example")).status_code == 200
    assert await hers.me() == ""
    assert (await told(site, token, "example")).status_code == 400


async def test_signing_out_here(site: Site, liar: LyingProvider) -> None:
    hers = site.visitor()
    assert (await answered(hers, liar)).status_code == 303
    assert (
        await hers.post("/logout", {}, sec_fetch_site="cross-site", origin="https://evil.example")
    ).status_code == 403
    assert await hers.me() == liar.person
    answer = await hers.post("/logout", {})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert await hers.me() == ""
    assert not site.sessions(liar.person)
    assert (await hers.post("/logout", {})).status_code == 303
    assert "signed-out" in {one.get("event") for one in await site.entries()}


async def test_signing_out_here_and_at_the_provider(site: Site, provider: openid.Running, ada: str) -> None:
    """The provider sees the ID token that it made again, asks the person, and sends them back here."""
    hers = site.visitor()
    with provider.browser() as browser:
        assert (await hers.sign_on(provider, ada, browser=browser)).status_code == 303
        answer = await hers.post("/logout", {"everywhere": "true"})
        assert await hers.me() == ""
        there = onward(answer)
        assert there.startswith(f"{provider.issuer}/session/end?")
        assert parts(there)["post_logout_redirect_uri"] == f"{URL}/login"
        page = browser.get(there)
        assert page.status_code == 200, page.text
        xsrf = page.text.partition('name="xsrf" value="')[2].partition('"')[0]
        done = browser.post(f"{provider.issuer}/session/end/confirm", data={"xsrf": xsrf, "logout": "yes"})
        assert done.headers["location"] == f"{URL}/login"


async def test_who_cannot_be_signed_out_there_is_signed_out_here(site: Site, liar: LyingProvider) -> None:
    hers = site.visitor()
    assert (await answered(hers, liar)).status_code == 303
    assert (await hers.post("/logout", {"everywhere": "true"})).status_code == 303
    assert await hers.me() == ""
