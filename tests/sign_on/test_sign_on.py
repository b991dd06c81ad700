"""People sign on at a certified provider, for the first time and again."""

import re
import time
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest

from everproof.identity import invite, roster
from everproof.identity.sign_on import Response
from everproof.identity.sign_on.store import Link, end_link, links_of, put_link
from everproof.kernel.errors import RefusedError
from everproof.kernel.words import Ref
from everproof.provisioning.records import Person
from everproof.server.browser import NAME
from tests.fakes import openid
from tests.fakes.lying_provider import LyingProvider
from tests.postgres import PostgreSQL
from tests.sign_on.conftest import FILE, Files, SiteOf
from tests.sign_on.site import URL, Site, answered, onward, parts

pytestmark = pytest.mark.asyncio(loop_scope="session")

POLICY = """
@id("house/sign-in-with-a-factor")
@title("People sign in with a second factor")
@advice("use your security key at the provider")
forbid (principal is User, action == Action::"identity:sign-in", resource == Client::"everproof")
unless { context has mfa_age && context.mfa_age < 3600 };
"""


async def test_somebody_signs_on_for_the_first_time_and_again(site: Site, provider: openid.Running, ada: str) -> None:
    browser = site.visitor()
    answer = await browser.sign_on(provider, ada, next="/access?x=1")
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/access?x=1"
    assert await browser.me() == ada
    record = site.app.identity.directory.record(Ref("User", ada))
    assert (record.name, record.emails, record.groups) == ("Ada", (f"{ada}@example.com",), ("developers", "staff"))
    (session,) = site.sessions(ada)
    assert (session.provider, session.acr, session.amr) == ("example", "urn:example:mfa", ("pwd", "mfa"))
    assert session.second_factor == "provider"

    again = site.visitor()
    assert (await again.sign_on(provider, ada)).status_code == 303
    assert await again.me() == ada
    assert len(site.sessions(ada)) == 2
    done = [one.get("action") for one in await site.entries() if one.get("decision") == "allow"]
    assert done.count("identity:enrol") == 1
    assert done.count("identity:sign-in") == 2


async def test_the_provider_is_offered_and_the_way_to_it_is_guarded(site: Site) -> None:
    offered = (await site.visitor().get("/v1/sign-on/providers")).json()
    assert {"name": "example", "title": "Example", "login": "/login/example"} in offered
    browser = site.visitor()
    await browser.ask()
    (cookie,) = browser.cookies.jar
    assert (cookie.path, cookie.secure, cookie.domain_specified) == ("/", True, False)
    assert (await browser.get("/login/nobody")).status_code == 404


async def test_a_sign_in_that_is_wanted_anew_is_asked_for_anew(site: Site, provider: openid.Running, ada: str) -> None:
    """Whoever signed in at the provider a while ago is asked for everything again, and that shows in the session."""
    browser = site.visitor()
    with provider.browser() as there:
        assert (await browser.sign_on(provider.other, ada, "plain", there)).status_code == 303
        asked = parts(await browser.ask("plain", max_age="0"))
        assert (asked["prompt"], asked["max_age"]) == ("login", "0")
        answer = await browser.sign_on(provider.other, ada, "plain", there, max_age="0")
    assert answer.status_code == 303
    (session,) = site.sessions(ada)
    assert (site.clock.now() - session.authenticated).total_seconds() < 30


async def test_groups_are_said_anew_at_each_sign_on(site: Site, provider: openid.Running, ada: str) -> None:
    ref = Ref("User", ada)
    assert (await site.visitor().sign_on(provider, ada)).status_code == 303
    await site.app.storage.write(lambda tx: roster.set_groups(tx, ref, ["developers", "staff", "on-call"]))
    provider.account(ada, groups=["/platform", "Chess", "administrators"], preferred_username="renamed")
    assert (await site.visitor().sign_on(provider, ada)).status_code == 303
    assert site.app.identity.directory.record(ref).groups == ("on-call", "platform", "staff")
    provider.account(ada, groups=[])
    assert (await site.visitor().sign_on(provider, ada)).status_code == 303
    assert site.app.identity.directory.record(ref).groups == ("on-call", "staff")


async def test_groups_that_are_not_said_are_not_none(
    site: Site, provider: openid.Running, ada: str, files: Files
) -> None:
    """Nobody is signed on whose groups the provider leaves out; where the file says so, they keep what they had."""
    browser = site.visitor()
    assert (await browser.sign_on(provider, ada)).status_code == 303
    provider.account(ada, preferred_username=ada)
    answer = await site.visitor().sign_on(provider, ada)
    assert answer.status_code == 401
    assert "which groups" in answer.json()["detail"]
    assert site.app.identity.directory.record(Ref("User", ada)).groups == ("developers", "staff")

    text, _, secret = files["example"]
    site.trust(secret, example=text.replace("[groups.map]", '[groups]\nunknown = "keep"\n[groups.map]'))
    assert (await site.visitor().sign_on(provider, ada)).status_code == 303
    assert site.app.identity.directory.record(Ref("User", ada)).groups == ("developers", "staff")


async def test_somebody_disabled_is_not_signed_on(site: Site, provider: openid.Running, ada: str) -> None:
    browser = site.visitor()
    assert (await browser.sign_on(provider, ada)).status_code == 303
    await site.app.storage.write(lambda tx: roster.disable(tx, Ref("User", ada), "left"))
    assert await browser.me() == ""
    answer = await browser.sign_on(provider, ada)
    assert answer.status_code == 403
    assert not site.sessions(ada)
    assert "deny" in {one.get("decision") for one in await site.entries()}


async def test_whoever_has_left_does_not_come_back_as_a_newcomer(
    site: Site, provider: openid.Running, ada: str
) -> None:
    """The account is still there, and its owner calls themself something else: it stays that of who has left."""
    assert (await site.visitor().sign_on(provider, ada)).status_code == 303
    (link,) = await site.app.storage.write(lambda tx: links_of(tx.connection, Ref("User", ada)))
    await site.app.storage.write(lambda tx: roster.disable(tx, link.user, "left"))
    await site.app.storage.write(lambda tx: end_link(tx, link))
    provider.account(ada, preferred_username=f"{ada}-again", groups=["Engineering"])
    answer = await site.visitor().sign_on(provider, ada)
    assert answer.status_code == 401
    assert "has left" in answer.json()["detail"]
    assert Ref("User", f"{ada}-again") not in {one.ref for one in site.app.identity.directory.records()}
    # Who is hired again comes by an invitation, as somebody of another name.
    issued = await site.app.storage.write(lambda tx: invite(tx, user=f"{ada}-2"))
    browser = site.visitor()
    page = await browser.post("/login/example", {"invitation": issued.secret})
    assert (await browser.get(provider.sign_in(onward(page), ada))).status_code == 303
    assert await browser.me() == f"{ada}-2"


async def test_policy_decides_who_signs_in(
    provider: openid.Running, serving: SiteOf, files: Files, ada: str, bob: str
) -> None:
    """The starter lets everybody in; a house may want a second factor, which the provider says was shown."""
    site = await serving(example=files["example"], policy=POLICY)
    assert (await site.visitor().sign_on(provider, ada)).status_code == 303
    answer = await site.visitor().sign_on(provider, bob)
    assert answer.status_code == 403
    assert "second factor" in answer.text
    assert not site.sessions(bob)


async def test_a_factor_is_shown_at_the_provider(
    site: Site, provider: openid.Running, someone: Callable[..., str]
) -> None:
    """Step-up: the provider asks anew, and says how; the session goes on, in a browser with another secret."""
    ada = someone(acr="urn:example:password", amr=("pwd",))
    browser = site.visitor()
    with provider.browser() as there:
        assert (await browser.sign_on(provider, ada, browser=there)).status_code == 303
        (before,) = site.sessions(ada)
        assert before.second_factor is None
        secret = browser.cookies[NAME]
        # Still without one: the session stays as it was.
        answer = await browser.sign_on(provider, ada, browser=there, step_up=before.id)
        assert answer.status_code == 401
        assert "second factor" in answer.json()["detail"]
        provider.account(ada, preferred_username=ada, groups=["Engineering"], acr="urn:example:mfa", amr=("pwd", "hwk"))
        answer = await browser.sign_on(provider, ada, browser=there, step_up=before.id, next="/requests/7")
    assert (answer.status_code, answer.headers["location"]) == (303, "/requests/7")
    (after,) = site.sessions(ada)
    assert (after.id, after.second_factor) == (before.id, "provider")
    assert browser.cookies[NAME] != secret
    assert await browser.me() == ada


async def test_a_factor_is_not_shown_to_a_session_of_somebody_else(
    site: Site, provider: openid.Running, ada: str, bob: str, someone: Callable[..., str]
) -> None:
    hers, his = site.visitor(), site.visitor()
    assert (await hers.sign_on(provider, ada)).status_code == 303
    assert (await his.sign_on(provider, bob)).status_code == 303
    (session,) = site.sessions(bob)
    answer = await hers.get(f"/login/example?step_up={session.id}", sec_fetch_site="same-origin")
    assert answer.status_code == 403
    # By a link of the attacker's own page, or one in a message, to the attacker's own stolen session of hers:
    (mine,) = site.sessions(ada)
    for site_ in ("cross-site", "same-site", "none"):
        assert (await hers.get(f"/login/example?step_up={mine.id}", sec_fetch_site=site_)).status_code == 403
    # By a page of the server's own, which goes on wherever a link has it go: it is not the page that asks for a factor.
    for mark in ("", "&mark=" + site.app.identity.sign_on.step_up_mark(session.id, mine.id)):
        answer = await hers.get(f"/login/example?step_up={mine.id}{mark}", sec_fetch_site="same-origin")
        assert answer.status_code == 403, mark
    # Another account signs in where hers was asked for; one that nobody has seen before does not come in by it either.
    stranger = someone()
    for other in (bob, stranger):
        back = provider.sign_in(await hers.ask(step_up=mine.id), other)
        assert (await hers.get(back)).status_code in {401, 403}
    assert Ref("User", stranger) not in {one.ref for one in site.app.identity.directory.records()}
    assert "provider" not in site.sessions(bob)[0].factors


async def test_an_invitation_is_taken_up_at_the_provider(
    site: Site, provider: openid.Running, someone: Callable[..., str]
) -> None:
    account = someone(email="not-hers@example.com")
    issued = await site.app.storage.write(
        lambda tx: invite(tx, user=f"u-{account}", groups=("auditors",), emails=(f"{account}@acme.example",))
    )
    browser = site.visitor()
    elsewhere = await browser.post("/login/example", {"invitation": issued.secret}, sec_fetch_site="cross-site")
    assert elsewhere.status_code == 403
    assert (await browser.post("/login/example", {"invitation": "A" * 43})).status_code == 401
    answer = await browser.post("/login/example", {"invitation": issued.secret, "next": "/factors"})
    back = provider.sign_in(onward(answer), account)
    answer = await browser.get(back)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/factors"
    record = site.app.identity.directory.record(Ref("User", f"u-{account}"))
    assert (record.groups, record.emails) == (("auditors", "developers"), (f"{account}@acme.example",))
    assert (await site.visitor().post("/login/example", {"invitation": issued.secret})).status_code == 401
    assert (await site.visitor().sign_on(provider, account)).status_code == 303
    assert len(site.sessions(f"u-{account}")) == 2


async def test_the_file_says_who_an_account_is(
    site: Site, provider: openid.Running, files: Files, ada: str, bob: str
) -> None:
    text, _, secret = files["example"]
    alice = Ref("User", f"alice-{ada}")
    site.trust(secret, example=f'{text}\n[people]\n"{ada}" = "{alice.id}"\n')
    assert (await site.visitor().sign_on(provider, ada)).status_code == 401  # nobody is alice yet
    await site.app.storage.write(lambda tx: roster.add_principal(tx, alice))
    browser = site.visitor()
    assert (await browser.sign_on(provider, ada)).status_code == 303
    assert await browser.me() == alice.id


async def test_provisioning_says_who_an_account_is(
    site: Site, provider: openid.Running, files: Files, ada: str
) -> None:
    """By the id that the provider gave to the provisioner as ``externalId``, which is the subject."""
    text, issuer, secret = files["example"]
    site.trust(secret, example=text.replace("[groups.map]", 'provisioner = "okta-scim"\n\n[groups.map]'))
    alice, robert = (Ref("User", f"{name}-{ada}") for name in ("alice", "robert"))
    for ref in (alice, robert):
        await site.app.storage.write(lambda tx, ref=ref: roster.add_principal(tx, ref))
    known = {("okta-scim", ada): alice}
    site.app.identity.sign_on.use_provisioned(lambda _connection, *asked: known.get(asked))
    browser = site.visitor()
    assert (await browser.sign_on(provider, ada)).status_code == 303
    assert await browser.me() == alice.id
    # Provisioned no more: that there is a first sign-on for everybody else does not let her in under another name.
    del known["okta-scim", ada]
    provider.account(ada, preferred_username=f"{ada}-again", groups=[])
    assert (await site.visitor().sign_on(provider, ada)).status_code == 401
    known["okta-scim", ada] = alice
    # Linked with one person, and provisioned as another by now: neither is believed.
    link = Link(issuer=issuer, subject=ada, user=robert, how="first", at=site.clock.now())
    await site.app.storage.write(lambda tx: put_link(tx, link))
    answer = await site.visitor().sign_on(provider, ada)
    assert answer.status_code == 401
    assert "linked with two" in answer.json()["detail"]


async def test_whoever_is_provisioned_signs_on_until_they_are_not(
    site: Site, provider: openid.Running, files: Files, ada: str
) -> None:
    """What sends people here by SCIM, and the provider that they sign on with, mean one account by one id."""
    text, _, secret = files["example"]
    site.trust(secret, example=text.replace("[groups.map]", 'provisioner = "okta"\n\n[groups.map]'))
    people = site.app.provisioning.people
    person = Person(user_name=f"{ada}@acme.example", external_id=ada)
    kept = await site.app.storage.write(lambda tx: people.add(tx, "okta", person))
    browser = site.visitor()
    assert (await browser.sign_on(provider, ada)).status_code == 303
    assert await browser.me() == kept.ref.id
    await site.app.storage.write(lambda tx: people.change(tx, kept, msgspec.structs.replace(person, active=False)))
    assert await browser.me() == ""
    assert (await browser.sign_on(provider, ada)).status_code == 403


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_a_client_proves_itself_by_our_signing_keys(
    site: Site, provider: openid.Running, ada: str, algorithm: str
) -> None:
    """``private_key_jwt``: no secret at all. The provider knows our keys from ``/jwks.json``."""
    client = provider.register(
        [f"{URL}/login/callback/example"], token_endpoint_auth_method="private_key_jwt",
        jwks=(await site.visitor().get("/jwks.json")).json(), token_endpoint_auth_signing_alg=algorithm,
    )  # fmt: skip
    text = FILE.format(issuer=provider.issuer, client=client.id)
    keyed = text.replace("scopes =", 'authentication = "private-key-jwt"\nscopes =')
    site.trust(example=keyed)
    if algorithm == "RS256":  # a provider that takes no other
        metadata = await site.app.identity.sign_on._client.discovery.of(site.app.identity.sign_on.provider("example"))
        known = site.app.identity.sign_on._client.discovery._known
        known[provider.issuer] = (site.clock.now(), msgspec.structs.replace(metadata, assertion_algorithms=("RS256",)))
    browser = site.visitor()
    assert (await browser.sign_on(provider, ada)).status_code == 303
    assert await browser.me() == ada


async def test_what_the_userinfo_endpoint_tells_completes_what_was_signed(
    site: Site, liar: LyingProvider, files: Files
) -> None:
    """Groups that an ID token has no room for. Whom it is about, the signed token alone says."""
    text, _, secret = files["liar"]
    site.trust(secret, liar=text.replace("scopes =", 'claims_from = "userinfo"\nscopes ='))
    liar.claims = {"groups": None}
    liar.told = {"groups": ["/platform"], "acr": "urn:example:password", "preferred_username": "administrator"}
    assert (await answered(site.visitor(), liar)).status_code == 303
    assert site.app.identity.directory.record(Ref("User", liar.person)).groups == ("platform", "staff")
    liar.told = {"sub": "somebody-else", "groups": ["Engineering"]}
    answer = await answered(site.visitor(), liar)
    assert answer.status_code == 401
    assert "somebody else" in answer.json()["detail"]


async def test_an_id_token_of_five_megabytes_is_refused_in_bounded_memory(site: Site, liar: LyingProvider) -> None:
    liar.claims = {"padding": "x" * 5_000_000}
    browser = site.visitor()
    tracemalloc.start()
    try:
        before = time.monotonic()
        answer = await answered(browser, liar)
        assert time.monotonic() - before < 5
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024  # the liar's own five copies are among it
    finally:
        tracemalloc.stop()
    assert (answer.status_code, answer.json()["code"]) == (503, "sign-on-unavailable")
    assert await browser.me() == ""
    assert [one for one in await site.entries() if one.get("event") == "authentication-refused"]
    liar.claims = {"padding": "x" * 100_000}  # what an answer may be as a whole, but no token
    answer = await answered(browser, liar)
    assert (answer.status_code, answer.json()["code"]) == (401, "sign-on-refused")


@pytest.mark.parametrize(
    ("status", "media", "body"),
    [
        (200, "text/html", b"<html>maintenance</html>"),
        (200, "application/json", b"[]"),
        (200, "application/json", b"{"),
        (200, "application/json", b'{"access_token":"x"}'),
        (200, "application/json", b'{"access_token":"x","id_token":"x","id_token":"y"}'),
        (200, "application/json", b'{"access_token":"x","id_token":7}'),
        (200, "application/json", b'{"access_token":"x","id_token":"' + b"[" * 100_000 + b'"}'),
        (302, "text/html", b""),
        (400, "application/json", b'{"error":"<script>"}'),
        (500, "text/html", b"oh"),
    ],
)
async def test_an_answer_that_is_none(site: Site, liar: LyingProvider, status: int, media: str, body: bytes) -> None:
    liar.answer = lambda _form: (status, {"content-type": media, "location": "https://evil.example"}, body)
    browser = site.visitor()
    answer = await answered(browser, liar)
    assert answer.status_code in {401, 503}
    assert b"<script>" not in answer.content
    assert await browser.me() == ""


async def test_a_provider_that_is_down_is_said_to_be(site: Site, provider: openid.Running, liar: LyingProvider) -> None:
    """Sessions go on; nobody new is signed on, and it is said what else there is."""
    hers = site.visitor()
    assert (await answered(hers, liar)).status_code == 303
    asked = parts(await hers.ask("liar"))
    liar.answer = lambda _form: (503, {}, b"")
    liar.nonce = asked["nonce"]
    answer = await hers.get(f"{URL}/login/callback/liar?state={asked['state']}&code=x")
    assert answer.status_code == 503
    site.app.identity.sign_on._client.discovery.forget(frozenset())
    liar.document = {"issuer": "https://another.example"}
    answer = await site.visitor().get("/login/liar")
    assert answer.status_code == 503
    assert "passkey" in answer.json()["todo"]
    assert await hers.me() == liar.person


async def test_a_provider_that_was_changed_meanwhile_signs_nobody_on(site: Site, liar: LyingProvider) -> None:
    """Between its answer and the commit, another bundle has come to rule."""
    browser = site.visitor()
    asked = parts(await browser.ask("liar"))
    liar.nonce = asked["nonce"]
    come = await site.app.identity.sign_on.complete(
        "liar", Response(state=asked["state"], code="x"), next(iter(browser.cookies.jar)).value
    )
    site.app.identity.sign_on.trust({})
    with pytest.raises(RefusedError, match="changed meanwhile"):
        site.app.identity.sign_on.require_trusted(come)
    assert (await browser.get(f"/login/callback/liar?state={asked['state']}&code=x")).status_code == 401


async def test_the_sessions_of_a_provider_that_is_trusted_no_more_end(site: Site, liar: LyingProvider) -> None:
    browser = site.visitor()
    assert (await answered(browser, liar)).status_code == 303
    providers = {name: site.app.identity.sign_on.provider(name) for name in ("example", "plain")}
    ended = await site.app.storage.write(lambda tx: site.app.identity.sign_on.settle(tx, providers))
    assert len(ended) == 1
    assert await browser.me() == ""


async def test_a_secret_goes_to_its_own_issuer_alone(site: Site, liar: LyingProvider, files: Files) -> None:
    """Whoever may change the bundle does not get at a secret of the server's by naming an issuer of their own."""
    text, _, secret = files["example"]
    site.trust(example=re.sub(r'issuer = "[^"]*"', f'issuer = "{liar.issuer}"', text))
    asked = parts(await site.visitor().ask("example"))
    assert asked["client_id"]
    liar.document = {"pushed_authorization_request_endpoint": f"{liar.issuer}/token"}
    site.trust(example=re.sub(r'issuer = "[^"]*"', f'issuer = "{liar.issuer}"', text))
    answer = await site.visitor().get("/login/example")
    assert answer.status_code == 503
    assert "another issuer" in answer.json()["detail"]
    assert secret not in str(liar.heard)


async def test_on_postgresql(serving: SiteOf, files: Files, liar: LyingProvider, postgresql: PostgreSQL) -> None:
    liar.reset()
    site = await serving(database=postgresql.fresh(), liar=files["liar"])
    browser = site.visitor()
    for _ in range(2):
        assert (await answered(browser, liar)).status_code == 303
        assert await browser.me() == liar.person
    answer = await browser.post("/logout/backchannel/liar", {"logout_token": liar.logout_token()})
    assert answer.status_code == 200
    assert await browser.me() == ""
