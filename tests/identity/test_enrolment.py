import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from everproof.identity import (
    ADMINISTRATORS,
    Directory,
    EnrolmentRequest,
    invite,
    invite_first_administrator,
    link,
    roster,
    store,
)
from everproof.identity.challenges import ENROL_NAMESPACE, LIFETIME, LOGIN_NAMESPACE, Challenges, enrolment_message
from everproof.identity.enrolment import LINK_LIFETIME, Enrolment
from everproof.identity.holding import hold
from everproof.identity.ssh_keys import read_blob
from everproof.identity.tickets import Issued
from everproof.kernel.errors import ConflictError, Error, InputError, RefusedError, UnauthenticatedError
from everproof.kernel.words import Ref
from everproof.storage import Storage
from tests.conftest import SettableClock
from tests.identity.people import ALICE, BOB, DAY, SERVER, enrolled
from tests.identity.ssh import Key


@pytest.fixture
def directory(storage: Storage) -> Directory:
    return Directory(storage)


@pytest.fixture
def enrolment(storage: Storage) -> Enrolment:
    return Enrolment(storage, Challenges(storage.clock, server=SERVER))


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path)


@pytest.fixture
async def invited(storage: Storage) -> Issued:
    return await storage.write(lambda tx: invite(tx, groups=("developers",), emails=("bob@x.test",), by=ALICE))


def request(
    enrolment: Enrolment,
    secret: str,
    key: Key,
    *,
    namespace: str = ENROL_NAMESPACE,
    server: str = SERVER,
    **changes: Any,
) -> EnrolmentRequest:
    challenge = enrolment.challenge()
    user = changes.get("user", "bob")
    message = enrolment_message(server=server, challenge=challenge.text, at=challenge.at, user=user)
    given = {
        "secret": secret, "user": user, "public_key": key.line, "challenge": challenge.text,
        "signature": key.sign(message, namespace).decode(), "name": "Bob", "emails": ("bob@x.test",),
    }  # fmt: skip
    return EnrolmentRequest(**given | changes)


def with_(invited: Issued, key: Key, changes: dict[str, Any]) -> dict[str, Any]:
    return {"secret": invited.secret, "key": key} | changes


def first(url: str) -> Issued | None:
    storage = Storage.open(url)
    try:
        return invite_first_administrator(storage, Directory(storage))
    finally:
        storage.close()


async def test_invited_person_is_enrolled_with_the_key(
    storage: Storage, directory: Directory, enrolment: Enrolment, invited: Issued, key: Key
) -> None:
    enrolling = enrolment.verify(request(enrolment, invited.secret, key))
    assert enrolling.proof.kind == "enrolment-link"
    assert enrolling.proof.principal.ref == enrolling.resource.ref == BOB
    assert Ref("Group", "developers") in enrolling.resource.parents
    assert Ref("Group", "developers") not in enrolling.proof.principal.parents  # not before it is decided
    assert directory.principal(BOB) is None
    await storage.write(enrolling.settle)
    principal = directory.principal(BOB)
    assert principal is not None
    assert Ref("Group", "developers") in principal.parents
    found = directory.ssh_key(read_blob(key.blob).fingerprint)
    assert found is not None
    assert found.principal == BOB


def test_first_start_makes_one_link_that_counts_and_it_makes_an_administrator(
    database_url: str, key: Key, clock: SettableClock
) -> None:
    earlier = first(database_url)
    issued = first(database_url)
    assert earlier is not None
    assert issued is not None
    assert link(SERVER, issued.secret) == f"{SERVER}/enrol#{issued.secret}"

    storage = Storage.open(database_url)
    enrolment = Enrolment(storage, Challenges(storage.clock, server=SERVER))
    with pytest.raises(UnauthenticatedError):
        enrolment.verify(request(enrolment, earlier.secret, key))
    storage.write_now(enrolment.verify(request(enrolment, issued.secret, key)).settle)
    directory = Directory(storage)
    principal = directory.principal(BOB)
    assert principal is not None
    assert Ref("Group", ADMINISTRATORS) in principal.parents
    assert invite_first_administrator(storage, directory) is None
    storage.close()


async def test_who_is_invited_does_not_choose_whom_to_commit_as(
    storage: Storage, directory: Directory, enrolment: Enrolment, invited: Issued, key: Key
) -> None:
    asked = request(enrolment, invited.secret, key, emails=("ceo@x.test",))
    await storage.write(enrolment.verify(asked).settle)
    assert directory.record(BOB).emails == ("bob@x.test",)
    assert directory.of_email("ceo@x.test") is None


async def test_nobody_is_invited_with_the_address_of_another(storage: Storage) -> None:
    await enrolled(storage, ALICE)
    with pytest.raises(ConflictError, match='address of User::"alice"'):
        await storage.write(lambda tx: invite(tx, emails=("Alice@x.test",)))


async def test_enrolment_link_that_was_used_is_refused(
    storage: Storage, enrolment: Enrolment, invited: Issued, key: Key, tmp_path: Path
) -> None:
    await storage.write(enrolment.verify(request(enrolment, invited.secret, key)).settle)
    with pytest.raises(UnauthenticatedError, match="was used"):
        enrolment.verify(request(enrolment, invited.secret, Key(tmp_path, "other"), user="mallory", emails=()))


@pytest.mark.parametrize("end", [roster.disable, hold])
async def test_who_was_taken_over_does_not_come_back_by_a_link_made_meanwhile(
    storage: Storage, enrolment: Enrolment, invited: Issued, key: Key, end: Callable[..., object]
) -> None:
    await enrolled(storage, ALICE)
    enrolling = enrolment.verify(request(enrolment, invited.secret, key, emails=()))
    await storage.write(lambda tx: end(tx, ALICE, "taken over"))
    with pytest.raises(RefusedError, match="disabled or contained"):
        await storage.write(enrolling.settle)
    assert Directory(storage).principal(BOB) is None


async def test_of_many_uses_of_one_link_at_once_one_counts(
    storage: Storage, directory: Directory, enrolment: Enrolment, invited: Issued, tmp_path: Path
) -> None:
    people = [
        enrolment.verify(request(enrolment, invited.secret, Key(tmp_path, name), user=name, emails=()))
        for name in ("bob", "mallory", "eve")
    ]
    done = await asyncio.gather(*(storage.write(one.settle) for one in people), return_exceptions=True)
    assert sorted(isinstance(one, RefusedError) for one in done) == [False, True, True]
    assert len(list(directory.records())) == 1


async def test_enrolment_link_ends_after_a_day(
    storage: Storage, enrolment: Enrolment, invited: Issued, clock: SettableClock, key: Key
) -> None:
    enrolling = enrolment.verify(request(enrolment, invited.secret, key))
    clock.advance(LINK_LIFETIME)
    with pytest.raises(RefusedError):
        await storage.write(enrolling.settle)
    with pytest.raises(UnauthenticatedError, match="expired"):
        enrolment.verify(request(enrolment, invited.secret, key))


async def test_link_for_somebody_else_is_refused(storage: Storage, enrolment: Enrolment, key: Key) -> None:
    issued = await storage.write(lambda tx: invite(tx, user="carol"))
    with pytest.raises(UnauthenticatedError, match="somebody else"):
        enrolment.verify(request(enrolment, issued.secret, key))


async def test_join_token_is_no_enrolment_link(storage: Storage, enrolment: Enrolment, key: Key) -> None:
    from everproof.identity import join_token

    issued = await storage.write(join_token)
    with pytest.raises(UnauthenticatedError):
        enrolment.verify(request(enrolment, issued.secret, key))


async def test_key_of_somebody_else_cannot_be_enrolled(
    storage: Storage, enrolment: Enrolment, invited: Issued, key: Key, tmp_path: Path
) -> None:
    other = Key(tmp_path, "other")
    with pytest.raises(UnauthenticatedError, match="another key"):
        enrolment.verify(request(enrolment, invited.secret, key, public_key=other.line))


async def test_challenge_of_an_enrolment_used_twice_is_refused(
    storage: Storage, directory: Directory, enrolment: Enrolment, invited: Issued, key: Key
) -> None:
    asked = request(enrolment, invited.secret, key)
    await storage.write(enrolment.verify(asked).settle)
    second = await storage.write(invite)
    again = EnrolmentRequest(
        secret=second.secret, user=asked.user, public_key=asked.public_key, challenge=asked.challenge,
        signature=asked.signature,
    )  # fmt: skip
    with pytest.raises(ConflictError, match="used before"):
        await storage.write(enrolment.verify(again).settle)
    # It failed as a whole: the second link is still good.
    assert enrolment.verify(again).ticket.id == second.ticket.id


@pytest.mark.parametrize(
    "changes",
    [
        {"namespace": "git"},
        {"namespace": LOGIN_NAMESPACE},
        {"server": "https://evil.example"},
        {"signature": "garbage"},
        {"challenge": "A" * 75},
        {"secret": ""},
        {"secret": "A" * 43},
        {"secret": "A" * 1_000_000},
        {"user": "Bob"},
        {"user": "b\u043eb"},
        {"name": "Bob\u202e"},
        {"emails": ("bob",)},
        {"public_key": "ssh-ed25519 garbage"},
    ],
)
async def test_what_does_not_hold_is_refused(
    storage: Storage, enrolment: Enrolment, invited: Issued, key: Key, changes: dict[str, Any]
) -> None:
    with pytest.raises((UnauthenticatedError, InputError)):
        enrolment.verify(request(enrolment, **with_(invited, key, changes)))


async def test_old_challenge_is_refused(
    storage: Storage, enrolment: Enrolment, invited: Issued, key: Key, clock: SettableClock
) -> None:
    asked = request(enrolment, invited.secret, key)
    clock.advance(LIFETIME)
    with pytest.raises(UnauthenticatedError, match="too old"):
        enrolment.verify(asked)


async def test_taken_id_address_or_key_leaves_the_link_good(
    storage: Storage, enrolment: Enrolment, invited: Issued, key: Key, tmp_path: Path
) -> None:
    other = Key(tmp_path, "other")
    await enrolled(storage, ALICE, other.line)
    taken: list[dict[str, Any]] = [
        {"user": "alice"},
        {"key": other},
    ]
    for changes in taken:
        asked = request(enrolment, **with_(invited, key, changes))
        with pytest.raises(ConflictError):
            await storage.write(enrolment.verify(asked).settle)
    await storage.write(enrolment.verify(request(enrolment, invited.secret, key)).settle)


async def test_the_secret_stands_nowhere(storage: Storage, invited: Issued) -> None:
    assert invited.secret not in repr(invited)
    with storage.reading() as connection:
        for row in connection.execute(select(store.tickets)):
            assert invited.secret.encode() not in b"".join(str(value).encode() for value in row)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1), 7 * DAY + timedelta(seconds=1)])
async def test_links_for_ever_are_refused(storage: Storage, lifetime: timedelta) -> None:
    with pytest.raises(Error, match="seven days"):
        await storage.write(lambda tx: invite(tx, lifetime=lifetime))
