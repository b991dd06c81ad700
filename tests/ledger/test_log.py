import asyncio
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everproof.kernel.errors import ConflictError, NotFoundError, UnavailableError
from everproof.keys import ErasedError
from everproof.ledger import Ledger, Receipt, RollbackError, log, publisher, store, verify_proof
from everproof.ledger.checkpoint import open_checkpoint
from everproof.ledger.merkle import verify_consistency
from everproof.storage import Transaction
from tests.ledger.conftest import ORIGIN, SIGNING, House, Reopen, entry


async def test_a_receipt_says_where_a_durable_entry_stands(house: House) -> None:
    await house.storage.start()
    made = [entry(house.clock) for _ in range(300)]
    receipts = await asyncio.gather(*(house.ledger.record(one) for one in made))
    assert receipts == [Receipt(ORIGIN, index, one.id) for index, one in enumerate(made)]
    assert house.ledger.size == 300
    assert house.ledger.read(299) == made[299]
    assert house.ledger.find(made[17].id) == 17
    await house.storage.stop()


def test_the_log_goes_on_after_a_restart(reopen: Reopen) -> None:
    at = 0
    for count in (1, 254, 1, 1, 300):
        house = reopen()
        assert [receipt.index for receipt in house.append(count)] == list(range(at, at + count))
        at += count
    house = reopen()
    assert house.ledger.size == at
    assert house.verify().holds
    assert house.verify().opened == at


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.tuples(st.integers(1, 90), st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_whatever_fails_between_the_tree_is_that_of_what_was_committed(
    reopen: Reopen, steps: list[tuple[int, bool, bool]]
) -> None:
    house = reopen()
    size = house.ledger.size
    for count, failing, restart in steps:
        if failing:

            def fail(tx: Transaction, house: House = house, count: int = count) -> None:
                for _ in range(count):
                    house.ledger.append(tx, entry(house.clock))
                raise ValueError("no")

            with pytest.raises(ValueError, match="no"):
                house.storage.write_now(fail)
        assert [receipt.index for receipt in house.append(count)] == list(range(size, size + count))
        size += count
        if restart:
            house = reopen()
    found = house.verify()
    assert found.holds, found.problems
    assert found.size == size


async def test_a_change_that_fails_takes_no_place_in_the_log(house: House) -> None:
    await house.storage.start()

    def bad(tx: Transaction) -> None:
        house.ledger.append(tx, entry(house.clock))
        raise ValueError("no")

    results = await asyncio.gather(
        house.ledger.record(entry(house.clock)),
        house.storage.write(bad),
        house.ledger.record(entry(house.clock)),
        return_exceptions=True,
    )
    assert [result.index for result in results if isinstance(result, Receipt)] == [0, 1]
    assert isinstance(results[1], ValueError)
    await house.ledger.record(entry(house.clock))
    assert house.verify().holds
    assert house.ledger.size == 3
    await house.storage.stop()


def test_a_batch_whose_commit_fails_leaves_the_edge_as_it_was(house: House) -> None:
    house.append(255)
    failing = True

    def fail(_: Transaction) -> None:
        if failing:
            raise OSError("disk")

    house.storage.before_commit(fail)  # after the ledger's own flush
    with pytest.raises(OSError, match="disk"):
        house.append(3)
    failing = False
    assert house.append()[0].index == 255
    assert house.verify().holds


async def test_an_entry_is_recorded_once_and_its_neighbours_do_not_suffer(house: House) -> None:
    await house.storage.start()
    once = entry(house.clock)
    made = [once, entry(house.clock), once, entry(house.clock)]
    results = await asyncio.gather(*(house.ledger.record(one) for one in made), return_exceptions=True)
    assert [result.index for result in results if isinstance(result, Receipt)] == [0, 1, 2]
    assert isinstance(results[2], ConflictError)
    with pytest.raises(ConflictError, match="on record"):
        await house.ledger.record(once)
    assert (await house.ledger.record(entry(house.clock))).index == 3
    assert house.ledger.find(once.id) == 0
    assert house.verify().holds
    await house.storage.stop()


def test_an_append_after_the_flush_is_refused_rather_than_lost(house: House) -> None:
    def late(tx: Transaction) -> None:
        house.ledger.append(tx, entry(house.clock))

    house.storage.before_commit(late)
    with pytest.raises(ConflictError, match="too late"):
        house.append()
    assert house.ledger.size == 0


def test_two_ledgers_on_one_database_are_told_apart_by_the_fence(house: House) -> None:
    house.append()
    house.sql("update ledger_head set size = 2")
    with pytest.raises(ConflictError, match="someone else"):
        house.append()


async def test_subscribers_hear_of_each_batch(house: House) -> None:
    heard: list[log.Grown] = []

    house.storage.subscribe(log.TOPIC, lambda _, body: heard.append(msgspec.msgpack.decode(body, type=log.Grown)))
    house.append(3)
    house.append(2)
    assert [(one.first, one.size) for one in heard] == [(0, 3), (3, 5)]


async def test_a_checkpoint_is_signed_when_the_log_has_grown_and_only_then(house: House) -> None:
    await house.storage.start()
    await house.ledger.start()
    empty = house.ledger.checkpoint()
    assert open_checkpoint(empty, house.log)[0].size == 0
    await house.ledger.record(entry(house.clock))
    first = await house.ledger.publish()
    house.clock.advance(timedelta(minutes=1))
    assert await house.ledger.publish() == first == house.ledger.checkpoint() == house.copy.read_bytes()
    await asyncio.gather(*(house.ledger.record(entry(house.clock)) for _ in range(300)))
    await house.ledger.stop()
    last, _ = open_checkpoint(house.ledger.checkpoint(), house.log)
    old, _ = open_checkpoint(first, house.log)
    assert (old.size, last.size) == (1, 301)
    verify_consistency(old.size, last.size, old.root, last.root, house.ledger.consistency(old.size))
    assert house.verify().checkpoints == 4  # three in the database, and the copy
    await house.storage.stop()


async def test_checkpoints_are_published_by_themselves(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PUBLISH_EVERY", timedelta(0))
    await house.storage.start()
    await house.ledger.start()
    await house.ledger.record(entry(house.clock))
    async with asyncio.timeout(10):
        while open_checkpoint(house.copy.read_bytes(), house.log)[0].size == 0:  # noqa: ASYNC110 - a file tells no event
            await asyncio.sleep(0)
    await house.ledger.stop()
    await house.storage.stop()


async def test_the_log_keeps_its_name(reopen: Reopen) -> None:
    house = reopen()
    house.append()
    again = reopen()
    renamed = Ledger(again.storage, again.keyring, SIGNING, origin="another.test", copy=again.copy)
    assert (renamed.origin, renamed.refusal) == (ORIGIN, None)


async def test_a_proof_is_there_as_soon_as_the_receipt_is(house: House) -> None:
    await house.storage.start()
    receipts = [await house.ledger.record(entry(house.clock, about=f"u{n}")) for n in range(3)]
    for receipt in receipts:
        proven = verify_proof(await house.ledger.prove(receipt.index), house.log)
        assert (proven.index, proven.entry) == (receipt.index, None)
    with pytest.raises(NotFoundError):
        await house.ledger.prove(3)
    with pytest.raises(NotFoundError):
        await house.ledger.prove(-1)
    await house.storage.stop()


async def test_many_who_ask_for_proofs_at_once_make_one_checkpoint(house: House) -> None:
    await house.storage.start()
    receipts = await asyncio.gather(*(house.ledger.record(entry(house.clock)) for _ in range(20)))
    proofs = await asyncio.gather(*(house.ledger.prove(receipt.index) for receipt in receipts))
    assert {verify_proof(proof, house.log).checkpoint.size for proof in proofs} == {20}
    with house.storage.reading() as connection:
        assert len(store.read_checkpoints(connection)) == 1
    await house.storage.stop()


async def test_who_goes_away_while_a_checkpoint_is_made_breaks_nothing(house: House) -> None:
    await house.storage.start()
    await house.ledger.record(entry(house.clock))
    asking = asyncio.create_task(house.ledger.prove(0))
    await asyncio.sleep(0)  # it has asked
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert open_checkpoint(await house.ledger.publish(), house.log)[0].size == 1
    assert house.copy.read_bytes() == house.ledger.checkpoint()
    assert [path.name for path in house.copy.parent.iterdir()] == ["checkpoint"]
    await house.ledger.stop()
    await house.storage.stop()


def test_the_tail_is_the_last_or_what_comes_after(house: House) -> None:
    house.append(3, kind="a")
    house.append(2, kind="b", about="bob")
    assert [one.index for one in house.ledger.tail(limit=2)] == [3, 4]
    assert [one.index for one in house.ledger.tail(after=1)] == [2, 3, 4]
    assert [one.index for one in house.ledger.tail(after=-1, limit=1)] == [0]
    assert [one.index for one in house.ledger.tail(kind="a")] == [0, 1, 2]
    assert [one.index for one in house.ledger.tail(after=0, kind="b")] == [3, 4]
    assert house.ledger.tail(after=4) == []
    shown = house.ledger.tail(limit=1)[0]
    assert shown.entry is not None
    assert (shown.id, shown.kind, shown.at) == (shown.entry.id, "b", house.clock.now())


async def test_an_erased_person_is_no_longer_read_and_still_proven(house: House) -> None:
    [theirs, others] = house.append(about="alice") + house.append(about="bob")
    about = house.ledger.read(0).about
    house.storage.write_now(lambda tx: house.keyring.erase(tx, about))
    with pytest.raises(ErasedError):
        house.ledger.read(theirs.index)
    assert [(one.state, one.entry is None) for one in house.ledger.tail()] == [("erased", True), ("readable", False)]
    await house.storage.start()
    assert verify_proof(await house.ledger.prove(theirs.index), house.log).entry is None
    with pytest.raises(ErasedError):
        await house.ledger.prove(theirs.index, disclose=True)
    assert verify_proof(await house.ledger.prove(others.index, disclose=True), house.log).entry is not None
    found = house.verify()
    assert (found.holds, found.opened, found.erased) == (True, 1, 1)
    await house.storage.stop()


async def test_without_a_place_for_the_copy_nothing_is_signed_and_it_is_said(house: House) -> None:
    house.append()
    house.copy.parent.rmdir()
    await house.storage.start()
    with pytest.raises(UnavailableError, match="cannot be written"):
        await house.ledger.publish()
    await house.ledger.start()
    assert "cannot be written" in (house.ledger.trouble() or "")
    with pytest.raises(NotFoundError):
        house.ledger.checkpoint()
    house.copy.parent.mkdir()
    await house.ledger.stop()
    assert house.ledger.trouble() is None
    assert not isinstance(house.ledger.refusal, RollbackError)
    await house.storage.stop()
