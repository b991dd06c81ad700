"""Attacks on the code flow, each named for what the attacker wants."""

import asyncio
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from everproof.identity import roster
from everproof.kernel.words import Fact, Ref
from tests.provider.conftest import Backchannel
from tests.provider.site import (
    CALLBACKS,
    FORM,
    SECRET,
    URL,
    VERIFIER,
    Person,
    Site,
    asks,
    basic,
    challenge,
    claims,
    said,
)
from tests.server.asgi import call
from tests.server.client import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

# ── where answers go ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/login/generic_oauth",
        "https://grafana.example.evil.example/login/generic_oauth",
        "https://grafana.example:8443/login/generic_oauth",
        "https://grafana.example/login/generic_oauth/",
        "https://grafana.example/login/generic_oauth/../../evil",
        "https://grafana.example/login/generic_oauth?next=//evil.example",
        "https://grafana.example/login/generic_oauth#fragment",
        "https://grafana.example/LOGIN/generic_oauth",
        "https://evil@grafana.example/login/generic_oauth",
        "https://grafana.example\\@evil.example/login/generic_oauth",
        "http://grafana.example/login/generic_oauth",
        "//grafana.example/login/generic_oauth",
        "javascript:alert(1)",
        "",
    ],
)
async def test_open_redirect(site: Site, alice: Person, uri: str) -> None:
    answer = await alice.authorize(redirect_uri=uri or None)
    assert answer.status == 400
    assert "location" not in answer.headers
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:1234/other",
        "http://localhost:1234/callback",
        "http://127.0.0.1:1234@evil.example/callback",
        "http://127.0.0.1.evil.example:1234/callback",
        "https://127.0.0.1:1234/callback",
        "http://127.0.0.1:1234/callback?x=1",
        "http://192.168.0.9:1234/callback",
    ],
)
async def test_the_command_lines_address_is_this_machines_own(site: Site, alice: Person, uri: str) -> None:
    answer = await alice.authorize(client="everproof-cli", redirect_uri=uri, dpop_jkt="x" * 43)
    assert answer.status == 400
    assert "location" not in answer.headers


async def test_errors_are_answered_at_the_clients_own_address_with_the_issuer(site: Site, alice: Person) -> None:
    answer = await alice.authorize(response_type="token")
    assert answer.headers["location"].startswith(CALLBACKS["grafana"] + "?")
    told = said(answer)
    assert (told["error"], told["state"], told["iss"]) == ("unsupported_response_type", "s-1", URL)


# ── PKCE ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge_method": "plain", "code_challenge": VERIFIER[:43]},
        {"code_challenge_method": None},
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": "short"},
    ],
    ids=["plain", "method left out", "missing", "not a hash"],
)
async def test_pkce_downgrade(site: Site, alice: Person, changes: dict[str, str | None]) -> None:
    answer = await alice.authorize(None, client="grafana", **changes)
    assert said(answer)["error"] == "invalid_request"
    assert "code" not in said(answer)


async def test_a_code_without_its_verifier(site: Site, alice: Person) -> None:
    code = await alice.code()
    for verifier in ("w" * 43, challenge(VERIFIER), ""):
        answer = await site.redeem(code, code_verifier=verifier)
        assert answer.status == 400
    # Whoever tried had it from somewhere, so it is good no more, not even with the right one.
    assert (await site.redeem(code)).json["error"] == "invalid_grant"


# ── codes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_code_used_twice_takes_back_what_it_gave(site: Site, alice: Person) -> None:
    code = await alice.code()
    first = await site.redeem(code)
    assert first.status == 200, first.body
    assert (await site.userinfo(first.json["access_token"])).status == 200
    again = await site.redeem(code)
    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    assert (await site.userinfo(first.json["access_token"])).status == 401


async def test_a_code_used_twice_signs_the_client_out(site: Site, alice: Person, backchannel: Backchannel) -> None:
    code = await alice.code()
    first = claims((await site.redeem(code)).json["id_token"])
    await site.redeem(code)
    await site.settled()
    assert [one["sid"] for one in backchannel.told() if one["sid"] == first["sid"]]


async def test_a_code_of_another_client(site: Site, alice: Person) -> None:
    code = await alice.code("grafana")
    answer = await site.redeem(code, "payroll", redirect_uri=CALLBACKS["grafana"])
    assert answer.json["error"] == "invalid_grant"
    # It was not the other's to use up.
    assert (await site.redeem(code)).status == 200


async def test_code_injection(site: Site, alice: Person) -> None:
    """A code that was given for another's request, put into this one: its verifier is not the request's."""
    site_of_attacker = await site.enter(alice.id)
    stolen = await alice.code(code_challenge=challenge("v" * 50))
    assert said(await site_of_attacker.authorize())["code"]
    assert (await site.redeem(stolen)).json["error"] == "invalid_grant"


async def test_a_code_sent_to_another_address(site: Site, alice: Person) -> None:
    code = await alice.code("argo-cd")
    fields = {"client_id": "argo-cd", "redirect_uri": "http://localhost:8085/auth/callback"}
    assert (await site.redeem(code, "argo-cd", headers={}, **fields)).json["error"] == "invalid_grant"


async def test_an_expired_code(site: Site, alice: Person) -> None:
    code = await alice.code()
    site.clock.advance(timedelta(seconds=61))
    assert (await site.redeem(code)).json["error"] == "invalid_grant"


async def test_a_code_that_nobody_gave(site: Site) -> None:
    assert (await site.redeem("x" * 43)).json["error"] == "invalid_grant"


# ── clients ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_mixed_client_authentication(site: Site, alice: Person) -> None:
    code = await alice.code()
    twice = await site.redeem(code, client_id="grafana", client_secret=SECRET)
    assert (twice.status, twice.json["error"]) == (400, "invalid_request")
    wrong_place = await site.redeem(code, headers={}, client_id="grafana", client_secret=SECRET)
    assert (wrong_place.status, wrong_place.json["error"]) == (401, "invalid_client")
    without = await site.redeem(code, headers={}, client_id="grafana")
    assert without.json["error"] == "invalid_client"
    other = await site.redeem(code, client_id="payroll")
    assert other.json["error"] == "invalid_request"
    assert (await site.redeem(code)).status == 200


@pytest.mark.parametrize("secret", ["", "wrong", "b" * 64, SECRET + " ", "%00", "a" * 1000])
async def test_a_wrong_secret(site: Site, alice: Person, secret: str) -> None:
    answer = await site.redeem(await alice.code(), headers=basic("grafana", secret))
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic")


async def test_the_hash_of_a_secret_is_no_secret(site: Site, alice: Person) -> None:
    import hashlib

    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    assert (await site.redeem(await alice.code(), headers=basic("grafana", digest))).status == 401


def assertion(site: Site, key: ECKey | OctKey, *, alg: str = "ES256", aud: str = URL, client: str = "wiki") -> str:
    now = int(site.clock.now().timestamp())
    made = {"iss": client, "sub": client, "aud": aud, "iat": now, "exp": now + 60, "jti": str(now) + alg + aud}
    return jwt.encode({"alg": alg}, made, key)


PROVEN = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}


async def test_a_client_proves_itself_with_its_key_once(site: Site, alice: Person) -> None:
    made = assertion(site, site.wiki)
    fields = {"client_assertion": made, **PROVEN}
    first = await site.redeem(await alice.code("wiki"), "wiki", headers={}, **fields)
    assert first.status == 200, first.body
    again = await site.redeem(await alice.code("wiki"), "wiki", headers={}, **fields)
    assert again.status == 400


async def test_an_assertion_signed_with_the_public_key_as_a_secret(site: Site, alice: Person) -> None:
    public = json.dumps(site.wiki.as_dict(private=False)).encode()
    made = assertion(site, OctKey.import_key(public), alg="HS256")
    answer = await site.redeem(await alice.code("wiki"), "wiki", headers={}, client_assertion=made, **PROVEN)
    assert answer.json["error"] == "invalid_client"


@pytest.mark.parametrize("aud", ["https://elsewhere.example", "https://everproof.example.evil.example"])
async def test_an_assertion_for_another_server(site: Site, alice: Person, aud: str) -> None:
    made = assertion(site, site.wiki, aud=aud)
    answer = await site.redeem(await alice.code("wiki"), "wiki", headers={}, client_assertion=made, **PROVEN)
    assert answer.json["error"] == "invalid_client"


async def test_an_assertion_by_a_client_that_has_a_secret(site: Site, alice: Person) -> None:
    made = assertion(site, site.wiki, client="grafana")
    answer = await site.redeem(await alice.code(), headers={}, client_assertion=made, **PROVEN)
    assert answer.json["error"] == "invalid_client"


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_id_token_is_for_its_client_alone(site: Site, alice: Person) -> None:
    payroll = site.relying_party("payroll")
    await payroll.begin()
    token = (await site.redeem(await alice.code())).json
    with pytest.raises(Exception, match=r"azp|aud"):
        await payroll.app.parse_id_token(token, nonce="n-1")


async def test_the_clients_algorithm_is_the_files_and_not_the_requests(site: Site, alice: Person) -> None:
    code = await alice.code("argo-cd", id_token_signed_response_alg="none")
    token = (await site.redeem(code, "argo-cd", headers={}, client_id="argo-cd")).json["id_token"]
    assert claims(token, 0)["alg"] == "ES256"


async def test_algorithm_confusion_in_a_hint(site: Site, alice: Person) -> None:
    """An id_token made with our public key as a secret, or with none, is no hint that signs somebody out."""
    jwks = (await call(site.doors, "GET", "/jwks.json")).json["keys"]
    kid = next(one["kid"] for one in jwks if one["kty"] == "RSA")
    assert alice.session is not None
    made = {"iss": URL, "aud": "grafana", "sub": f"user:{alice.id}", "sid": "sess_1"}
    forged = jwt.encode({"alg": "HS256", "kid": kid, "typ": "JWT"}, made, OctKey.import_key(json.dumps(jwks[0])))
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + forged.split(".")[1] + "."
    for hint in (forged, none):
        answer = await alice.follow(f"/oauth/end_session?id_token_hint={hint}")
        assert answer.status in {400, 401}
    assert site.app.identity.sessions.find(alice.session.id) is not None


async def test_a_token_for_userinfo_is_good_for_nothing_else(site: Site, alice: Person) -> None:
    token = (await site.redeem(await alice.code())).json["access_token"]
    for scheme in ("Bearer", "DPoP"):
        answer = await call(site.doors, "GET", "/v1/identity/me", headers={"authorization": f"{scheme} {token}"})
        assert answer.status == 401
    exchanged = await site.token(
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        },
        {},
    )
    assert exchanged.status == 400


async def test_no_other_token_opens_userinfo(site: Site) -> None:
    for header in ("", "Bearer x.y.z", "Bearer ", "Basic abc"):
        answer = await call(site.doors, "GET", "/oauth/userinfo", headers={"authorization": header})
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_client_is_told_no_more_than_its_scope(site: Site, alice: Person) -> None:
    code = await alice.code(scope="openid")
    token = (await site.redeem(code)).json["access_token"]
    assert (await site.userinfo(token)).json == {"sub": f"user:{alice.id}"}


async def test_a_token_that_is_bound_to_a_key_without_it(site: Site, alice: Person) -> None:
    client = Client(site.doors, URL, site.clock)
    form = {
        "grant_type": "authorization_code", "client_id": "argo-cd", "code": await alice.code("argo-cd"),
        "redirect_uri": CALLBACKS["argo-cd"], "code_verifier": VERIFIER,
    }  # fmt: skip
    got = await client.take(form)
    assert (got.status, got.json["token_type"]) == (200, "DPoP"), got.body
    assert (await client.send("GET", "/oauth/userinfo")).json["sub"] == f"user:{alice.id}"
    assert (await site.userinfo(client.token)).status == 401
    thief = Client(site.doors, URL, site.clock)
    assert (await thief.send("GET", "/oauth/userinfo", token=client.token)).status == 401


async def test_two_who_fetch_with_one_code_at_once(site: Site, alice: Person) -> None:
    code = await alice.code()
    answers = await asyncio.gather(*(site.redeem(code) for _ in range(4)))
    given = [one.json["access_token"] for one in answers if one.status == 200]
    assert len(given) <= 1
    for token in given:
        assert (await site.userinfo(token)).status == 401


async def test_a_cookie_that_its_key_must_renew_first(site: Site, alice: Person) -> None:
    assert alice.session is not None
    id_ = alice.session.id
    _, cookie = await site.app.storage.write(lambda tx: site.browser.bind(tx, id_, "k" * 43))
    bound = Person(site, alice.session, cookie.partition(";")[0])
    assert "code" in said(await bound.authorize())
    site.clock.advance(timedelta(minutes=11))
    assert (await bound.authorize()).headers["location"].startswith("/resume?next=")


# ── sessions and people ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_person_disabled_during_the_flow(site: Site, alice: Person) -> None:
    code = await alice.code()
    await site.app.storage.write(lambda tx: roster.disable(tx, Ref("User", alice.id), "left"))
    assert (await site.redeem(code)).json["error"] == "invalid_grant"
    assert (await alice.authorize()).headers["location"].startswith("/login")


async def test_a_session_revoked_during_the_flow(site: Site, alice: Person) -> None:
    code = await alice.code()
    assert alice.session is not None
    id_ = alice.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "stolen"))
    assert (await site.redeem(code)).json["error"] == "invalid_grant"


async def test_tokens_end_with_the_session(site: Site, alice: Person) -> None:
    token = (await site.redeem(await alice.code())).json["access_token"]
    assert alice.session is not None
    id_ = alice.session.id
    await site.app.storage.write(lambda tx: site.app.identity.sessions.end(tx, id_, "stolen"))
    assert (await site.userinfo(token)).status == 401


async def test_prompt_none_without_a_session(site: Site) -> None:
    answer = await site.nobody().authorize(prompt="none")
    assert said(answer)["error"] == "login_required"
    assert said(answer)["state"] == "s-1"


async def test_prompt_none_where_its_person_would_have_to_be_asked(site: Site, alice: Person) -> None:
    assert said(await alice.authorize(client="wiki", prompt="none"))["error"] == "consent_required"
    site.clock.advance(timedelta(seconds=1))
    assert said(await alice.authorize(max_age="0", prompt="none"))["error"] == "login_required"
    assert said(await alice.authorize(acr_values="phr", prompt="none"))["error"] == "unmet_authentication_requirements"
    assert said(await alice.authorize(prompt="none login"))["error"] == "invalid_request"
    assert "code" in said(await alice.authorize(prompt="none"))


async def test_max_age_is_honoured(site: Site, alice: Person) -> None:
    old = await site.enter(alice.id, ago=timedelta(minutes=10))
    away = await old.authorize(max_age="300")
    assert away.headers["location"].startswith("/login?max_age=0&next=")
    assert "code" in said(await old.authorize(max_age="3600"))
    back = await site.enter(alice.id)
    assert "code" in said(await back.follow(said(away)["next"]))


async def test_prompt_login_wants_a_sign_in_since(site: Site, alice: Person) -> None:
    site.clock.advance(timedelta(seconds=5))
    away = await alice.authorize(prompt="login")
    back = said(away)["next"]
    assert "/login" in away.headers["location"]
    # Coming back without having signed in anew leads there again.
    assert "/login" in (await alice.follow(back)).headers["location"]
    site.clock.advance(timedelta(seconds=5))
    again = await site.enter(alice.id)
    answer = await again.follow(back)
    assert "code" in said(answer)


async def test_nobody_else_says_when_a_request_was_first_seen(site: Site, alice: Person) -> None:
    forged = f"/oauth/authorize?{urlencode(asks(prompt='login'))}&seen=1.AAAA"
    assert "/login" in (await alice.follow(forged)).headers["location"]
    site.clock.advance(timedelta(seconds=5))
    back = said(await alice.authorize(prompt="login"))["next"]
    mark = back.rpartition("&seen=")[2]
    other = f"/oauth/authorize?{urlencode(asks(prompt='login', state='another'))}&seen={mark}"
    again = await site.enter(alice.id)
    assert "/login" in (await again.follow(other)).headers["location"]


async def test_a_provider_that_did_not_ask_anew_ends_in_an_error_and_not_in_a_circle(site: Site, alice: Person) -> None:
    site.clock.advance(timedelta(minutes=5))
    back = said(await alice.authorize(prompt="login"))["next"]
    site.clock.advance(timedelta(seconds=5))
    silent = await site.enter(alice.id, ago=timedelta(hours=1))
    assert said(await silent.follow(back))["error"] == "login_required"


async def test_a_hint_of_another_person(site: Site, alice: Person) -> None:
    hint = (await site.redeem(await alice.code())).json["id_token"]
    await site.enrol("bob")
    bob = await site.enter("bob")
    answer = await bob.authorize(id_token_hint=hint, prompt="none")
    assert said(answer)["error"] == "login_required"
    assert "code" in said(await alice.authorize(id_token_hint=hint, prompt="none"))


# ── consent ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_consent_is_asked_once_and_for_more_again(site: Site, alice: Person) -> None:
    first = await alice.authorize(client="wiki", scope="openid")
    assert first.headers["location"].startswith("/consent/")
    shown = (await alice.send("GET", "/v1" + first.headers["location"])).json
    assert (shown["title"], shown["leads_to"]) == ("The wiki", "https://wiki.example")
    answer = await alice.consent(first)
    assert answer.headers["location"].startswith(CALLBACKS["wiki"] + "&")
    assert "code" in said(await alice.authorize(client="wiki", scope="openid"))
    assert (await alice.authorize(client="wiki")).headers["location"].startswith("/consent/")
    assert (
        (await alice.authorize(client="wiki", scope="openid", prompt="consent"))
        .headers["location"]
        .startswith("/consent/")
    )


async def test_consent_refused(site: Site, alice: Person) -> None:
    answer = await alice.consent(await alice.authorize(client="wiki"), "no")
    assert answer.headers["location"].startswith(CALLBACKS["wiki"])
    assert said(answer)["error"] == "access_denied"


async def test_consent_forged_by_another_site(site: Site, alice: Person) -> None:
    place = "/v1" + (await alice.authorize(client="wiki")).headers["location"]
    for headers in (
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {},
    ):
        answer = await alice.send("POST", place, {"answer": "yes"}, headers=headers)
        assert answer.status == 403
    assert (await alice.authorize(client="wiki")).headers["location"].startswith("/consent/")


async def test_consent_of_another_persons_session(site: Site, alice: Person) -> None:
    place = "/v1" + (await alice.authorize(client="wiki")).headers["location"]
    await site.enrol("mallory")
    for other in (await site.enter("mallory"), await site.enter(alice.id)):
        assert (await other.send("POST", place, {"answer": "yes"})).status == 404
        assert (await other.send("GET", place)).status == 404


async def test_consent_skipped_where_policy_changes_its_mind(
    site: Site, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked what policy would refuse anyway; should it allow it a moment later, nobody has consented yet."""
    with monkeypatch.context() as patch:
        patch.setattr(site.app.authorizer, "suppose", lambda *_, **__: False)
        answer = await alice.authorize(client="wiki")
    assert answer.status == 403
    assert "location" not in answer.headers


async def test_consent_is_asked_by_what_policy_sees_of_the_sign_in(
    site: Site, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    suppose = site.app.authorizer.suppose

    def noted(*args: Any, facts: Iterable[Fact] = (), **more: Any) -> bool:
        seen.extend(f"{fact.name}={fact.value}" for fact in facts)
        return suppose(*args, facts=facts, **more)

    with monkeypatch.context() as patch:
        patch.setattr(site.app.authorizer, "suppose", noted)
        assert (await alice.authorize(client="wiki")).headers["location"].startswith("/consent/")
    assert seen == ["flow=code"]


async def test_consent_withdrawn(site: Site, alice: Person) -> None:
    await alice.consent(await alice.authorize(client="wiki"))
    assert [one["client"] for one in (await alice.send("GET", "/v1/consents")).json["consents"]] == ["wiki"]
    assert (await alice.send("DELETE", "/v1/consents/wiki")).status == 204
    assert (await alice.send("DELETE", "/v1/consents/wiki")).status == 404
    assert (await alice.authorize(client="wiki")).headers["location"].startswith("/consent/")


# ── policy ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_whoever_is_not_in_the_clients_groups_is_told_so_on_a_page(site: Site, alice: Person) -> None:
    answer = await alice.authorize(client="payroll")
    assert answer.status == 403
    assert "location" not in answer.headers
    assert b"payroll" in answer.body
    await site.enrol("carol", "finance")
    assert "code" in said(await (await site.enter("carol")).authorize(client="payroll"))


async def test_a_group_that_was_left_meanwhile(site: Site) -> None:
    carol = await site.enrol("carla", "finance")
    code = await (await site.enter("carla")).code("payroll")
    await site.app.storage.write(lambda tx: roster.restate(tx, carol, name="", emails=(), groups=(), space="main"))
    answer = await site.redeem(code, "payroll")
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")


async def test_a_client_that_wants_a_fresh_factor(site: Site, alice: Person) -> None:
    denied = await alice.authorize(client="vault")
    assert denied.status in {303, 401, 403}
    assert "code=" not in denied.headers.get("location", "")
    await site.show(alice, "totp")
    code = said(await alice.authorize(client="vault"))["code"]
    token = await site.redeem(code, "vault", headers={}, client_id="vault", client_secret=SECRET)
    assert token.status == 200, token.body
    site.clock.advance(timedelta(minutes=6))
    assert "code=" not in (await alice.authorize(client="vault")).headers.get("location", "")


async def test_acr_values_lead_to_a_page_that_asks_for_the_factor(site: Site, alice: Person) -> None:
    away = await alice.authorize(acr_values="phr")
    assert away.headers["location"].startswith(("/step-up", "/factors"))
    await site.show(alice, "totp")
    assert "code" not in said(await alice.authorize(acr_values="phr"))
    assert "code" in said(await alice.authorize(acr_values="mfa"))
    await site.show(alice, "passkey")
    assert "code" in said(await alice.authorize(acr_values="phr"))
    assert "code" not in said(await alice.authorize(acr_values="urn:unknown"))


# ── pushed requests ────────────────────────────────────────────────────────────────────────────────────────────────


async def push(site: Site, client: str = "grafana", **changes: str | None) -> dict[str, str]:
    body = urlencode(asks(client, **changes)).encode()
    answer = await call(site.doors, "POST", "/oauth/par", body, {"content-type": FORM, **basic(client)})
    assert answer.status == 201, answer.body
    return {"client_id": client, "request_uri": answer.json["request_uri"]}


async def test_a_pushed_request_is_good_once(site: Site, alice: Person) -> None:
    pushed = await push(site)
    code = said(await alice.authorize(pushed))["code"]
    assert (await site.redeem(code)).status == 200
    assert (await alice.authorize(pushed)).status == 400


async def test_a_pushed_request_survives_a_sign_in(site: Site, alice: Person) -> None:
    pushed = await push(site)
    away = await site.nobody().authorize(pushed)
    assert away.headers["location"].startswith("/login?next=")
    assert "code" in said(await (await site.enter(alice.id)).follow(said(away)["next"]))


async def test_what_stands_beside_a_pushed_request_counts_for_nothing(site: Site, alice: Person) -> None:
    pushed = await push(site)
    answer = await alice.authorize({**pushed, "redirect_uri": "https://evil.example/", "state": "evil"})
    assert said(answer)["state"] == "s-1"
    assert answer.headers["location"].startswith(CALLBACKS["grafana"])


async def test_a_pushed_request_of_another_client(site: Site, alice: Person) -> None:
    pushed = await push(site)
    assert (await alice.authorize({**pushed, "client_id": "payroll"})).status == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example/request"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"state": "x" * 5000}, "invalid_request"),
    ],
)
async def test_what_is_not_supported_is_refused(site: Site, alice: Person, changes: dict[str, str], error: str) -> None:
    assert said(await alice.authorize(None, client="grafana", **changes))["error"] == error


async def test_a_parameter_twice(site: Site, alice: Person) -> None:
    doubled = await alice.follow(f"/oauth/authorize?{urlencode(asks())}&nonce=other")
    assert said(doubled)["error"] == "invalid_request"
    address = await alice.follow(f"/oauth/authorize?{urlencode(asks())}&redirect_uri=https://evil.example/")
    assert address.status == 400


async def test_an_embedded_page_gets_nothing(site: Site, alice: Person) -> None:
    query = urlencode(asks(prompt="none"))
    framed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    answer = await alice.send("GET", "/oauth/authorize", query=query, headers=framed)
    assert answer.status == 403
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
