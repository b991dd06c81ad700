"""The throttle is the database's: neither another process nor a restart has attempts of its own."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from everproof.identity.factors import throttle
from everproof.identity.factors.throttle import ThrottledError
from everproof.kernel.words import Ref
from everproof.storage import Storage
from tests.conftest import SettableClock
from tests.postgres import PostgreSQL

ALICE = Ref("User", "alice")


async def _tries(storage: Storage, count: int) -> int:
    """How many of so many attempts at once were let through."""
    tried = [storage.write(lambda tx: throttle.count(tx, ALICE, "totp")) for _ in range(count)]
    done = await asyncio.gather(*tried, return_exceptions=True)
    assert all(not isinstance(one, BaseException) or isinstance(one, ThrottledError) for one in done)
    return sum(not isinstance(one, BaseException) for one in done)


async def test_totp_brute_force_through_two_processes(postgresql: PostgreSQL) -> None:
    url, clock = postgresql.fresh(), SettableClock()
    one, other = Storage.open(url, clock=clock), Storage.open(url, clock=clock)
    await one.start()
    await other.start()
    try:
        let = await asyncio.gather(_tries(one, 10), _tries(other, 10))
        assert sum(let) == throttle.FREE
        clock.advance(throttle.FIRST_WAIT)
        let = await asyncio.gather(_tries(one, 5), _tries(other, 5))
        assert sum(let) == 1
    finally:
        await one.stop()
        await other.stop()


async def test_totp_brute_force_over_a_restart(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path / 'everproof.db'}", SettableClock()
    for let in (throttle.FREE, 0, 0):
        storage = Storage.open(url, clock=clock)
        await storage.start()
        assert await _tries(storage, 5) == let
        await storage.stop()


@pytest.mark.parametrize("failures", [1, 2, 3, 4, 8, 20, 99, 10_000])
def test_waits_are_bounded(failures: int) -> None:
    wait = throttle.wait_after(failures)
    assert timedelta() <= wait <= throttle.LONGEST_WAIT
    assert (wait == timedelta()) == (failures < throttle.FREE)
