from datetime import timedelta
from typing import Any

import pytest

from everproof.kernel.errors import ConflictError, NotFoundError, RefusedError
from everproof.kernel.words import Effect, Ref
from everproof.work import Plan, Rule
from tests.work.conftest import House
from tests.work.outside import Fenced, Honouring, deed

ALICE, BOB, CAROL = (Ref("User", name) for name in ("alice", "bob", "carol"))
JOB = Ref("Job", "github/1/2")
SERVER = Ref("Server", "organisation")


def switch(count: int = 1, verb: str = "switch", **arguments: Any) -> Effect:
    return Effect(verb=verb, subject=SERVER, arguments={"count": count, **arguments})


async def test_small_effect_is_applied_and_verified_at_once_and_can_be_undone(each_house: House) -> None:
    outside, house = Honouring(), each_house
    house.work.effects.register(deed("switch", outside))
    async with house.running() as work:
        made = await house.storage.write(lambda tx: work.effects.propose(tx, switch(), by=ALICE, key="one"))
        again = await house.storage.write(lambda tx: work.effects.propose(tx, switch(), by=ALICE, key="one"))
        assert again.id == made.id
        await work.idle()
        assert work.effects.effect(made.id).stage == "verified"
        assert outside.on == {made.id}
        await house.storage.write(lambda tx: work.effects.undo(tx, made.id, BOB))
        await house.storage.write(lambda tx: work.effects.undo(tx, made.id, BOB))
        await work.idle()
        assert work.effects.effect(made.id).stage == "undone"
        assert outside.on == set()
        stages = [one.entry.body for one in house.ledger.tail(-1, 100) if one.entry and one.entry.kind == "effect"]
        words = ["proposed", "approved", "applied", "verified", "undo-asked", "undoing", "undone"]
        assert [word for body in stages for word in words if f'"stage":"{word}"'.encode() in bytes(body)] == words


async def test_what_touches_too_much_waits_for_a_person_who_is_not_the_proposer(house: House) -> None:
    outside = Honouring()
    house.work.effects.register(deed("switch", outside, bound=5, people=2))
    async with house.running() as work:
        effects, write = work.effects, house.storage.write
        plan, needs = effects.plan(switch(6))
        assert (plan.does, plan.undoes, needs) == ("switch 6 on", "switch 6 off", 2)
        assert effects.plan(switch(5))[1] == 0
        made = await write(lambda tx: effects.propose(tx, switch(6), by=ALICE))
        await work.idle()
        assert made.stage == "proposed"
        for by, why in ((ALICE, "themselves"), (JOB, "only people"), (BOB, None), (BOB, "twice"), (CAROL, None)):
            if why is None:
                await write(lambda tx, by=by: effects.approve(tx, made.id, by))
            else:
                with pytest.raises(RefusedError, match=why):
                    await write(lambda tx, by=by: effects.approve(tx, made.id, by))
                assert outside.on == set()
        with pytest.raises(RefusedError, match="already"):
            await write(lambda tx: effects.approve(tx, made.id, Ref("User", "dan")))
        await work.idle()
        found = effects.effect(made.id)
        assert (found.stage, found.approved_by) == ("verified", (BOB, CAROL))


async def test_organisation_may_ask_for_more_people_than_the_verb(house: House) -> None:
    house.work.effects.register(deed("switch", Honouring()))
    house.work.effects.rules = {"switch": Rule(people=3, above=2)}
    assert [house.work.effects.plan(switch(count))[1] for count in (2, 3, 11)] == [0, 3, 3]


async def test_what_nothing_undoes_waits_for_a_person(house: House) -> None:
    outside = Honouring()
    house.work.effects.register(deed("burn", outside, undo=None, plan=lambda _: Plan("burn it", 1)))
    async with house.running() as work:
        made = await house.storage.write(lambda tx: work.effects.propose(tx, switch(verb="burn"), by=ALICE))
        assert (made.stage, made.needs) == ("proposed", 1)
        await house.storage.write(lambda tx: work.effects.approve(tx, made.id, BOB))
        await work.idle()
        with pytest.raises(ConflictError, match="nothing undoes"):
            await house.storage.write(lambda tx: work.effects.undo(tx, made.id, BOB))


async def test_proposal_can_be_withdrawn_and_then_nobody_approves_it(house: House) -> None:
    house.work.effects.register(deed("switch", Honouring(), bound=0))
    async with house.running() as work:
        made = await house.storage.write(lambda tx: work.effects.propose(tx, switch(), by=ALICE))
        with pytest.raises(ConflictError, match="never applied"):
            await house.storage.write(lambda tx: work.effects.undo(tx, made.id, ALICE))
        await house.storage.write(lambda tx: work.effects.cancel(tx, made.id, ALICE))
        with pytest.raises(RefusedError, match="cancelled"):
            await house.storage.write(lambda tx: work.effects.approve(tx, made.id, BOB))


async def test_failed_step_is_told_and_taken_up_where_it_failed(house: House) -> None:
    outside = Honouring()
    house.work.effects.register(deed("switch", outside, attempts=1))
    async with house.running() as work:
        effects, write = work.effects, house.storage.write
        outside.weather = "fails after"
        made = await write(lambda tx: effects.propose(tx, switch(), by=ALICE))
        await work.idle()
        failed = effects.effect(made.id)
        assert (failed.stage, failed.error) == ("failed", "ConnectionError")
        assert failed.job is not None
        for alone in (work.retry, work.cancel):  # the effect would know nothing of it
            with pytest.raises(ConflictError, match="step of"):
                await write(lambda tx, do=alone: do(tx, failed.job))
        outside.weather = "fair"
        await write(lambda tx: effects.retry(tx, made.id, BOB))
        await work.idle()
        assert effects.effect(made.id).stage == "verified"
        assert outside.done[made.id, "apply"] == 1
        with pytest.raises(ConflictError, match="not failed"):
            await write(lambda tx: effects.retry(tx, made.id, BOB))


@pytest.mark.parametrize("weather", ["fails before", "fails after"])
async def test_undo_of_what_failed_half_way_and_undo_that_fails_can_be_had_again(house: House, weather: Any) -> None:
    outside = Honouring()
    house.work.effects.register(deed("switch", outside, attempts=1))
    async with house.running() as work:
        effects, write = work.effects, house.storage.write
        outside.weather = weather
        made = await write(lambda tx: effects.propose(tx, switch(), by=ALICE))
        await work.idle()
        await write(lambda tx: effects.undo(tx, made.id, BOB))
        await work.idle()
        assert effects.effect(made.id).stage == "failed"
        outside.weather = "fair"
        await write(lambda tx: effects.undo(tx, made.id, BOB))
        await work.idle()
        assert effects.effect(made.id).stage == "undone"
        assert outside.on == set()


async def test_undo_asked_for_while_it_is_being_applied_comes_right_after(house: House) -> None:
    outside = Fenced()
    house.work.effects.register(deed("switch", outside))
    async with house.running() as work:
        outside.weather = "hangs before"
        made = await house.storage.write(lambda tx: work.effects.propose(tx, switch(), by=ALICE))
        await outside.hangs.wait()
        await house.storage.write(lambda tx: work.effects.undo(tx, made.id, BOB))
        outside.weather = "fair"
        outside.goes_on.set()
        await work.idle()
        assert work.effects.effect(made.id).stage == "undone"
        assert [what for _, what in outside.fences[made.id]] == ["apply", "undo"]


async def test_what_does_not_hold_is_asked_again_and_then_failed(house: House) -> None:
    async def never(_step: Any) -> bool:
        return False

    house.work.effects.register(deed("switch", Honouring(), verify=never, attempts=2))
    async with house.running() as work:
        made = await house.storage.write(lambda tx: work.effects.propose(tx, switch(), by=ALICE))
        for _ in range(2):
            await work.idle()
            house.clock.advance(timedelta(hours=1))
            work.wake()
        await work.idle()
        assert work.effects.effect(made.id).stage == "failed"


async def test_arguments_are_sealed_and_not_recorded(house: House) -> None:
    house.work.effects.register(deed("switch", Honouring()))
    async with house.running() as work:
        await house.storage.write(lambda tx: work.effects.propose(tx, switch(token="s3cret"), by=ALICE))
        await work.idle()
        with house.storage.reading() as connection:
            stored = connection.exec_driver_sql("select sealed from work_effects").scalar_one()
        assert b"s3cret" not in bytes(stored)
        assert not any(one.entry and b"s3cret" in bytes(one.entry.body) for one in house.ledger.tail(-1, 100))


async def test_what_cannot_be_proposed_is_refused(house: House) -> None:
    effects, write = house.work.effects, house.storage.write_now
    with pytest.raises(NotFoundError, match="no verb"):
        effects.plan(switch())
    effects.register(deed("switch", Honouring()))
    write(lambda tx: effects.propose(tx, switch(), by=ALICE, key="one"))
    other = Effect(verb="switch", subject=Ref("Server", "other"))
    with pytest.raises(ConflictError, match="another effect"):
        write(lambda tx: effects.propose(tx, other, by=ALICE, key="one"))
    for change in (effects.approve, effects.cancel, effects.undo, effects.retry):
        with pytest.raises(NotFoundError):
            write(lambda tx, do=change: do(tx, "eff_none", ALICE))
