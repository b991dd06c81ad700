"""Signing out: at a client's request, and telling clients that it is over."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from everproof.identity import roster
from everproof.identity.holding import hold
from everproof.kernel.words import Ref
from tests.provider.conftest import Backchannel
from tests.provider.site import URL, Person, Site, claims
from tests.server.asgi import call

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = "application/x-www-form-urlencoded"
LOGIN_PAGE = "https://grafana.example/login"


async def signed_in(site: Site, person: Person) -> str:
    """The id_token of a sign-in to Grafana."""
    answer = await site.redeem(await person.code())
    assert answer.status == 200, answer.body
    return str(answer.json["id_token"])


async def test_a_client_signs_its_own_user_out(site: Site, alice: Person, backchannel: Backchannel) -> None:
    token = await signed_in(site, alice)
    query = urlencode({"id_token_hint": token, "post_logout_redirect_uri": LOGIN_PAGE, "state": "s-9"})
    answer = await alice.follow(f"/oauth/end_session?{query}")
    assert (answer.status, answer.headers["location"]) == (303, f"{LOGIN_PAGE}?state=s-9")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert alice.session is not None
    assert site.app.identity.sessions.find(alice.session.id) is None
    await site.settled()
    assert claims(token)["sid"] in [one["sid"] for one in backchannel.told()]


async def test_authlib_signs_its_user_out(site: Site, alice: Person) -> None:
    grafana = site.relying_party("grafana")
    found = await grafana.sign_in(alice)
    made = await grafana.app.create_logout_url(LOGIN_PAGE, found["id_token"])
    answer = await alice.follow(made["url"])
    assert answer.headers["location"] == f"{LOGIN_PAGE}?state={made['state']}"


async def test_a_link_of_another_site_signs_nobody_out(site: Site, alice: Person) -> None:
    """Logout CSRF: whoever has no id_token of this session has its person asked."""
    other = await site.enter(alice.id)
    token = await signed_in(site, other)
    assert alice.session is not None
    for query in ("", f"id_token_hint={token}", "client_id=grafana"):
        answer = await alice.follow(f"/oauth/end_session?{query}")
        assert answer.status == 200
        assert b"Sign out?" in answer.body
        assert site.app.identity.sessions.find(alice.session.id) is not None
    forged = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "content-type": FORM}
    refused = await alice.send("POST", "/oauth/end_session", b"confirm=yes", headers=forged)
    assert refused.status == 403
    assert site.app.identity.sessions.find(alice.session.id) is not None
    own = {"origin": URL, "sec-fetch-site": "same-origin", "content-type": FORM}
    done = await alice.send("POST", "/oauth/end_session", b"confirm=yes", headers=own)
    assert done.status == 200
    assert site.app.identity.sessions.find(alice.session.id) is None


async def test_whoever_comes_back_late_is_signed_out_all_the_same(site: Site, alice: Person) -> None:
    """The browser that was at the client's pages: its cookie has run out, and its key would renew it for the next."""
    assert alice.session is not None
    for path in ("/oauth/end_session", "/logout"):
        person = await site.enter(alice.id)
        token = await signed_in(site, person)
        assert person.session is not None
        id_ = person.session.id
        _, cookie = await site.app.storage.write(lambda tx, id_=id_: site.browser.bind(tx, id_, "k" * 43))
        late = Person(site, person.session, cookie.partition(";")[0])
        site.clock.advance(timedelta(minutes=11))
        if path == "/logout":
            own = {"origin": URL, "sec-fetch-site": "same-origin", "content-type": FORM}
            answer = await late.send("POST", path, b"", headers=own)
        else:
            answer = await late.follow(f"{path}?{urlencode({'id_token_hint': token})}")
        assert "Max-Age=0" in answer.headers["set-cookie"], (path, answer.body)
        assert site.app.identity.sessions.find(id_) is None, path


@pytest.mark.parametrize(
    "uri", ["https://evil.example/", "https://grafana.example/login/", "https://grafana.example/login?x=1", "//x"]
)
async def test_an_open_redirect_after_signing_out(site: Site, alice: Person, uri: str) -> None:
    token = await signed_in(site, alice)
    query = urlencode({"id_token_hint": token, "post_logout_redirect_uri": uri})
    answer = await alice.follow(f"/oauth/end_session?{query}")
    assert answer.status == 400
    assert "location" not in answer.headers
    other = urlencode({"client_id": "payroll", "id_token_hint": token, "post_logout_redirect_uri": LOGIN_PAGE})
    assert (await alice.follow(f"/oauth/end_session?{other}")).status == 400


async def test_a_client_hears_that_a_session_was_ended(site: Site, alice: Person, backchannel: Backchannel) -> None:
    token = await signed_in(site, alice)
    assert alice.session is not None
    id_ = alice.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "ended by an administrator"))
    await site.settled()
    keys = KeySet.import_key_set((await call(site.doors, "GET", "/jwks.json")).json)
    (asked,) = backchannel.asked
    assert asked.headers["content-type"] == FORM
    told = jwt.decode(asked.content.decode().removeprefix("logout_token="), keys, algorithms=["RS256"])
    assert told.header["typ"] == "logout+jwt"
    assert told.claims["iss"] == URL
    assert (told.claims["aud"], told.claims["sid"]) == ("grafana", claims(token)["sid"])
    assert told.claims["sub"] == f"user:{alice.id}"
    assert told.claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert "nonce" not in told.claims
    assert told.claims["exp"] - told.claims["iat"] <= 120


async def test_a_client_hears_that_a_person_was_disabled_long_after_the_session(
    site: Site, alice: Person, backchannel: Backchannel
) -> None:
    token = await signed_in(site, alice)
    site.clock.advance(timedelta(hours=2))
    await site.app.storage.write(site.app.identity.sessions.forget)
    await site.settled()
    assert backchannel.told() == []  # idle is not gone
    await site.app.storage.write(lambda tx: roster.disable(tx, Ref("User", alice.id), "left"))
    await site.settled()
    assert [one["sid"] for one in backchannel.told()] == [claims(token)["sid"]]


async def test_a_client_hears_that_a_person_was_contained(site: Site, alice: Person, backchannel: Backchannel) -> None:
    await signed_in(site, alice)
    await site.app.storage.write(lambda tx: hold(tx, Ref("User", alice.id), "stolen"))
    await site.settled()
    assert [one["sub"] for one in backchannel.told()] == [f"user:{alice.id}"]


async def test_a_client_that_is_down_hears_of_it_later(site: Site, alice: Person, backchannel: Backchannel) -> None:
    await signed_in(site, alice)
    backchannel.status = 503
    assert alice.session is not None
    id_ = alice.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "ended"))
    await site.settled()
    tried = len(backchannel.asked)
    assert tried >= 1
    backchannel.status = 204
    site.clock.advance(timedelta(minutes=1))
    await site.settled()
    assert len(backchannel.asked) > tried
    assert {one.state for one in site.app.work.jobs(verb="provider.logout", limit=1000)} == {"done"}


async def test_signing_in_anew_signs_nobody_out_elsewhere(site: Site, alice: Person, backchannel: Backchannel) -> None:
    token = await signed_in(site, alice)
    before = alice.session
    assert before is not None
    again = await site.enter(alice.id, instead_of=before)
    await site.settled()
    assert backchannel.told() == []
    assert claims(await signed_in(site, again))["sid"] == claims(token)["sid"]
    assert again.session is not None
    id_ = again.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "signed out"))
    await site.settled()
    assert [one["sid"] for one in backchannel.told()] == [claims(token)["sid"]]


async def test_what_was_missed_is_told_after_a_start(site: Site, alice: Person, backchannel: Backchannel) -> None:
    """A crash between the end of a session and the note that its clients must be told."""
    token = await signed_in(site, alice)
    sign_ins = site.app.provider.sign_ins
    sign_ins._known.clear()
    assert alice.session is not None
    id_ = alice.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "ended"))
    await site.settled()
    assert backchannel.told() == []
    await site.app.storage.write(sign_ins.sweep)
    await site.settled()
    assert claims(token)["sid"] in [one["sid"] for one in backchannel.told()]


async def test_a_client_without_an_address_for_it_is_not_told(site: Site, alice: Person) -> None:
    code = await alice.code("argo-cd")
    assert (await site.redeem(code, "argo-cd", headers={}, client_id="argo-cd")).status == 200
    assert alice.session is not None
    id_ = alice.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "ended"))
    await site.settled()
    await site.settled()
    assert [one for one in site.app.work.jobs(verb="provider.logout", limit=1000) if one.state == "stuck"] == []
