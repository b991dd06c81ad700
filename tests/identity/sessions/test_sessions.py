"""Sessions over each of the two databases: what begins them, what they say, and everything that ends them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from everproof.identity import Credentials, Directory, roster
from everproof.identity.credentials import end_credentials
from everproof.identity.sessions import Beginning, Limits, Session, SessionFacts, Sessions
from everproof.identity.sessions import sessions as sessions_room
from everproof.kernel.clock import ClockBehindError
from everproof.kernel.errors import ConflictError, NotFoundError, RefusedError, UnauthenticatedError
from everproof.kernel.words import Action, Proof, Ref, Resource
from everproof.storage import Storage, Transaction
from tests.conftest import SettableClock
from tests.identity.people import ALICE, BOB, MINUTE, SERVER, credential

HOUR = 60 * MINUTE


class Room:
    """What sessions are made of, over one storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.credentials = Credentials(storage, issuer=SERVER)
        self.directory = Directory(storage)
        self.sessions = Sessions(storage, self.credentials, self.directory, issuer=SERVER)

    async def begin(self, user: Ref = ALICE, **changes: Any) -> Session:
        at = self.storage.clock.now()
        given: dict[str, Any] = {"principal": user, "kind": "cli", "provider": "okta", "authenticated": at}
        given["key"] = "k" * 43
        return await self.storage.write(lambda tx: self.sessions.begin(tx, Beginning(**given | changes)))

    async def show(self, session: Session, method: str, **strength: Any) -> Session:
        return await self.storage.write(lambda tx: self.sessions.show_factor(tx, session.id, method, tx.now, strength))

    def facts(self, proof: Proof) -> dict[str, Any]:
        found = SessionFacts(self.sessions).facts(
            proof, Action("secret:read"), Resource(ref=Ref("Secret", "x")), self.storage.clock.now()
        )
        return {fact.name: fact.value for fact in found}


@pytest.fixture
async def room(storage: Storage) -> Room:
    """A room with alice and bob."""
    await storage.write(lambda tx: [roster.add_principal(tx, ref) for ref in (ALICE, BOB)])
    return Room(storage)


async def test_a_session_is_known_at_once_and_after_a_restart_and_elsewhere(room: Room) -> None:
    session = await room.begin(acr="phr", amr=("hwk", "pin"), provider_session="s1", address="192.0.2.7", agent="X")
    for known in (room, Room(room.storage)):
        assert known.sessions.find(session.id) == session
        assert known.sessions.of(ALICE) == [session]
        assert known.sessions.of(BOB) == []
        assert list(known.sessions.all()) == [session]
    proof = room.sessions.proof(session.id)
    assert (proof.kind, proof.credential, proof.key) == ("session", session.id, "k" * 43)
    assert proof.claims == {"session": session.id}


async def test_what_a_session_says(room: Room, clock: SettableClock) -> None:
    session = await room.begin(
        authenticated=clock.now() - HOUR, acr="phr", amr=("pwd",), factors={"ssh-key": clock.now()}
    )
    proof = room.sessions.proof(session.id)
    said = {
        "session_kind": "cli", "session_age": 0, "provider": "okta", "auth_age": 3600, "acr": "phr", "amr": ["pwd"],
        "factors_shown": ["ssh-key"],
    }  # fmt: skip
    assert room.facts(proof) == said  # a key alone is the first factor, and no second
    await room.show(session, "totp")
    clock.advance(2 * MINUTE)
    await room.show(session, "passkey", user_verified=True)
    clock.advance(MINUTE)
    facts = room.facts(proof)
    assert (facts["mfa_age"], facts["mfa_method"], facts["mfa_user_verified"]) == (60, "passkey", True)
    assert facts["factors_shown"] == ["passkey", "ssh-key", "totp"]
    assert facts["session_age"] == 180
    stale = clock.now() - HOUR  # a provider that says when it was, long ago
    await room.storage.write(lambda tx: room.sessions.show_factor(tx, session.id, "passkey", stale, {}))
    assert room.facts(proof)["mfa_age"] == 60
    assert set(facts) <= SessionFacts.says


async def test_a_forged_session_id_says_nothing(room: Room) -> None:
    session = await room.begin()
    await room.show(session, "passkey", user_verified=True)
    proof = room.sessions.proof(session.id)
    for claims in ({}, {"session": "cred_x"}, {"session": ""}):
        assert room.facts(msgspec.structs.replace(proof, claims=claims)) == {}
    bobs = msgspec.structs.replace(proof, principal=room.sessions.proof((await room.begin(BOB)).id).principal)
    assert room.facts(bobs) == {}  # whose token names alice's session is not in it


async def test_the_session_of_another_person_is_not_stepped_up(room: Room) -> None:
    session = await room.begin()
    change = room.storage.write(lambda tx: room.sessions.show_factor(tx, session.id, "passkey", tx.now, {}, of=BOB))
    with pytest.raises(RefusedError, match="somebody else"):
        await change
    assert room.sessions.find(session.id) == session


def _ends(tx: Transaction, session: Session, room: Room) -> dict[str, Callable[[], object]]:
    return {
        "ended": lambda: room.sessions.end(tx, session.id, "test"),
        "revoked": lambda: room.credentials.revoke(tx, session.id, "test"),
        "disabled": lambda: roster.disable(tx, ALICE, "left"),
        "contained": lambda: end_credentials(tx, [session.id], "contained"),
        "signed out at the provider": lambda: room.sessions.end_by_provider(tx, "okta", session="s1"),
        "person signed out there": lambda: room.sessions.end_by_provider(tx, "okta", subject="00u1"),
    }


async def test_whatever_ends_a_session_ends_what_came_of_it_and_it_cannot_be_gone_on_with(room: Room) -> None:
    for name in _ends(None, None, room):  # type: ignore[arg-type]
        session = await room.begin(provider_session="s1", provider_subject="00u1")
        token = await room.storage.write(
            lambda tx, session=session: room.credentials.issue(tx, credential(tx, session.id))
        )
        other = await room.begin(BOB)
        await room.storage.write(lambda tx, name=name, session=session: _ends(tx, session, room)[name]())
        assert room.sessions.find(session.id) is None, name
        assert not room.credentials.is_live(token.id), name
        assert room.sessions.find(other.id) is not None, name
        assert Room(room.storage).sessions.find(session.id) is None, name
        with pytest.raises(UnauthenticatedError):
            room.sessions.proof(session.id)
        with pytest.raises(RefusedError):
            await room.show(session, "passkey")
        with pytest.raises(NotFoundError):
            await room.storage.write(lambda tx, session=session: room.sessions.end(tx, session.id, "again"))
        await room.storage.write(lambda tx: roster.enable(tx, ALICE))
        assert room.sessions.find(session.id) is None, name


async def test_a_forged_logout_of_a_provider_ends_nothing(room: Room) -> None:
    session = await room.begin(provider_session="s1", provider_subject="00u1")
    for provider, subject, sid in (("entra", "00u1", ""), ("okta", "00u2", ""), ("okta", "00u1", "s2")):
        ended = await room.storage.write(
            lambda tx, p=provider, u=subject, s=sid: room.sessions.end_by_provider(tx, p, subject=u, session=s)
        )
        assert ended == ()
    with pytest.raises(Exception, match="neither"):
        await room.storage.write(lambda tx: room.sessions.end_by_provider(tx, "okta"))
    assert room.sessions.find(session.id) is not None


async def test_who_is_disabled_in_between_begins_no_session(room: Room) -> None:
    await room.storage.write(lambda tx: roster.disable(tx, ALICE, "left"))
    with pytest.raises(RefusedError, match="disabled"):
        await room.begin()
    with pytest.raises(RefusedError):
        await room.begin(Ref("User", "nobody"))


async def test_idle_and_absolute_limits_and_no_way_back(room: Room, clock: SettableClock) -> None:
    session = await room.begin()
    clock.advance(HOUR)
    assert room.sessions.find(session.id) is None
    clock.advance(-HOUR)  # the storage's clock stays where it was
    assert room.sessions.find(session.id) is None
    with pytest.raises(RefusedError):
        await room.show(session, "passkey")
    with pytest.raises(ClockBehindError):
        await room.begin()


async def test_use_keeps_a_session_alive_and_is_written_down_now_and_then(room: Room, clock: SettableClock) -> None:
    session = await room.begin()
    writes = 0
    write = room.storage.write

    def counted(change: Any) -> Any:
        nonlocal writes
        writes += 1
        return write(change)

    room.storage.write = counted  # type: ignore[method-assign]
    for _ in range(100):
        clock.advance(timedelta(seconds=3))
        room.sessions.touch(session.id)
        await write(lambda tx: tx.now)  # behind whatever was to be written
    assert 8 <= writes <= 10
    clock.advance(59 * MINUTE)
    assert room.sessions.find(session.id) is not None
    assert Room(room.storage).sessions.find(session.id) is not None
    room.sessions.touch("cred_x")


async def test_a_late_touch_revives_nothing(room: Room, clock: SettableClock) -> None:
    session = await room.begin()
    clock.advance(2 * MINUTE)
    room.sessions.touch(session.id)
    ended = room.storage.write(lambda tx: room.sessions.end(tx, session.id, "test"))
    room.sessions.touch(session.id)
    await ended
    room.sessions.touch(session.id)
    await room.storage.write(lambda tx: tx.now)
    assert room.sessions.find(session.id) is None
    assert Room(room.storage).sessions.find(session.id) is None


async def test_a_shorter_limit_holds_at_once_and_a_longer_one_from_the_next_use_on(
    room: Room, clock: SettableClock
) -> None:
    session = await room.begin()
    clock.advance(6 * MINUTE)
    room.sessions.limits = Limits(idle_seconds=300)
    assert room.sessions.find(session.id) is None
    room.sessions.limits = Limits(idle_seconds=7200)
    assert room.sessions.find(session.id) is not None
    clock.advance(55 * MINUTE)
    assert room.sessions.find(session.id) is None
    room.sessions.limits = Limits(absolute_seconds=300)
    short = await room.begin()
    assert short.expires == short.created + 5 * MINUTE


async def test_upkeep_ends_on_record_what_is_idle_and_forgets_it_later(room: Room, clock: SettableClock) -> None:
    session = await room.begin()
    token = await room.storage.write(
        lambda tx: room.credentials.issue(tx, credential(tx, session.id, expires=tx.now + 2 * HOUR))
    )
    clock.advance(HOUR)
    await room.storage.write(room.sessions.forget)
    assert not room.credentials.is_live(token.id)
    assert room.credentials.live(session.id) is None
    clock.advance(sessions_room.KEPT + MINUTE)
    await room.storage.write(room.sessions.forget)
    assert list(Room(room.storage).sessions.all()) == []


async def test_nobody_fills_memory_with_sessions(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_room, "MOST_OF_ONE", 3)
    begun = [await room.begin() for _ in range(5)]
    assert [one.id for one in room.sessions.of(ALICE)] == [one.id for one in reversed(begun[2:])]


async def test_one_session_is_bound_to_one_key(room: Room, clock: SettableClock) -> None:
    session = await room.storage.write(
        lambda tx: room.sessions.begin(
            tx,
            Beginning(principal=ALICE, kind="browser", provider="okta", authenticated=tx.now),
            cookie=b"h" * 32,
        )
    )
    assert session.idle_until == session.created + 15 * MINUTE
    bound = await room.storage.write(lambda tx: room.sessions.bind_key(tx, session.id, "a" * 43, b"i" * 32))
    assert (bound.key, bound.idle_until) == ("a" * 43, session.created + HOUR)
    with pytest.raises(ConflictError):
        await room.storage.write(lambda tx: room.sessions.bind_key(tx, session.id, "b" * 43, b"j" * 32))
    await room.storage.write(lambda tx: roster.revoke_key(tx, "a" * 43, "compromised"))
    assert room.sessions.find(session.id) is None
    late = await room.begin(kind="browser", key=None)
    with pytest.raises(RefusedError):  # it has no cookie
        await room.storage.write(lambda tx: room.sessions.bind_key(tx, late.id, "c" * 43, b"k" * 32))
