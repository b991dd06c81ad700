"""What can change an answer is told in order, once, and to nobody who is too slow to be believed up to date."""

import asyncio

import pytest

from everproof.authorize import changes as module
from everproof.authorize.changes import Changes
from everproof.identity import roster
from everproof.identity.credentials import tell_ended
from everproof.identity.holding import hold
from everproof.kernel.words import Ref
from everproof.storage import Storage

ALICE = Ref("User", "alice")


@pytest.fixture
def changes(storage: Storage) -> Changes:
    return Changes(storage)


async def test_what_happens_is_told_in_order_and_told_again_by_position(storage: Storage, changes: Changes) -> None:
    start = changes.position
    listening = changes.subscribe(start)
    await storage.write(lambda tx: roster.add_principal(tx, ALICE))
    await storage.write(lambda tx: tell_ended(tx, {"cred_1": 1, "cred_2": 1}))
    await storage.write(lambda tx: hold(tx, ALICE, "stolen"))
    told = listening.take()
    assert [one.kind for one in told] == ["principal", "credential", "principal"]
    assert told[0].principals == (("User", "alice"),)
    assert told[1].credentials == ("cred_1", "cred_2")
    assert changes.subscribe(told[0].position).take() == told[1:]
    assert changes.subscribe(changes.position).take() == []


@pytest.mark.parametrize("after", ["", "0", "other.0", "{life}.-1", "{life}.99999", "{life}.x", "{life}.", "{life}.²"])
def test_a_position_that_says_nothing_here_is_a_reset(changes: Changes, after: str) -> None:
    life = changes.position.rpartition(".")[0]
    [told] = changes.subscribe(after.format(life=life)).take()
    assert told.kind == "reset"
    assert told.position == changes.position


async def test_a_reader_that_is_too_slow_is_cut_off(
    storage: Storage, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    slow, quick = changes.subscribe(changes.position), changes.subscribe(changes.position)
    for number in range(4):
        await storage.write(lambda tx, number=number: tell_ended(tx, {f"cred_{number}": 1}))
        quick.take()
    assert slow.cut
    assert slow.take() == []
    assert not quick.cut


async def test_of_more_credentials_than_are_named_all_is_told(
    storage: Storage, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_NAMED", 2)
    listening = changes.subscribe(changes.position)
    await storage.write(lambda tx: tell_ended(tx, {"a": 1, "b": 1, "c": 1}))
    [told] = listening.take()
    assert told.kind == "reset"


async def test_a_server_that_stops_cuts_everybody_off(changes: Changes) -> None:
    listening = changes.subscribe("")
    waiting = asyncio.create_task(listening.wait(10))
    changes.stop()
    await waiting
    assert listening.cut
    assert changes.subscribe("").cut
