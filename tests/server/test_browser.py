"""Sessions at browsers, and the attacks on them: fixation, forgery, other sites, copies of cookies, replays."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from benchmarks._site import Key
from benchmarks.leaver import ME, Leaver, Leavers

from everproof.identity import roster
from everproof.identity.holding import hold
from everproof.identity.sessions import Limits
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.words import Ref
from everproof.server.browser import NAME
from tests.conftest import DATABASES
from tests.issuer import Issuer
from tests.postgres import PostgreSQL
from tests.server.asgi import Answer, call
from tests.server.conftest import URL, Site, opened
from tests.server.visitor import Visitor

MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.asyncio(loop_scope="module")
"""One server serves the whole module: each test has people of its own, and time only goes on."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=DATABASES)
async def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, session_issuer: Issuer
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("browser")
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'everproof.db'}"
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.fresh()
    async with opened(url, folder / "state", session_issuer) as site:
        yield site


async def someone(house: Site) -> Ref:
    ref = Ref("User", f"p-{uuid.uuid4().hex[:12]}")
    await house.app.storage.write(lambda tx: roster.add_principal(tx, ref))
    return ref


@pytest_asyncio.fixture(loop_scope="module")
async def alice(house: Site) -> Visitor:
    """Somebody who has signed in."""
    return await Visitor(house).sign_in((await someone(house)).id)


async def test_a_cookie_proves_who_is_in_its_session(alice: Visitor) -> None:
    me = (await alice.send("GET", "/v1/identity/me")).json
    assert me["principal"]["ref"] == {"type": "User", "id": alice.session.principal.id}
    assert (me["proof"], me["credential"], me["key"]) == ("session", alice.session.id, None)
    [shown] = (await alice.send("GET", "/v1/sessions")).json["sessions"]
    assert shown["current"]
    assert shown["key_bound"] is False


async def test_the_secret_is_kept_as_a_hash_alone(house: Site, alice: Visitor) -> None:
    secret = from_b64url(alice.secret)[16:48]
    kept = house.app.identity.sessions.kept(alice.session.id)
    assert kept is not None
    assert secret not in repr(kept).encode()
    assert kept.cookie is not None
    assert kept.cookie.hash != secret


async def test_fixation_each_sign_in_makes_a_new_session_and_ends_the_one_before(house: Site, alice: Visitor) -> None:
    planted = alice.cookie
    victim = Visitor(house)
    victim.cookie = planted  # somebody else's session, put into the victim's browser
    bob = await someone(house)
    await victim.sign_in(bob.id, instead_of=alice.session)
    assert victim.cookie != planted
    alice.cookie = planted
    assert (await alice.send("GET", "/v1/identity/me")).status == 401
    assert (await victim.send("GET", "/v1/identity/me")).json["principal"]["ref"]["id"] == bob.id


async def test_fixation_a_session_id_chosen_by_the_caller_is_nobodys(house: Site, alice: Visitor) -> None:
    parts = bytearray(from_b64url(alice.secret))
    forged = Visitor(house)
    for at in (0, 16, 63):  # the id, the secret, the MAC
        changed = bytearray(parts)
        changed[at] ^= 1
        forged.cookie = f"{NAME}={b64url(bytes(changed))}"
        assert (await forged.send("GET", "/v1/identity/me")).json["code"] == "session-over"
    for value in ("", "x", "A" * 86, alice.secret + "A", alice.session.id):
        forged.cookie = f"{NAME}={value}"
        assert (await forged.send("GET", "/v1/identity/me")).status == 401
    forged.cookie = f"{alice.cookie}; {alice.cookie}"
    assert (await forged.send("GET", "/v1/identity/me")).status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example", "sec-fetch-site": None},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
        {"origin": "https://sub.everproof.example", "sec-fetch-site": "same-site"},
        {"origin": URL.upper(), "sec-fetch-site": "same-site"},
        {"origin": None, "sec-fetch-site": "none"},
        {"origin": "null", "sec-fetch-site": None},
        {"origin": None, "sec-fetch-site": None},
    ],
)
async def test_csrf_another_site_changes_nothing(house: Site, alice: Visitor, headers: dict[str, str | None]) -> None:
    answer = await alice.send("DELETE", f"/v1/sessions/{alice.session.id}", headers=headers)
    assert (answer.status, answer.json["code"]) == (403, "cross-site")
    assert house.app.identity.sessions.find(alice.session.id) is not None


async def test_csrf_a_page_of_this_server_is_known_by_either_header(alice: Visitor) -> None:
    told: list[dict[str, str | None]] = [{"origin": "null"}, {"origin": None}, {"sec-fetch-site": None}]
    for headers in told:
        assert (await alice.send("POST", "/session/key", headers=headers)).json["code"] != "cross-site"


async def test_another_site_embeds_nothing_but_may_link_here(alice: Visitor) -> None:
    there: dict[str, str | None] = {"origin": None, "sec-fetch-site": "cross-site"}
    linked = {**there, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    framed = {**there, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    read = {**there, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}
    assert (await alice.send("GET", "/v1/identity/me", headers=linked)).status == 200
    for headers in (framed, read):
        assert (await alice.send("GET", "/v1/identity/me", headers=headers)).json["code"] == "cross-site"


async def test_a_cookie_replayed_after_sign_out_is_refused(alice: Visitor) -> None:
    copied = alice.cookie
    assert (await alice.send("POST", "/session/end")).status == 204
    assert not alice.cookie
    alice.cookie = copied
    answer = await alice.send("GET", "/v1/identity/me")
    assert (answer.status, answer.json["code"]) == (401, "session-over")
    assert not alice.cookie  # the browser is told to forget it


async def test_a_cookie_after_its_person_was_disabled_is_refused_also_when_enabled_again(
    house: Site, alice: Visitor
) -> None:
    copied = alice.cookie
    await house.app.storage.write(lambda tx: roster.disable(tx, alice.session.principal, "left"))
    assert (await alice.send("GET", "/v1/identity/me")).status == 401
    await house.app.storage.write(lambda tx: roster.enable(tx, alice.session.principal))
    alice.cookie = copied
    assert (await alice.send("GET", "/v1/identity/me")).status == 401


async def test_a_cookie_of_somebody_contained_allows_nothing(house: Site, alice: Visitor) -> None:
    assert (await alice.send("GET", "/v1/sessions")).status == 200
    await house.app.storage.write(lambda tx: hold(tx, alice.session.principal, "stolen laptop"))
    answer = await alice.send("GET", "/v1/sessions")
    assert (answer.status, "contained" in answer.json["extra"]["reason"]) == (403, True)


async def test_a_session_ends_when_nobody_uses_it_and_at_last_whatever_happens(house: Site, alice: Visitor) -> None:
    for _ in range(3):
        house.clock.advance(14 * MINUTE)
        assert (await alice.send("GET", "/v1/identity/me")).status == 200
        await house.app.storage.write(lambda tx: tx.now)  # behind the note that the session was used
    house.clock.advance(15 * MINUTE)
    assert (await alice.send("GET", "/v1/identity/me")).status == 401
    busy = await Visitor(house).sign_in(alice.session.principal.id)
    for _ in range(12 * 6 + 1):
        house.clock.advance(10 * MINUTE)
        if (await busy.send("GET", "/v1/identity/me")).status == 401:
            break
        await house.app.storage.write(lambda tx: tx.now)
    assert timedelta(hours=11, minutes=50) < house.clock.now() - busy.session.created <= timedelta(hours=12)


async def test_a_clock_that_goes_back_revives_no_session(house: Site, alice: Visitor) -> None:
    copied = alice.cookie
    house.clock.advance(16 * MINUTE)
    assert (await alice.send("GET", "/v1/identity/me")).status == 401
    house.clock.advance(-16 * MINUTE)
    alice.cookie = copied
    assert (await alice.send("GET", "/v1/identity/me")).status == 401
    with pytest.raises(Exception, match="on record"):  # nor does a new one begin
        await alice.sign_in(alice.session.principal.id)
    house.clock.advance(16 * MINUTE)


async def test_a_page_binds_its_session_to_a_key_and_renews_its_cookie_with_it(house: Site, alice: Visitor) -> None:
    copied = alice.cookie
    answer = await alice.show_key("/session/key")
    assert answer.status == 200, answer.body
    assert answer.json["key_bound"]
    assert (await alice.send("GET", "/v1/identity/me")).json["key"] == alice.page.thumbprint
    thief = Visitor(house)
    thief.cookie = copied
    house.clock.advance(MINUTE)  # the secret of before the key is good for no longer than what is on its way
    assert (await thief.send("GET", "/v1/identity/me")).json["code"] == "session-over"

    thief.cookie = stolen = alice.cookie
    house.clock.advance(9 * MINUTE)
    assert (await alice.send("GET", "/v1/identity/me")).json["code"] == "session-key-wanted"
    assert (await thief.show_key("/session/refresh")).json["code"] == "refused"  # by a key of its own
    assert (await thief.show_key("/session/key")).json["code"] == "conflict"
    thief.cookie = ""
    assert (await thief.show_key("/session/refresh")).status == 401
    assert (await alice.show_key("/session/refresh")).status == 200
    assert alice.cookie != stolen
    assert (await alice.send("GET", "/v1/identity/me")).status == 200
    thief.cookie = stolen
    house.clock.advance(MINUTE)
    assert (await thief.send("GET", "/v1/identity/me")).status == 401


async def test_a_proof_of_the_pages_key_is_good_once_and_at_one_address(alice: Visitor) -> None:
    assert (await alice.show_key("/session/key")).status == 200
    proof = alice.page.proof("POST", "/session/refresh")
    assert (await alice.send("POST", "/session/refresh", headers={"dpop": proof})).status == 200
    assert (await alice.send("POST", "/session/refresh", headers={"dpop": proof})).status == 401
    elsewhere = alice.page.proof("POST", "/session/key")
    assert (await alice.send("POST", "/session/refresh", headers={"dpop": elsewhere})).status == 401


async def test_a_key_comes_at_the_beginning_or_never(house: Site, alice: Visitor) -> None:
    house.clock.advance(6 * MINUTE)
    answer = await alice.show_key("/session/key")
    assert (answer.status, "too long ago" in answer.json["detail"]) == (403, True)
    assert (await alice.send("GET", "/v1/identity/me")).json["key"] is None


async def test_sessions_of_others_are_neither_seen_nor_ended(house: Site, alice: Visitor) -> None:
    bob = await Visitor(house).sign_in((await someone(house)).id)
    assert len((await bob.send("GET", "/v1/sessions")).json["sessions"]) == 1
    for method, path, query in (
        ("GET", f"/v1/sessions/{alice.session.id}", ""),
        ("DELETE", f"/v1/sessions/{alice.session.id}", ""),
        ("GET", "/v1/sessions", f"user={alice.session.principal.id}"),
        ("GET", "/v1/sessions", "all=true"),
    ):
        assert (await bob.send(method, path, query=query)).status == 403, path
    assert (await alice.send("GET", "/v1/identity/me")).status == 200
    other = await Visitor(house).sign_in(alice.session.principal.id)
    ended = await alice.send("DELETE", f"/v1/sessions/{other.session.id}")
    assert ended.json["ended"] == [other.session.id]
    assert alice.cookie
    assert (await other.send("GET", "/v1/identity/me")).status == 401


async def test_tokens_of_a_session_that_nobody_uses_any_more_are_refused_at_once(house: Site) -> None:
    key = Key()
    held = Leavers(1, key)
    held.people = [Leaver((await someone(house)).id)]
    await house.app.storage.write(lambda tx: held.seed(house.app, tx))
    token = held.people[0].tokens[0]  # good for an hour, as its session is if nobody uses it
    nonce = house.app.identity.dpop.nonce

    async def shown() -> Answer:
        proof = key.proof("GET", URL + ME, nonce, token, iat=int(house.clock.now().timestamp()))
        return await call(house.doors, "GET", ME, headers={"authorization": f"DPoP {token}", "dpop": proof})

    assert (await shown()).status == 200
    house.app.identity.sessions.limits = Limits(idle_seconds=300)
    house.clock.advance(timedelta(seconds=301))
    answer = await shown()
    house.app.identity.sessions.limits = Limits()
    assert (answer.status, "is over" in answer.json["detail"]) == (401, True)
