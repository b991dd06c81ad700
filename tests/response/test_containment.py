import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from everproof.identity import Credential
from everproof.kernel.errors import ConflictError, NotFoundError, RefusedError
from everproof.kernel.words import Ref
from everproof.response import ContainmentRecord, Ended
from everproof.storage import Transaction
from everproof.work import Errand, Task
from tests.identity.people import ALICE, BOB, credential
from tests.response.conftest import PATIENCE, House

MALLORY = Ref("Job", "github/666/1")


def of(one: Credential) -> Ref:
    return Ref("Credential", one.id)


async def contain(house: House, target: Ref, *, wait: bool = True) -> ContainmentRecord:
    found = await asyncio.to_thread(house.containment.look, target)
    made = await house.storage.write(lambda tx: house.containment.begin(tx, found, by=ALICE, reason="stolen"))
    return await house.containment.finished(made.id, within=PATIENCE) if wait else made


def receipts(house: House) -> list[Ended]:
    found = house.ledger.tail(-1, 1_000_000)
    return [
        msgspec.json.decode(one.entry.body, type=Ended) for one in found if one.entry and one.entry.kind == "contained"
    ]


async def test_whole_tree_ends_with_a_receipt_each_and_nothing_else_does(each_house: House) -> None:
    async with each_house.running():
        sibling = await each_house.issue()
        made = await each_house.tree(250)
        found = await contain(each_house, of(made[0]))
        assert found.finished is not None
        assert found.credentials == 251
        told = receipts(each_house)
        assert {one.credential for one in told} == {one.id for one in made}
        assert len(told) == 251
        assert {(one.containment, one.by, one.reason) for one in told} == {(found.id, ALICE, "stolen")}
        assert not any(map(each_house.credentials.is_live, (one.id for one in made)))
        assert each_house.credentials.is_live(sibling.id)
        again = await contain(each_house, of(made[0]))
        assert again.credentials == 0
        assert len(receipts(each_house)) == 251


async def test_everything_is_refused_from_the_first_commit_on(house: House) -> None:
    """Before a single receipt is written: whoever stole the tree has no time while it is being ended."""
    house.work._verbs.pop("response.contain")
    async with house.running():
        made = await house.tree(300)
        begun = await contain(house, of(made[0]), wait=False)
        assert begun.finished is None
        assert not any(map(house.credentials.is_live, (one.id for one in made)))
        with pytest.raises(RefusedError):
            await house.issue(made[-1])


async def test_containment_that_died_half_way_is_refused_at_once_again_and_taken_up(house: House) -> None:
    house.work._verbs.pop("response.contain")
    await house.storage.start()
    made = await house.tree(300)
    begun = await contain(house, of(made[0]), wait=False)
    half = [one.id for one in made[:150]]
    await house.storage.write(lambda tx: house.containment._end(tx, begun, half))
    await house.storage.stop()
    house.open()
    assert not any(map(house.credentials.is_live, (one.id for one in made)))  # before anything runs
    async with house.running():
        found = await house.containment.finished(begun.id, within=PATIENCE)
        assert found.finished is not None
        assert found.credentials == 301
        assert sorted(one.credential for one in receipts(house)) == sorted(one.id for one in made)


async def test_child_that_was_issued_after_the_look_is_found_all_the_same(house: House) -> None:
    async with house.running():
        made = await house.tree(5)
        found = house.containment.look(of(made[0]))
        late = await house.issue(made[-1])
        begun = await house.storage.write(lambda tx: house.containment.begin(tx, found, by=ALICE, reason="stolen"))
        await house.containment.finished(begun.id, within=PATIENCE)
        assert not house.credentials.is_live(late.id)
        assert late.id in {one.credential for one in receipts(house)}


async def test_child_cannot_be_issued_in_the_batch_that_contains_its_parent(house: House) -> None:
    async with house.running():
        made = await house.tree(3)
        found = house.containment.look(of(made[0]))
        begun = house.storage.write(lambda tx: house.containment.begin(tx, found, by=ALICE, reason="stolen"))
        child = house.storage.write(lambda tx: house.credentials.issue(tx, credential(tx, made[-1].id)))
        await house.containment.finished((await begun).id, within=PATIENCE)
        try:
            late = await child
        except RefusedError:
            return
        assert not house.credentials.is_live(late.id)


async def test_contained_principal_has_nothing_and_gets_nothing_until_released(each_house: House) -> None:
    async with each_house.running():
        owned = [await each_house.issue(principal=MALLORY) for _ in range(3)]
        handed_on = await each_house.issue(owned[0], principal=BOB)
        other = await each_house.issue(principal=BOB)
        found = await contain(each_house, MALLORY)
        assert found.credentials == 4
        assert not any(map(each_house.credentials.is_live, (one.id for one in (*owned, handed_on))))
        assert each_house.credentials.is_live(other.id)
        assert MALLORY in each_house.credentials.held
        with pytest.raises(RefusedError, match="contained"):
            await each_house.issue(principal=MALLORY)
    each_house.open()  # held after a restart too
    async with each_house.running():
        with pytest.raises(RefusedError, match="contained"):
            await each_house.issue(principal=MALLORY)
        assert (await contain(each_house, MALLORY)).credentials == 0
        await each_house.storage.write(lambda tx: each_house.containment.release(tx, MALLORY))
        await each_house.issue(principal=MALLORY)
        assert not each_house.credentials.is_live(owned[0].id)
        with pytest.raises(NotFoundError, match="not contained"):
            await each_house.storage.write(lambda tx: each_house.containment.release(tx, MALLORY))


async def test_principal_is_not_released_while_it_is_being_contained(house: House) -> None:
    house.work._verbs.pop("response.contain")
    async with house.running():
        await contain(house, MALLORY, wait=False)
        with pytest.raises(ConflictError, match="still"):
            await house.storage.write(lambda tx: house.containment.release(tx, MALLORY))
        assert (await contain(house, MALLORY, wait=False)).id  # again, and it is the same


async def test_keys_of_a_contained_person_stay_theirs_for_when_they_are_released(house: House) -> None:
    async with house.running():
        key = await house.issue(principal=BOB, kind="ssh-key", key="SHA256:" + "k" * 43)
        token = await house.issue(key, principal=BOB)
        await contain(house, BOB)
        assert [house.credentials.is_live(one.id) for one in (key, token)] == [True, False]


async def test_what_other_rooms_hold_is_ended_by_their_own_verbs(house: House) -> None:
    ended: list[Any] = []

    async def revoke(task: Task) -> None:
        ended.append(task.payload)

    def reach(_connection: Connection, ids: Sequence[str]) -> list[Errand]:
        return [
            Errand(verb="platform.revoke", payload=id_, key=f"platform/{id_}", told=f"revoke the token of {id_}")
            for id_ in ids
        ]

    house.work.register("platform.revoke", revoke)
    house.containment.register(reach)
    async with house.running() as work:
        made = await house.tree(300)
        look = house.containment.look(of(made[0]))
        assert len(look.errands) == 301
        found = await contain(house, of(made[0]))
        assert found.errands == 301
        await work.idle()
        assert sorted(ended) == sorted(one.id for one in made)


async def test_dry_run_ends_nothing(house: House) -> None:
    async with house.running():
        made = await house.tree(20)
        found = house.containment.look(of(made[3]))
        assert len(found.live) == 1
        assert set(house.containment.look(of(made[0])).live) == {one.id for one in made}
        assert all(map(house.credentials.is_live, (one.id for one in made)))
        with pytest.raises(NotFoundError):
            house.containment.look(Ref("Credential", "cred_none"))
        with pytest.raises(NotFoundError):
            house.containment.record("cont_none")


async def test_nobody_contains_themselves(house: House) -> None:
    async with house.running():
        with pytest.raises(RefusedError, match="themselves"):
            await contain(house, ALICE)
        assert ALICE not in house.credentials.held


async def test_tree_larger_than_what_the_first_commit_tells_ends_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everproof.response.containment.MAX_TOLD", 3)
    async with house.running():
        made = await house.tree(20)
        assert (await contain(house, of(made[0]))).credentials == 21
        assert not any(map(house.credentials.is_live, (one.id for one in made)))


async def test_chain_as_deep_as_its_thief_had_time_for_ends_whole(house: House) -> None:
    async with house.running():
        chain = [await house.issue()]

        def grow(tx: Transaction) -> None:
            for _ in range(1_500):
                chain.append(house.credentials.issue(tx, credential(tx, chain[-1].id)))

        await house.storage.write(grow)
        assert (await contain(house, of(chain[0]))).credentials == 1_501
        assert not house.credentials.is_live(chain[-1].id)
