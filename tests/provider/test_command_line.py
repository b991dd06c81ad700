"""The command line's sign-in: the code flow with DPoP, and the session that comes of it and is renewed."""

from datetime import timedelta
from typing import Any

import pytest

from everproof.identity import roster
from everproof.kernel.words import Ref
from tests.provider.site import URL, VERIFIER, Person, Site, said
from tests.server.asgi import Answer, call
from tests.server.client import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLI = "everproof-cli"
BACK = "http://127.0.0.1:54321/callback"


async def code(site: Site, person: Person, device: Client) -> str:
    asked = await person.authorize(client=CLI, redirect_uri=BACK, dpop_jkt=device.thumbprint, scope=None, nonce=None)
    answer = await person.consent(asked)
    assert answer.headers["location"].startswith(BACK + "?"), answer.headers
    assert said(answer)["iss"] == URL
    return said(answer)["code"]


async def redeem(device: Client, given: str) -> Answer:
    return await device.take(
        {
            "grant_type": "authorization_code", "client_id": CLI, "code": given, "redirect_uri": BACK,
            "code_verifier": VERIFIER,
        }
    )  # fmt: skip


async def logged_in(site: Site, person: Person) -> tuple[Client, dict[str, Any]]:
    device = Client(site.doors, URL, site.clock)
    answer = await redeem(device, await code(site, person, device))
    assert answer.status == 200, answer.body
    return device, answer.json


async def renew(device: Client, token: str) -> Answer:
    return await device.take({"grant_type": "refresh_token", "client_id": CLI, "refresh_token": token})


async def test_a_terminal_is_signed_in_as_well_as_its_browser(site: Site, alice: Person) -> None:
    await site.show(alice, "passkey")
    device, got = await logged_in(site, alice)
    assert got["token_type"] == "DPoP"
    me = await device.send("GET", "/v1/identity/me")
    assert me.json["principal"]["ref"] == {"type": "User", "id": alice.id}
    session = site.app.identity.sessions.find(got["session"])
    assert session is not None
    assert alice.session is not None
    assert (session.kind, session.key, session.provider) == ("cli", device.thumbprint, "okta")
    assert session.authenticated == alice.session.authenticated
    assert set(session.factors) == {"passkey"}
    assert session.strength["passkey"] == {"user_verified": True}


async def test_it_is_asked_about_each_time(site: Site, alice: Person) -> None:
    """Any program of this machine can begin its login (RFC 8252, section 8.6)."""
    await logged_in(site, alice)
    device = Client(site.doors, URL, site.clock)
    for prompt in (None, "none"):
        answer = await alice.authorize(
            client=CLI, redirect_uri=BACK, dpop_jkt=device.thumbprint, scope=None, prompt=prompt
        )
        assert "code=" not in answer.headers["location"]


async def test_consent_to_one_request_is_not_consent_to_another(site: Site, alice: Person) -> None:
    device, thief = Client(site.doors, URL, site.clock), Client(site.doors, URL, site.clock)
    asked = await alice.authorize(client=CLI, redirect_uri=BACK, dpop_jkt=device.thumbprint, scope=None)
    given = await alice.send("POST", "/v1" + asked.headers["location"], {"answer": "yes"})
    swapped = given.json["location"].replace(device.thumbprint, thief.thumbprint)
    assert "code=" not in (await alice.follow(swapped)).headers["location"]


async def test_a_code_without_the_key_it_is_for(site: Site, alice: Person) -> None:
    device, thief = Client(site.doors, URL, site.clock), Client(site.doors, URL, site.clock)
    given = await code(site, alice, device)
    assert (await redeem(thief, given)).json["error"] == "invalid_grant"
    unbound = await alice.authorize(client=CLI, redirect_uri=BACK, scope=None)
    assert said(unbound)["error"] == "invalid_request"


async def test_a_code_without_any_key(site: Site, alice: Person) -> None:
    device = Client(site.doors, URL, site.clock)
    fields = {
        "grant_type": "authorization_code", "client_id": CLI, "code": await code(site, alice, device),
        "redirect_uri": BACK, "code_verifier": VERIFIER,
    }  # fmt: skip
    answer = await site.token(fields, {})
    assert (answer.status, answer.json["error"]) == (400, "invalid_dpop_proof")


async def test_it_renews_its_token_with_its_key(site: Site, alice: Person) -> None:
    device, got = await logged_in(site, alice)
    token = got["refresh_token"]
    for _ in range(3):
        site.clock.advance(timedelta(minutes=50))
        answer = await renew(device, token)
        assert answer.status == 200, answer.body
        assert answer.json["session"] == got["session"]
        assert answer.json["refresh_token"] != token
        token = answer.json["refresh_token"]
        assert (await device.send("GET", "/v1/identity/me")).status == 200
        await site.settled()  # that the session was used is written down behind the answer


async def test_an_answer_that_was_lost_is_asked_for_again(site: Site, alice: Person) -> None:
    device, got = await logged_in(site, alice)
    lost = await renew(device, got["refresh_token"])
    again = await renew(device, got["refresh_token"])
    assert again.status == 200
    assert (await renew(device, again.json["refresh_token"])).status == 200
    # The one that was lost turns up: two have it.
    stolen = await renew(device, lost.json["refresh_token"])
    assert stolen.json["error"] == "invalid_grant"
    assert site.app.identity.sessions.find(got["session"]) is None


async def test_a_refresh_token_that_was_used_ends_the_session(site: Site, alice: Person) -> None:
    device, got = await logged_in(site, alice)
    second = (await renew(device, got["refresh_token"])).json
    third = await renew(device, second["refresh_token"])
    assert third.status == 200
    held = device.token
    assert (await renew(device, got["refresh_token"])).json["error"] == "invalid_grant"
    assert (await device.send("GET", "/v1/identity/me", token=held)).status == 401
    assert (await renew(device, third.json["refresh_token"])).json["error"] == "invalid_grant"


async def test_a_refresh_token_without_its_key_ends_the_session(site: Site, alice: Person) -> None:
    _, got = await logged_in(site, alice)
    thief = Client(site.doors, URL, site.clock)
    assert (await renew(thief, got["refresh_token"])).json["error"] == "invalid_grant"
    assert site.app.identity.sessions.find(got["session"]) is None


async def test_a_guessed_refresh_token_ends_nothing(site: Site, alice: Person) -> None:
    _, got = await logged_in(site, alice)
    thief = Client(site.doors, URL, site.clock)
    for guess in (f"{got['session']}.guess", "guess", "cred_x.y"):
        assert (await renew(thief, guess)).json["error"] == "invalid_grant"
    assert site.app.identity.sessions.find(got["session"]) is not None


async def test_who_is_disabled_renews_nothing(site: Site, alice: Person) -> None:
    device, got = await logged_in(site, alice)
    await site.app.storage.write(lambda tx: roster.disable(tx, Ref("User", alice.id), "left"))
    assert (await renew(device, got["refresh_token"])).json["error"] == "invalid_grant"


async def test_signing_out_at_the_browser_leaves_the_terminal_and_ending_its_session_does_not(
    site: Site, alice: Person
) -> None:
    device, got = await logged_in(site, alice)
    assert alice.session is not None
    id_ = alice.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "signed out"))
    assert (await device.send("GET", "/v1/identity/me")).status == 200
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, got["session"], "ended"))
    assert (await device.send("GET", "/v1/identity/me")).status == 401
    assert (await renew(device, got["refresh_token"])).json["error"] == "invalid_grant"


async def test_a_provider_that_signs_its_user_out_ends_the_terminal_too(site: Site, alice: Person) -> None:
    person = await site.enter(alice.id, provider_subject="okta-1", provider_session="sid-1")
    device, _ = await logged_in(site, person)
    end = site.app.identity.sessions.end_by_provider
    await site.app.storage.write(lambda tx: end(tx, "okta", session="sid-1"))
    assert (await device.send("GET", "/v1/identity/me")).status == 401


async def test_other_clients_have_no_refresh_tokens(site: Site, alice: Person) -> None:
    got = (await site.redeem(await alice.code())).json
    assert "refresh_token" not in got
    answer = await site.token({"grant_type": "refresh_token", "refresh_token": "x"})
    assert answer.json["error"] == "unauthorized_client"


async def test_revoking_its_session_ends_it(site: Site, alice: Person) -> None:
    device, _ = await logged_in(site, alice)
    held = device.token
    assert (await device.send("POST", "/oauth/revoke", form={"token": held})).status == 200
    answer = await call(site.doors, "GET", "/v1/identity/me", headers={"authorization": f"DPoP {held}"})
    assert answer.status == 401


async def test_a_narrowed_token_becomes_no_whole_session(site: Site, alice: Person) -> None:
    """A link that signs a browser in is worth the session itself, and not what the token was narrowed to."""
    device, got = await logged_in(site, alice)
    assert (await device.send("POST", "/v1/login/handover")).status == 201
    narrowed = await device.exchange(
        got["access_token"], subject_token_type="urn:ietf:params:oauth:token-type:access_token",
        scope="identity:sign-in",
    )  # fmt: skip
    assert narrowed.status == 200, narrowed.body
    refused = await device.send("POST", "/v1/login/handover")
    assert refused.status == 403, refused.body
    assert "narrowed" in refused.json["detail"]
