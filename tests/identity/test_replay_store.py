import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from everproof.identity.oauth import ReplayedError
from everproof.identity.replay_store import OUTLIVES, bind_first_use, forget_expired, spend, token_bindings
from everproof.kernel.clock import MAX_SKEW
from everproof.storage import Storage
from tests.conftest import SettableClock

TOKEN = b"t" * 32


def rows(storage: Storage) -> int:
    with storage.reading() as connection:
        return connection.scalar(select(func.count()).select_from(token_bindings)) or 0


async def bind(storage: Storage, key: str, expires: datetime, credential: str = "cred_1") -> str:
    return (await storage.write(lambda tx: bind_first_use(tx, TOKEN, key, expires, credential))).credential


async def test_the_first_key_has_the_token_and_its_credential_stands_for_it(
    storage: Storage, clock: SettableClock
) -> None:
    expires = clock.now() + timedelta(minutes=5)
    assert await bind(storage, "key-1", expires) == "cred_1"
    assert await bind(storage, "key-1", expires, "cred_2") == "cred_1"
    with pytest.raises(ReplayedError):
        await bind(storage, "key-2", expires)
    assert rows(storage) == 1


async def test_a_refusal_leaves_its_neighbours_in_the_commit_alone(storage: Storage, clock: SettableClock) -> None:
    expires = clock.now() + timedelta(minutes=5)
    results = await asyncio.gather(
        *(bind(storage, f"key-{number}", expires, f"cred_{number}") for number in range(8)), return_exceptions=True
    )
    assert [result for result in results if isinstance(result, str)] == ["cred_0"]
    assert sum(isinstance(result, ReplayedError) for result in results) == 7


async def test_an_assertion_is_spent_once_even_at_once(storage: Storage, clock: SettableClock) -> None:
    expires = clock.now() + timedelta(minutes=1)
    results = await asyncio.gather(
        *(storage.write(lambda tx: spend(tx, TOKEN, expires)) for _ in range(5)), return_exceptions=True
    )
    assert results.count(None) == 1


async def test_what_was_used_is_remembered_for_longer_than_it_could_be_accepted(
    storage: Storage, clock: SettableClock
) -> None:
    expires = clock.now() + timedelta(minutes=5)
    await bind(storage, "key-1", expires)
    clock.advance(timedelta(minutes=5) + 2 * MAX_SKEW)
    await storage.write(forget_expired)
    with pytest.raises(ReplayedError):
        await bind(storage, "key-2", expires)
    clock.advance(OUTLIVES)
    await storage.write(forget_expired)
    assert rows(storage) == 0
