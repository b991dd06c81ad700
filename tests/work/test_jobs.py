import asyncio
from datetime import timedelta
from typing import Any

import pytest

from everproof.kernel.errors import ConflictError, InputError, NotFoundError
from everproof.kernel.words import Ref
from everproof.work import HopelessError, PostponedError, Task, Verb, store
from tests.conftest import SettableClock
from tests.work.conftest import House

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class Seen:
    """A runner that keeps what it was given, and fails as often as it is told."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.tasks: list[Task] = []
        self.event = asyncio.Event()
        self._failures = failures
        self._error = error or ValueError("token s3cret was refused")

    async def __call__(self, task: Task) -> None:
        self.tasks.append(task)
        self.event.set()
        if len(self.tasks) <= self._failures:
            raise self._error

    @property
    def payloads(self) -> list[Any]:
        return [task.payload for task in self.tasks]


async def test_job_is_done_once_and_its_payload_is_sealed(house: House) -> None:
    seen = Seen()
    house.work.register("greet", seen)
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "greet", {"token": "s3cret"}, key="greet/1"))
        again = await house.storage.write(lambda tx: work.enqueue(tx, "greet", {"token": "other"}, key="greet/1"))
        await work.idle()
        assert again == id_
        assert seen.payloads == [{"token": "s3cret"}]
        assert (seen.tasks[0].key, seen.tasks[0].attempt) == ("greet/1", 1)
        assert work.job(id_).state == "done"
        with house.storage.reading() as connection:
            stored = connection.exec_driver_sql("select payload from work_jobs where key = 'greet/1'").scalar_one()
        assert b"s3cret" not in bytes(stored)


async def test_job_of_a_change_that_fails_is_not_done(house: House) -> None:
    seen = Seen()
    house.work.register("greet", seen)
    async with house.running() as work:

        def change(tx: Any) -> None:
            work.enqueue(tx, "greet", None)
            raise ValueError("lost")

        with pytest.raises(ValueError, match="lost"):
            await house.storage.write(change)
        await work.idle()
        assert seen.tasks == []


async def test_failure_is_tried_again_with_growing_waits_and_growing_fences(
    each_house: House, clock: SettableClock
) -> None:
    seen = Seen(failures=3)
    each_house.work.register("greet", seen)
    async with each_house.running() as work:
        id_ = await each_house.storage.write(lambda tx: work.enqueue(tx, "greet", None))
        waits = []
        for _ in range(3):
            await work.idle()
            job = work.job(id_)
            assert (job.state, job.error) == ("waiting", "ValueError")  # others' words may hold what they were given
            waits.append(job.due - clock.now())
            clock.advance(job.due - clock.now())
            work.wake()
        await work.idle()
        assert waits == [SECOND / 2, SECOND, SECOND * 2]
        assert work.job(id_).state == "done"
        fences = [task.fence for task in seen.tasks]
        assert fences == sorted(set(fences))
        assert len({task.key for task in seen.tasks}) == 1


async def test_job_that_fails_too_often_is_stuck_and_told_and_can_be_retried(house: House) -> None:
    seen = Seen(failures=1, error=HopelessError("there is no such repository"))
    house.work.register("greet", seen)
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "greet", None))
        await work.idle()
        job = work.job(id_)
        assert (job.state, job.error) == ("stuck", "there is no such repository")
        [entry] = house.ledger.tail(-1, 10)
        assert entry.entry is not None
        assert entry.entry.kind == "work"
        await house.storage.write(lambda tx: work.retry(tx, id_))
        await work.idle()
        assert work.job(id_).state == "done"


async def test_attempts_are_bounded(house: House, clock: SettableClock) -> None:
    seen = Seen(failures=100)
    house.work.register(Verb(name="greet", run=seen, attempts=3))
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "greet", None))
        for _ in range(5):
            await work.idle()
            clock.advance(HOUR)
            work.wake()
        await work.idle()
        assert len(seen.tasks) == 3
        assert work.job(id_).state == "stuck"


async def test_target_that_asks_for_patience_gets_it(house: House, clock: SettableClock) -> None:
    seen = Seen(failures=1, error=PostponedError("the rate limit is reached", after=HOUR))
    house.work.register("greet", seen)
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "greet", None))
        await work.idle()
        assert work.job(id_).due >= clock.now() + HOUR


async def test_attempt_that_hangs_is_ended(house: House) -> None:
    async def hang(_task: Task) -> None:
        await asyncio.Event().wait()

    house.work.register(Verb(name="hang", run=hang, limit=timedelta(milliseconds=20), attempts=1))
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "hang", None))
        await work.idle()
        assert (work.job(id_).state, work.job(id_).error) == ("stuck", "took longer than 0.02 s")


async def test_slow_verb_stalls_no_other_and_runs_no_more_than_its_share(house: House) -> None:
    now, most, gate = 0, 0, asyncio.Event()

    async def slow(_task: Task) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await gate.wait()
        now -= 1

    seen = Seen()
    house.work.register(Verb(name="slow", run=slow, parallel=2))
    house.work.register("quick", seen)
    async with house.running() as work:
        await house.storage.write(lambda tx: [work.enqueue(tx, "slow", None) for _ in range(5)])
        await house.storage.write(lambda tx: work.enqueue(tx, "quick", None))
        async with asyncio.timeout(5):
            await seen.event.wait()
        gate.set()
        await work.idle()
        assert most == 2
        assert all(job.state == "done" for job in work.jobs(verb="slow"))


async def test_what_ran_when_the_server_died_runs_again(each_house: House) -> None:
    began, again = asyncio.Event(), Seen()

    async def die(_task: Task) -> None:
        began.set()
        await asyncio.Event().wait()

    each_house.work.register("greet", die)
    await each_house.storage.start()
    await each_house.work.start()
    id_ = await each_house.storage.write(lambda tx: each_house.work.enqueue(tx, "greet", 7, key="once"))
    await began.wait()
    await each_house.die()
    each_house.open()
    each_house.work.register("greet", again)
    async with each_house.running() as work:
        await work.idle()
        assert again.payloads == [7]
        assert (again.tasks[0].attempt, again.tasks[0].key) == (2, "once")
        assert work.job(id_).state == "done"


async def test_job_that_kills_its_runner_does_not_do_so_for_ever(house: House) -> None:
    house.work.register(Verb(name="poison", run=Seen(), attempts=2))
    id_ = house.storage.write_now(lambda tx: house.work.enqueue(tx, "poison", None))
    for _ in range(2):
        claimed = house.storage.write_now(lambda tx: house.work._queue.claim(tx, {"poison": 1}, but=()))
        assert len(claimed) == 1
        house.clock.advance(HOUR)
    async with house.running() as work:
        await work.idle()
        assert (work.job(id_).state, work.job(id_).error) == ("stuck", "its runner did not come back")


async def test_stopping_gives_back_what_was_begun_without_counting_it(house: House) -> None:
    began = asyncio.Event()

    async def wait(_task: Task) -> None:
        began.set()
        await asyncio.Event().wait()

    house.work.register("wait", wait)
    await house.storage.start()
    await house.work.start()
    id_ = await house.storage.write(lambda tx: house.work.enqueue(tx, "wait", None))
    await began.wait()
    await house.work.stop()
    job = house.work.job(id_)
    assert (job.state, job.attempt) == ("waiting", 0)
    await house.storage.stop()


async def test_stale_runner_s_end_does_not_count(house: House, clock: SettableClock) -> None:
    """A runner that was paused for longer than its lease comes back, when another has the job."""
    house.work.register("greet", Seen())
    await house.storage.start()
    queue, write = house.work._queue, house.storage.write
    await write(lambda tx: house.work.enqueue(tx, "greet", None))
    [paused] = await write(lambda tx: queue.claim(tx, {"greet": 1}, but=()))
    clock.advance(HOUR)
    [other] = await write(lambda tx: queue.claim(tx, {"greet": 1}, but=()))
    assert other.job.fence > paused.job.fence
    with pytest.raises(ConflictError, match="somebody else's"):
        await write(lambda tx: queue.finish(tx, paused.job))
    with pytest.raises(ConflictError, match="somebody else's"):
        await write(lambda tx: queue.fail(tx, paused.job, "late", cause=ValueError()))
    await write(lambda tx: queue.release(tx, paused.job))
    assert house.work.job(other.job.id).state == "running"
    await write(lambda tx: queue.finish(tx, other.job))
    assert house.work.job(other.job.id).state == "done"
    await house.storage.stop()


async def test_cancelled_job_is_ended_while_it_runs_and_never_again(house: House) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait(_task: Task) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    house.work.register("wait", wait)
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "wait", None))
        await began.wait()
        await house.storage.write(lambda tx: work.cancel(tx, id_))
        await ended.wait()
        await work.idle()
        assert work.job(id_).state == "cancelled"
        with pytest.raises(ConflictError, match="cancelled already"):
            await house.storage.write(lambda tx: work.cancel(tx, id_))


async def test_change_of_a_runner_is_one_commit_with_the_end_of_its_job(house: House) -> None:
    async def first(_task: Task) -> Any:
        return lambda tx: house.work.enqueue(tx, "second", "from the first", key="chain/2")

    seen = Seen()
    house.work.register("first", first)
    house.work.register("second", seen)
    async with house.running() as work:
        await house.storage.write(lambda tx: work.enqueue(tx, "first", None))
        await work.idle()
        assert seen.payloads == ["from the first"]


async def test_schedule_runs_on_its_grid_and_misfires_coalesce(each_house: House, clock: SettableClock) -> None:
    seen = Seen()
    each_house.work.register("sweep", seen)
    async with each_house.running() as work:
        id_ = await each_house.storage.write(lambda tx: work.enqueue(tx, "sweep", None, key="sweep", every=HOUR))
        await work.idle()
        assert len(seen.tasks) == 1
        began = clock.now()
        clock.advance(HOUR * 24 * 7)  # a week in which nothing ran is made up for by one run
        work.wake()
        await work.idle()
        assert [task.key for task in seen.tasks] == ["sweep#1", "sweep#2"]
        due = work.job(id_).due - began
        assert HOUR * (24 * 7 + 1) <= due <= HOUR * (24 * 7 + 1) + timedelta(minutes=1)
        clock.advance(-HOUR * 24 * 14)  # a clock that is set back runs nothing again
        work.wake()
        await work.idle()
        assert len(seen.tasks) == 2


async def test_schedule_that_fails_for_good_goes_on_and_is_told(house: House, clock: SettableClock) -> None:
    seen = Seen(failures=1, error=HopelessError("not today"))
    house.work.register("sweep", seen)
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "sweep", None, key="sweep", every=HOUR))
        await work.idle()
        assert (work.job(id_).state, work.job(id_).error) == ("waiting", "not today")
        clock.advance(HOUR * 2)
        work.wake()
        await work.idle()
        assert work.job(id_).error == ""


async def test_schedule_s_period_is_what_was_asked_for_last(house: House, clock: SettableClock) -> None:
    seen = Seen()
    house.work.register("sweep", seen)
    async with house.running() as work:
        id_ = ""
        for every in (HOUR * 24, HOUR):
            id_ = await house.storage.write(lambda tx, e=every: work.enqueue(tx, "sweep", None, key="s", every=e))
            await work.idle()
        assert work.job(id_).every_seconds == 3600
        assert work.job(id_).due <= clock.now() + HOUR


async def test_job_for_later_waits_for_its_time(house: House, clock: SettableClock) -> None:
    seen = Seen()
    house.work.register("greet", seen)
    async with house.running() as work:
        await house.storage.write(lambda tx: work.enqueue(tx, "greet", None, after=HOUR))
        await work.idle()
        assert seen.tasks == []
        clock.advance(HOUR)
        work.wake()
        await work.idle()
        assert len(seen.tasks) == 1


async def test_job_about_someone_who_was_erased_is_stuck_and_says_so(house: House) -> None:
    house.work.register("greet", Seen())
    alice = Ref("User", "alice")
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "greet", "alice", about=alice, after=HOUR))
        await house.storage.write(lambda tx: house.work._queue._keyring.erase(tx, alice))
        house.clock.advance(HOUR)
        work.wake()
        await work.idle()
        assert (work.job(id_).state, work.job(id_).error) == ("stuck", "its payload cannot be read any more")


async def test_what_has_ended_is_forgotten_in_time_and_what_is_stuck_is_not(each_house: House) -> None:
    each_house.work.register("greet", Seen())
    each_house.work.register("fail", Seen(failures=9, error=HopelessError("no")))
    async with each_house.running() as work:
        await each_house.storage.write(lambda tx: [work.enqueue(tx, verb, None) for verb in ("greet", "fail")])
        await work.idle()
        each_house.clock.advance(timedelta(days=31))
        work.wake()
        await work.idle()
        assert {job.verb for job in work.jobs()} == {"work.forget", "fail"}


async def test_what_cannot_be_a_job_is_refused(house: House) -> None:
    write, work = house.storage.write_now, house.work
    write(lambda tx: work.enqueue(tx, "greet", None, key="one"))
    with pytest.raises(ConflictError, match="another job"):
        write(lambda tx: work.enqueue(tx, "other", None, key="one"))
    with pytest.raises(InputError, match="period"):
        write(lambda tx: work.enqueue(tx, "greet", None, every=timedelta(0)))
    with pytest.raises(InputError, match="key"):
        write(lambda tx: work.enqueue(tx, "greet", None, key="k" * 256))
    with pytest.raises(InputError, match="payload"):
        write(lambda tx: work.enqueue(tx, "greet", "x" * 100_000))
    with pytest.raises(NotFoundError):
        write(lambda tx: work.cancel(tx, "job_none"))
    with pytest.raises(NotFoundError):
        work.job("job_none")
    work.register("greet", Seen())
    with pytest.raises(ConflictError, match="already"):
        work.register("greet", Seen())


async def test_attempt_that_cancels_itself_is_a_failure_and_not_run_again_at_once(house: House) -> None:
    async def quit_(_task: Task) -> None:
        raise asyncio.CancelledError

    house.work.register("quit", quit_)
    async with house.running() as work:
        id_ = await house.storage.write(lambda tx: work.enqueue(tx, "quit", None))
        await work.idle()
        assert (work.job(id_).state, work.job(id_).attempt) == ("waiting", 1)
        assert work.job(id_).error == "it cancelled itself"


async def test_job_whose_payload_was_changed_in_the_database_stops_no_other(house: House) -> None:
    seen = Seen()
    house.work.register("greet", seen)
    async with house.running() as work:
        for column, value in (("payload", b"forged"), ("key_id", "key_gone")):

            def forge(tx: Any, column: str = column, value: Any = value) -> str:
                id_ = work.enqueue(tx, "greet", "mine")
                store.change_job(tx.connection, id_, **{column: value})
                return id_

            id_ = await house.storage.write(forge)
            await house.storage.write(lambda tx: work.enqueue(tx, "greet", "other"))
            await work.idle()
            assert work.job(id_).state == "stuck"
        assert seen.payloads == ["other"] * 2


async def test_loop_goes_on_after_whatever_went_wrong(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, fails = Seen(), [True]
    house.work.register("greet", seen)
    earliest = house.work._runner._earliest

    def once(verbs: Any) -> Any:
        if fails:
            fails.pop()
            raise RuntimeError("a bug")
        return earliest(verbs)

    monkeypatch.setattr(house.work._runner, "_earliest", once)
    async with house.running() as work:
        await work.idle()
        await house.storage.write(lambda tx: work.enqueue(tx, "greet", None))
        await work.idle()
        assert len(seen.tasks) == 1
