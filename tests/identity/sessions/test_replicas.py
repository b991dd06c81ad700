"""Sessions that one process begins and another one ends, on one PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from everproof.identity import roster
from everproof.storage import Storage
from tests.conftest import SettableClock
from tests.identity.people import ALICE, MINUTE, credential
from tests.identity.sessions.test_sessions import Room
from tests.postgres import PostgreSQL

SECONDS = 10


@pytest.fixture
async def two(postgresql: PostgreSQL, clock: SettableClock) -> AsyncIterator[tuple[Room, Room]]:
    """Two processes' rooms over one database; alice is on record."""
    url = postgresql.fresh()
    storages = [Storage.open(url, clock=clock) for _ in range(2)]
    for storage in storages:
        await storage.start()
    here, there = map(Room, storages)
    await here.storage.write(lambda tx: roster.add_principal(tx, ALICE))
    yield here, there
    for storage in storages:
        await storage.stop()


async def heard(so: Callable[[], bool]) -> None:
    """Wait until a process has heard of what another one did."""
    deadline = time.monotonic() + SECONDS
    while not so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_a_session_is_good_at_the_next_process_at_once_and_ends_for_both(
    two: tuple[Room, Room], clock: SettableClock
) -> None:
    here, there = two
    session = await here.begin()
    assert there.sessions.find(session.id) == session  # whether it has heard of it yet or not
    token = await there.storage.write(lambda tx: there.credentials.issue(tx, credential(tx, session.id)))
    await there.show(session, "totp")
    await heard(lambda: here.facts(here.sessions.proof(session.id)).get("mfa_method") == "totp")

    clock.advance(59 * MINUTE)
    there.sessions.touch(session.id)
    await there.storage.write(lambda tx: tx.now)
    clock.advance(2 * MINUTE)
    await heard(lambda: here.sessions.find(session.id) is not None)

    await here.storage.write(lambda tx: here.sessions.end(tx, session.id, "test"))
    # Whatever is issued after that is refused by the database, and what was issued is told within the feed's delay.
    await heard(lambda: there.sessions.find(session.id) is None)
    assert not there.credentials.is_live(token.id)
    clock.advance(timedelta(seconds=31))
    there.sessions.touch(session.id)
    await there.storage.write(lambda tx: tx.now)
    assert here.sessions.find(session.id) is None
