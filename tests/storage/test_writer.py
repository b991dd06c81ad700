import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from everproof.kernel.errors import ConflictError, InputError, UnavailableError
from everproof.storage import Storage, Transaction
from everproof.storage.migrate import NewerDatabaseError
from everproof.storage.tables import feed
from tests.conftest import SettableClock


def rows(storage: Storage) -> list[tuple[int, str]]:
    with storage.reading() as connection:
        return [(seq, key) for seq, key in connection.execute(select(feed.c.seq, feed.c.key).order_by(feed.c.seq))]


async def test_a_change_is_durable_and_its_result_comes_back(storage: Storage) -> None:
    def change(tx: Transaction) -> str:
        tx.publish("topic", "key", b"body")
        return "done"

    assert await storage.write(change) == "done"
    assert rows(storage) == [(1, "key")]


async def test_callers_that_arrive_together_share_one_commit(storage: Storage) -> None:
    commits = 0

    def count(_: Transaction) -> None:
        nonlocal commits
        commits += 1

    storage.before_commit(count)
    await asyncio.gather(*(storage.write(lambda tx, n=n: tx.publish("topic", f"{n}")) for n in range(100)))
    assert [key for _, key in rows(storage)] == [f"{n}" for n in range(100)]
    assert commits == 1


async def test_a_change_that_raises_fails_alone_and_leaves_nothing(storage: Storage) -> None:
    heard: list[str] = []
    forgotten: list[bool] = []
    storage.subscribe("topic", lambda key, _: heard.append(key))
    storage.after_rollback(lambda: forgotten.append(True))

    def bad(tx: Transaction) -> None:
        tx.publish("topic", "bad")
        raise ValueError("no")

    results = await asyncio.gather(
        storage.write(lambda tx: tx.publish("topic", "before")),
        storage.write(bad),
        storage.write(lambda tx: tx.publish("topic", "after")),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], ValueError)
    assert results[2] is None
    assert rows(storage) == [(1, "before"), (2, "after")]
    assert heard == ["before", "after"]
    assert forgotten == [True]


async def test_a_constraint_that_fails_within_a_change_fails_that_change_alone(storage: Storage) -> None:
    row = {"seq": 1_000, "topic": "t", "key": "k", "body": b""}

    def change(tx: Transaction) -> str:
        tx.connection.execute(insert(feed).values(row))
        return "inserted"

    results = await asyncio.gather(storage.write(change), storage.write(change), return_exceptions=True)
    assert results[0] == "inserted"
    assert isinstance(results[1], IntegrityError)


async def test_what_cannot_be_committed_fails_alone(storage: Storage) -> None:
    def refuse(tx: Transaction) -> None:
        if any(key == "bad" for _, key, _ in tx.published):
            raise ValueError("no")

    storage.before_commit(refuse)
    heard: list[str] = []
    storage.subscribe("topic", lambda key, _: heard.append(key))
    writes = [storage.write(lambda tx, key=key: tx.publish("topic", key)) for key in ("before", "bad", "after")]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), ValueError, type(None)]
    assert rows(storage) == [(1, "before"), (2, "after")]
    assert heard == ["before", "after"]


async def test_subscribers_know_before_the_caller_does(storage: Storage) -> None:
    heard: list[bytes] = []
    storage.subscribe("topic", lambda _, body: heard.append(body))
    await storage.write(lambda tx: tx.publish("topic", "key", b"1"))
    assert heard == [b"1"]


async def test_a_cancelled_caller_does_not_hold_up_the_others(storage: Storage) -> None:
    first = storage.write(lambda tx: tx.publish("topic", "first"))
    second = storage.write(lambda tx: tx.publish("topic", "second"))
    first.cancel()
    await second
    assert ("second" in {key for _, key in rows(storage)}) is True


async def test_stopping_commits_what_waits_and_takes_no_more(database_url: str, clock: SettableClock) -> None:
    storage = Storage.open(database_url, clock=clock)
    await storage.start()
    waiting = [storage.write(lambda tx, n=n: tx.publish("topic", f"{n}")) for n in range(10)]
    await storage.stop()
    assert all(future.done() and future.exception() is None for future in waiting)
    with pytest.raises(UnavailableError):
        storage.write(lambda _: None)
    again = Storage.open(database_url, clock=clock)
    assert len(rows(again)) == 10
    again.write_now(lambda tx: tx.publish("topic", "next"))
    assert rows(again)[-1] == (11, "next")
    again.close()


async def test_a_read_sees_one_state_and_cannot_write(storage: Storage) -> None:
    await storage.write(lambda tx: tx.publish("topic", "one"))
    with storage.reading() as connection:
        before = connection.scalar(select(func.count()).select_from(feed))
        await storage.write(lambda tx: tx.publish("topic", "two"))
        assert connection.scalar(select(func.count()).select_from(feed)) == before
        with pytest.raises(Exception, match="read"):
            connection.execute(insert(feed).values(seq=99, topic="t", key="k", body=b""))


def test_the_highest_time_survives_a_restart_with_the_clock_gone_back(database_url: str, clock: SettableClock) -> None:
    storage = Storage.open(database_url, clock=clock)
    storage.write_now(lambda tx: tx.publish("topic", "key"))
    storage.close()
    reached = clock.now()
    clock.advance(timedelta(hours=-1))
    again = Storage.open(database_url, clock=clock)
    assert again.clock.now() == reached
    with pytest.raises(Exception, match="is on record"):
        again.clock.issuing_time()
    again.close()


def test_two_servers_on_one_folder_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'everproof.db'}"
    first = Storage.open(url, state=tmp_path)
    with pytest.raises(ConflictError, match="in use by process"):
        Storage.open(url, state=tmp_path)
    first.close()
    Storage.open(url, state=tmp_path).close()


def test_a_newer_database_is_refused_and_left_as_it_is(database_url: str) -> None:
    storage = Storage.open(database_url)
    storage.write_now(
        lambda tx: tx.connection.exec_driver_sql("update alembic_version set version_num = '9999'") and None
    )
    storage.close()
    with pytest.raises(NewerDatabaseError, match="9999"):
        Storage.open(database_url)
    with pytest.raises(NewerDatabaseError):
        Storage.open_read_only(database_url)


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://localhost/x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        Storage.open(url)


async def test_a_storage_that_cannot_commit_says_so_until_it_can(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: Transaction) -> None:
        raise OperationalError("commit", None, Exception("gone"), connection_invalidated=True)

    assert storage.trouble() is None
    with pytest.raises(UnavailableError):
        await storage.write(lost)
    assert storage.trouble() is not None
    await storage.write(lambda tx: tx.publish("topic", "back"))
    assert storage.trouble() is None
    monkeypatch.setattr(storage.writer, "_stopping", True)
    assert storage.trouble() == "the storage does not take changes now"
    monkeypatch.undo()
