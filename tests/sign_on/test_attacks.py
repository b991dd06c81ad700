"""Fifteen ways to sign on as somebody else, each refused, against a certified provider wherever it will take part."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from everproof.kernel.canonical import b64url
from everproof.kernel.words import Ref
from everproof.server.browser import NAME
from tests.fakes import openid
from tests.fakes.lying_provider import LyingProvider
from tests.sign_on.conftest import FILE
from tests.sign_on.site import URL, Site, Visitor, answered, changed, parts

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVIL = "https://evil.example"


async def refused(site: Site, visitor: Visitor, answer: httpx.Response, word: str, status: int = 401) -> None:
    """Nobody was signed in, the answer says why, and the ledger has it."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert word in f"{said['detail']} {said.get('place', '')}", said
    assert NAME not in visitor.cookies
    assert not list(site.app.identity.sessions.all())
    kept = [one for one in await site.entries() if one.get("event") == "authentication-refused"]
    kept += [one for one in await site.entries() if one.get("decision") == "deny"]
    assert kept, "the ledger has nothing of it"


# ── mix-up ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_mix_up_by_an_attackers_provider_that_sends_people_on_to_an_honest_one(
    site: Site, provider: openid.Running, liar: LyingProvider, clients: dict[str, openid.Client], ada: str
) -> None:
    """The attacker's provider was chosen, and has the browser sent to the honest one, to be sent the honest code."""
    hers = site.visitor()
    asked = parts(await hers.ask("liar"))
    honest = changed(
        f"{provider.issuer}/auth", client_id=clients["example"].id, response_type="code", scope="openid",
        state=asked["state"], redirect_uri=f"{URL}/login/callback/example",
    )  # fmt: skip
    back = provider.sign_in(honest, ada)
    await refused(site, hers, await hers.get(back), "another provider")
    assert not [path for path, _ in liar.heard if path == "/token"], "the honest code was given away"


async def test_mix_up_is_seen_by_iss_where_both_answer_at_one_address(
    site: Site, provider: openid.Running, liar: LyingProvider
) -> None:
    hers = site.visitor()
    await refused(site, hers, await answered(hers, liar, iss=provider.issuer), "another provider")
    assert not [path for path, _ in liar.heard if path == "/token"]


async def test_an_answer_without_iss_of_a_provider_that_always_names_itself_is_refused(
    site: Site, provider: openid.Running, ada: str
) -> None:
    hers = site.visitor()
    back = provider.sign_in(await hers.ask(), ada)
    await refused(site, hers, await hers.get(changed(back, iss=None)), "iss")


# ── wrong nonce ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_wrong_nonce(site: Site, provider: openid.Running, ada: str) -> None:
    """Changed on the way to a provider that takes no pushed requests; where it does, nobody can change it."""
    hers = site.visitor()
    back = provider.other.sign_in(changed(await hers.ask("plain"), nonce="the-attackers"), ada)
    await refused(site, hers, await hers.get(back), "nonce")


async def test_what_was_pushed_cannot_be_changed_by_the_browser(site: Site, provider: openid.Running) -> None:
    address = await site.visitor().ask()
    assert parts(address).keys() == {"client_id", "request_uri"}


@pytest.mark.parametrize("nonce", [None, "", 7, ["x"]])
async def test_a_nonce_that_is_none(site: Site, liar: LyingProvider, nonce: Any) -> None:
    liar.claims = {"nonce": nonce}
    hers = site.visitor()
    await refused(site, hers, await answered(hers, liar), "nonce")


# ── code injection ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_code_injection(site: Site, provider: openid.Running, ada: str, bob: str) -> None:
    """A stolen code, put into the attacker's own sign-on: it goes with the verifier of the one it was stolen from."""
    hers, mallory = site.visitor(), site.visitor()
    stolen = parts(provider.sign_in(await hers.ask(), ada))["code"]
    own = provider.sign_in(await mallory.ask(), bob)
    await refused(site, mallory, await mallory.get(changed(own, code=stolen)), "invalid_grant")


async def test_code_injection_at_a_provider_that_checks_no_pkce(site: Site, liar: LyingProvider) -> None:
    """Then the nonce tells: the token was made for another sign-on."""
    hers, mallory = parts(await site.visitor().ask("liar")), site.visitor()
    own = parts(await mallory.ask("liar"))
    liar.nonce = hers["nonce"]
    answer = await mallory.get(changed(f"{URL}/login/callback/liar", code="stolen", state=own["state"]))
    await refused(site, mallory, answer, "nonce")


# ── token of another client ────────────────────────────────────────────────────────────────────────────────────────


async def test_token_of_another_client(
    site: Site, provider: openid.Running, clients: dict[str, openid.Client], ada: str, bob: str
) -> None:
    """A code that the provider made for somebody else's client, at which the person has signed in."""
    stranger = changed(
        f"{provider.issuer}/auth", client_id=clients["stranger"].id, response_type="code", scope="openid",
        redirect_uri="https://stranger.example/callback",
    )  # fmt: skip
    theirs = parts(provider.sign_in(stranger, ada))["code"]
    mallory = site.visitor()
    own = provider.sign_in(await mallory.ask(), bob)
    await refused(site, mallory, await mallory.get(changed(own, code=theirs)), "invalid_grant")


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"aud": "somebody-else"}, "aud"),
        ({"aud": ["everproof", "somebody-else"], "azp": "everproof"}, "aud"),
        ({"azp": "somebody-else"}, "azp"),
        ({"aud": None}, "aud"),
        ({"iss": "https://accounts.google.com"}, "iss"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "at_hash"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"exp": 1}, "exp"),
        ({"iat": 1}, "iat"),
        ({"events": {}}, "events"),
    ],
)
async def test_an_id_token_that_is_not_ours(site: Site, liar: LyingProvider, claims: dict[str, Any], word: str) -> None:
    liar.claims = claims
    mallory = site.visitor()
    await refused(site, mallory, await answered(mallory, liar), word)


# ── alg none ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "PS256"])
async def test_alg_none(site: Site, liar: LyingProvider, algorithm: str) -> None:
    def unsigned(claims: dict[str, Any]) -> str:
        return f"{b64url(json.dumps({'alg': algorithm}).encode())}.{b64url(json.dumps(claims).encode())}.AAAA"

    liar.make = unsigned
    mallory = site.visitor()
    await refused(site, mallory, await answered(mallory, liar), "header.alg")
    liar.make = lambda claims: unsigned(claims).removesuffix("AAAA")
    await refused(site, mallory, await answered(mallory, liar), "three parts")


async def test_a_key_of_the_attackers_own(site: Site, liar: LyingProvider) -> None:
    liar.make = lambda claims: liar.signed(claims, liar.stranger)
    mallory = site.visitor()
    await refused(site, mallory, await answered(mallory, liar), "signature")


# ── replayed code ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_replayed_code(site: Site, provider: openid.Running, ada: str) -> None:
    """The same answer again, in the same browser with its cookie back: nothing is asked of the provider."""
    hers = site.visitor()
    address = await hers.ask()
    kept = dict(hers.cookies)
    back = provider.sign_in(address, ada)
    assert (await hers.get(back)).status_code == 303
    await hers.post("/logout", {})
    again = site.visitor()
    for name, value in kept.items():
        again.cookies.set(name, value, domain="everproof.example", path="/")
    await refused(site, again, await again.get(back), "used before")


async def test_one_answer_twice_at_the_same_moment(site: Site, provider: openid.Running, ada: str) -> None:
    hers = site.visitor()
    back = provider.sign_in(await hers.ask(), ada)
    both = await asyncio.gather(hers.get(back), hers.get(back))
    assert sorted(one.status_code for one in both) == [303, 401]
    assert len(site.sessions(ada)) == 1


async def test_a_code_that_the_provider_has_taken_before(
    site: Site, provider: openid.Running, ada: str, bob: str
) -> None:
    hers, mallory = site.visitor(), site.visitor()
    back = provider.sign_in(await hers.ask(), ada)
    assert (await hers.get(back)).status_code == 303
    await hers.post("/logout", {})
    own = provider.sign_in(await mallory.ask(), bob)
    await refused(site, mallory, await mallory.get(changed(own, code=parts(back)["code"])), "invalid_grant")


# ── open redirect ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "next_",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
     "javascript:alert(1)", "/%0d%0aset-cookie:x=y\r\nx", "/x\x00", "/ü", "///evil.example", "evil.example",
     "/#" + "x" * 3000],
)  # fmt: skip
async def test_open_redirect(site: Site, next_: str) -> None:
    browser = site.visitor()
    answer = await browser._client.get("/login/example", params={"next": next_})
    assert answer.status_code == 400, answer.headers
    assert "location" not in answer.headers
    assert not browser.cookies


async def test_the_provider_sends_nobody_elsewhere(site: Site, provider: openid.Running, ada: str) -> None:
    address = changed(await site.visitor().ask("plain"), redirect_uri=EVIL)
    with pytest.raises(AssertionError, match="redirect_uri"):
        provider.other.sign_in(address, ada)


# ── PKCE downgrade ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_pkce_downgrade(site: Site, provider: openid.Running, ada: str) -> None:
    """The challenge is taken out of the request on its way; the verifier is sent all the same (RFC 9700, 2.1.1)."""
    hers = site.visitor()
    stripped = changed(await hers.ask("plain"), code_challenge=None, code_challenge_method=None)
    back = provider.other.sign_in(stripped, ada)
    await refused(site, hers, await hers.get(back), "invalid_grant")


async def test_pkce_downgrade_to_plain(site: Site, provider: openid.Running, ada: str) -> None:
    hers = site.visitor()
    back = provider.other.sign_in(changed(await hers.ask("plain"), code_challenge_method="plain"), ada)
    await refused(site, hers, await hers.get(back), "invalid_grant")


async def test_a_provider_that_takes_plain_challenges_alone_is_not_asked(site: Site, liar: LyingProvider) -> None:
    liar.document = {"code_challenge_methods_supported": ["plain"]}
    answer = await site.visitor().get("/login/liar")
    assert answer.status_code == 503
    assert "PKCE" in answer.json()["detail"]


async def test_every_sign_on_has_a_challenge_of_its_own(site: Site) -> None:
    first, second = [parts(await site.visitor().ask("plain")) for _ in range(2)]
    assert first["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]


# ── session fixation ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_session_fixation(site: Site, provider: openid.Running, ada: str, bob: str) -> None:
    """The attacker's own session, planted in the browser before: another one begins, and that one ends."""
    mallory, hers = site.visitor(), site.visitor()
    assert (await mallory.sign_on(provider, bob)).status_code == 303
    planted = mallory.cookies[NAME]
    hers.cookies.set(NAME, planted, domain="everproof.example", path="/")
    assert (await hers.sign_on(provider, ada)).status_code == 303
    values = [one.value for one in hers.cookies.jar if one.name == NAME]
    assert planted not in values
    assert await hers.me() == ada
    assert await mallory.me() == ""
    assert site.sessions(bob) == []


async def test_a_sign_on_that_the_attacker_began_is_not_finished_in_another_browser(
    site: Site, provider: openid.Running, ada: str
) -> None:
    mallory, hers = site.visitor(), site.visitor()
    back = provider.sign_in(await mallory.ask(), ada)
    await refused(site, hers, await hers.get(back), "this browser has not begun")


# ── callback CSRF ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_callback_csrf(site: Site, provider: openid.Running, bob: str) -> None:
    """The attacker's answer, followed in the browser of somebody who has begun a sign-on of their own."""
    mallory, hers = site.visitor(), site.visitor()
    planted = provider.sign_in(await mallory.ask(), bob)
    await hers.ask()
    await refused(site, hers, await hers.get(planted), "this browser has not begun")


@pytest.mark.parametrize(
    "query", ["", "state=&code=x", "state=x&code=x", "state=%00&code=x", "error=access_denied&state=x"]
)
async def test_an_answer_to_nothing(site: Site, query: str) -> None:
    hers = site.visitor()
    await refused(site, hers, await hers.get(f"/login/callback/example?{query}"), "this browser has not begun")


async def test_a_cookie_that_was_tampered_with(site: Site, provider: openid.Running, ada: str) -> None:
    hers = site.visitor()
    back = provider.sign_in(await hers.ask(), ada)
    (cookie,) = hers.cookies.jar
    assert cookie.name.startswith("__Host-")
    assert cookie.secure
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    assert cookie.value is not None
    hers.cookies.set(cookie.name, cookie.value[:-4] + "AAAA", domain="everproof.example", path="/")
    await refused(site, hers, await hers.get(back), "this browser has not begun")


async def test_an_answer_that_comes_too_late(own: Site, provider: openid.Running, ada: str) -> None:
    hers = own.visitor()
    back = provider.sign_in(await hers.ask(), ada)
    own.clock.advance(timedelta(minutes=10, seconds=1))
    await refused(own, hers, await hers.get(back), "took too long")


# ── e-mail takeover and unverified e-mail ──────────────────────────────────────────────────────────────────────────


async def test_email_takeover(site: Site, provider: openid.Running, ada: str, someone: Callable[..., str]) -> None:
    """Another account of the provider that has come to have an address, and even the user name, of somebody here."""
    assert (await site.visitor().sign_on(provider, ada)).status_code == 303
    impostor = someone(preferred_username=ada, email=f"{ada}@example.com")
    mallory = site.visitor()
    answer = await mallory.sign_on(provider, impostor)
    assert answer.status_code == 403, answer.text
    assert "not linked" in answer.json()["detail"]
    assert len(site.sessions(ada)) == 1
    assert await mallory.me() == ""
    assert "deny" in {one.get("decision") for one in await site.entries()}


async def test_two_people_with_one_email(
    site: Site, provider: openid.Running, ada: str, someone: Callable[..., str]
) -> None:
    assert (await site.visitor().sign_on(provider, ada)).status_code == 303
    other = someone(email=f"{ada}@example.com".upper().replace("EXAMPLE.COM", "example.com"))
    eve = site.visitor()
    answer = await eve.sign_on(provider, other)
    assert answer.status_code == 403
    assert "another person's" in answer.json()["detail"]
    assert await eve.me() == ""
    assert Ref("User", other) not in {one.ref for one in site.app.identity.directory.records()}
    assert site.app.identity.directory.of_email(f"{ada}@example.com") == Ref("User", ada)


async def test_unverified_email(site: Site, provider: openid.Running, someone: Callable[..., str]) -> None:
    """Whoever claims an address at the provider does not commit under it here."""
    dan = someone(email="ceo@example.com", email_verified=False)
    assert (await site.visitor().sign_on(provider, dan)).status_code == 303
    assert site.app.identity.directory.record(Ref("User", dan)).emails == ()
    assert site.app.identity.directory.of_email("ceo@example.com") is None


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_a_name_made_of_an_unverified_email(site: Site, liar: LyingProvider, verified: object) -> None:
    """Whoever claims an address first would be the one that policy names by it."""
    text = site.files["sign-on/liar.toml"].decode()
    site.trust("liars-secret", liar=text.replace("{preferred_username}", "{email}"))
    liar.claims = {"email": "ceo@example.com", "email_verified": verified}
    mallory = site.visitor()
    await refused(site, mallory, await answered(mallory, liar), "has not verified")
    assert Ref("User", "ceo@example.com") not in {one.ref for one in site.app.identity.directory.records()}


@pytest.mark.parametrize(
    ("email", "verified"),
    [("x@evil.example", True), ("x@example.com.evil.example", True), ("x@example.com", "true"), ("x@example.com", 1),
     ("ceo@example.com\n", True), ("cëo@example.com", True), ("@example.com", True)],
)  # fmt: skip
async def test_an_address_that_is_not_the_organisations(
    site: Site, liar: LyingProvider, email: str, verified: object
) -> None:
    liar.claims = {"email": email, "email_verified": verified}
    assert (await answered(site.visitor(), liar)).status_code == 303
    assert site.app.identity.directory.record(Ref("User", liar.person)).emails == ()


@pytest.mark.parametrize("name", ["аda", "ada\u200b", "ada\u202e", "ＡＤＡ", "adá", "a/../b", "*", "", "ａda"])  # noqa: RUF001
async def test_a_name_that_looks_like_another(site: Site, liar: LyingProvider, name: str) -> None:
    liar.claims = {"preferred_username": name}
    mallory = site.visitor()
    await refused(site, mallory, await answered(mallory, liar), "makes no name")


# ── tenant confusion ───────────────────────────────────────────────────────────────────────────────────────────────

TENANT = "6f1c2d3e-4a5b-4c6d-8e7f-901234567890"
OTHER = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def entra(site: Site, liar: LyingProvider) -> Site:
    """The server, where people are of one tenant of Entra's."""
    issuer = f"{liar.issuer}/{TENANT}/v2.0"
    liar.document = {"issuer": issuer}
    liar.claims = {"iss": issuer, "tid": TENANT, "oid": str(uuid.uuid4()), "ver": "2.0", "sub": "pairwise"}
    site.trust(
        "secret",
        liar=f'provider = "entra"\nclient_id = "everproof"\ntenant = "{TENANT}"\nissuer = "{issuer}"\n'
        '[first_sign_on]\nid = "{preferred_username}"\n[groups.map]\n"g-1" = "developers"\n',
    )
    return site


async def test_tenant_confusion(entra: Site, liar: LyingProvider) -> None:
    honest = liar.claims
    for claims, word in (
        ({"tid": OTHER}, "tid"),
        ({"tid": None}, "tid"),
        ({"tid": OTHER, "iss": f"https://login.microsoftonline.com/{OTHER}/v2.0"}, "iss"),
        ({"ver": "1.0"}, "ver"),
        ({"oid": None}, "oid"),
        ({"oid": "ada@example.com"}, "oid"),
    ):
        liar.claims = honest | claims
        mallory = entra.visitor()
        await refused(entra, mallory, await answered(mallory, liar), word)
    liar.claims = honest | {"groups": ["g-1"]}
    assert (await answered(entra.visitor(), liar)).status_code == 303
    assert entra.app.identity.directory.record(Ref("User", liar.person)).groups == ("developers",)


async def test_tenant_confusion_at_google(site: Site, liar: LyingProvider) -> None:
    """Everybody has an account there: one that no administrator of ours manages is nobody's."""
    site.trust(
        "secret",
        liar=f'provider = "google"\nclient_id = "everproof"\nissuer = "{liar.issuer}"\n'
        'hosted_domains = ["example.com"]\n[first_sign_on]\nid = "{preferred_username}"\n',
    )
    for domain in (None, "evil.example", "", ["example.com"]):
        liar.claims = {"hd": domain, "email": "ceo@example.com", "email_verified": True}
        mallory = site.visitor()
        await refused(site, mallory, await answered(mallory, liar), "hd")
    liar.claims = {"hd": "example.com"}
    assert (await answered(site.visitor(), liar)).status_code == 303


# ── stale auth_time ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_stale_auth_time(
    site: Site, provider: openid.Running, someone: Callable[..., str], clients: dict[str, openid.Client]
) -> None:
    """The wish for a fresh sign-in is taken out of the request on its way, in a browser that signed in long ago."""
    text = FILE.format(issuer=provider.other.issuer, client=clients["plain"].id)
    site.trust(clients["plain"].secret, plain=text.replace("[groups.map]", "max_age_seconds = 3600\n\n[groups.map]"))
    old = someone(age=7200)
    with provider.browser() as browser:
        hers = site.visitor()
        back = provider.other.sign_in(changed(await hers.ask("plain"), max_age=None), old, browser)
        await refused(site, hers, await hers.get(back), "too long ago")


async def test_stale_auth_time_at_a_step_up(own: Site, provider: openid.Running, ada: str) -> None:
    hers = own.visitor()
    with provider.browser() as browser:
        assert (await hers.sign_on(provider.other, ada, "plain", browser)).status_code == 303
        (before,) = own.sessions(ada)
        own.clock.advance(timedelta(minutes=2))
        asked = await hers.ask("plain", step_up=before.id)
        assert parts(asked)["max_age"] == "0"
        assert parts(asked)["prompt"] == "login"
        answer = await hers.get(provider.other.sign_in(changed(asked, max_age=None, prompt=None), ada, browser))
    assert answer.status_code == 401
    assert "too long ago" in answer.json()["detail"]
    assert own.sessions(ada)[0].factors == before.factors


@pytest.mark.parametrize("auth_time", [None, "now", 0, -1, 10**18, 1.5, True])
async def test_an_auth_time_that_is_none(site: Site, liar: LyingProvider, auth_time: object) -> None:
    liar.claims = {"auth_time": auth_time}
    hers = site.visitor()
    answer = await answered(hers, liar)
    if auth_time is None:  # nobody asked; but nothing counts as a factor that was shown at no time
        assert answer.status_code == 303
        (session,) = site.sessions(liar.person)
        assert session.second_factor is None
        assert session.authenticated.year == 1970
        return
    await refused(site, hers, answer, "auth_time")


async def test_an_auth_time_in_the_future(site: Site, liar: LyingProvider) -> None:
    liar.claims = {"auth_time": int(time.time()) + 3600}
    hers = site.visitor()
    await refused(site, hers, await answered(hers, liar), "future")


# ── forged logout ──────────────────────────────────────────────────────────────────────────────────────────────────


async def logged_out(site: Site, token: str, provider: str = "liar") -> httpx.Response:
    return await site.visitor().post(f"/logout/backchannel/{provider}", {"logout_token": token}, sec_fetch_site="none")


async def test_forged_logout(site: Site, liar: LyingProvider) -> None:
    hers = site.visitor()
    assert (await answered(hers, liar)).status_code == 303
    now, unsigned = int(time.time()), b64url(b'{"alg":"none"}')
    forged = {
        "by another key": liar.logout_token(key=liar.stranger),
        "for another client": liar.logout_token(aud="somebody-else"),
        "for others too": liar.logout_token(aud=["everproof", "somebody-else"]),
        "of another issuer": liar.logout_token(iss="https://evil.example"),
        "an ID token": liar.signed(liar.said(), liar.key),
        "with a nonce": liar.logout_token(nonce="x"),
        "without an event": liar.logout_token(events=None),
        "of another event": liar.logout_token(
            events={"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {}}
        ),
        "an event that is no object": liar.logout_token(
            events={"http://schemas.openid.net/event/backchannel-logout": True}
        ),
        "of another type": liar.logout_token(typ="at+jwt"),
        "naming nobody": liar.logout_token(sub=None, sid=None),
        "without an id": liar.logout_token(jti=None),
        "expired": liar.logout_token(iat=now - 600, exp=now - 480),
        "old": liar.logout_token(iat=now - 3600, exp=now + 60),
        "unsigned": f"{unsigned}.{liar.logout_token().split('.')[1]}.",
        "nothing": "",
        "large": "x" * 70_000,
    }
    for name, token in forged.items():
        answer = await logged_out(site, token)
        assert answer.status_code == 400, name
        assert name == "large" or answer.json()["error"] == "invalid_request", name
    assert await hers.me() == liar.person
    assert [one for one in await site.entries() if one.get("event") == "authentication-refused"]


async def test_a_logout_of_one_provider_ends_nothing_of_another(
    site: Site, liar: LyingProvider, provider: openid.Running, ada: str
) -> None:
    hers = site.visitor()
    assert (await hers.sign_on(provider, ada)).status_code == 303
    (session,) = site.sessions(ada)
    token = liar.logout_token(sub=session.provider_subject, sid=session.provider_session)
    assert (await logged_out(site, token, "example")).status_code == 400
    assert (await logged_out(site, token)).status_code == 200
    assert await hers.me() == ada


async def test_a_logout_token_is_good_once(site: Site, liar: LyingProvider) -> None:
    token = liar.logout_token()
    assert (await logged_out(site, token)).status_code == 200
    liar.claims = {"iat": int(time.time()) + 20, "exp": int(time.time()) + 300}
    answer = await logged_out(site, token)
    assert answer.status_code == 400
    assert "before" in answer.json()["error_description"]
