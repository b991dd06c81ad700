"""Runs what is due: one loop, woken by the feed or by time, a bounded number of each verb at once."""

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import Error
from everproof.storage import Change, Storage, Transaction
from everproof.work import store
from everproof.work.queue import TOPIC, Claimed, Queue
from everproof.work.records import HopelessError, Job, StaleError, Verb

LOOK_AGAIN: Final = timedelta(seconds=30)
"""The longest sleep while anything waits for its time: a clock that was set forward is noticed so much later."""

TROUBLE_WAIT: Final = timedelta(seconds=5)
"""How long to leave a database alone that cannot be reached."""

_log: Final = structlog.get_logger("everproof.work")


class SlowError(Error):
    """An attempt took longer than its verb allows."""

    code = "too-slow"


class QuitError(Error):
    """An attempt ended by a cancellation that nobody asked for."""

    code = "quit"


class Runner:
    """Claims jobs and runs them, in one event loop."""

    def __init__(self, storage: Storage, queue: Queue, verbs: dict[str, Verb]) -> None:
        self._storage = storage
        self._queue = queue
        self._verbs = verbs
        self._running: dict[str, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._woken = asyncio.Event()
        self._turned = asyncio.Event()
        self._looking = False
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        storage.subscribe(TOPIC, self._hear, decides=False)

    def start(self) -> None:
        """Begin, on this event loop."""
        self._stopping = False
        self._woken.set()
        self._loop = asyncio.create_task(self._repeat(), name="work")

    async def stop(self) -> None:
        """Stop; what was begun is given back, to be tried anew."""
        await self.halt()
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def halt(self) -> None:
        """Begin nothing more."""
        self._stopping = True
        self._woken.set()
        if self._loop is not None:
            await self._loop
            self._loop = None

    def wake(self) -> None:
        """Look now whether something is due."""
        self._woken.set()

    async def idle(self) -> None:
        """Wait until nothing runs and nothing is due."""
        while self._loop is not None and (self._running or self._looking or self._woken.is_set()):
            self._turned.clear()
            await self._turned.wait()

    def _hear(self, key: str, _body: bytes) -> None:
        if key and (task := self._running.get(key)) is not None:
            task.cancel()
        self._woken.set()

    async def _repeat(self) -> None:
        while not self._stopping:
            self._looking = True
            self._woken.clear()
            try:
                wait = await self._look()
            except Exception as error:  # noqa: BLE001 - a loop that ends would be jobs that nobody does
                _log.warning("jobs are not run, and are looked for again", detail=type(error).__name__)
                wait = TROUBLE_WAIT.total_seconds()
            self._looking = False
            self._turned.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def _look(self) -> float | None:
        """Claim and begin what is due; how many seconds there is nothing to do, or None: until woken."""
        free = {name: verb.parallel - self._busy[name] for name, verb in self._verbs.items()}
        free = {name: count for name, count in free.items() if count > 0}
        if not free:
            return None
        first = await asyncio.to_thread(self._earliest, free)
        now = milliseconds(self._storage.clock.now())
        if self._stopping:
            return None
        if wanted := {name: free[name] for name, due in first.items() if due <= now}:
            running = list(self._running)
            for one in await self._storage.write(lambda tx: self._queue.claim(tx, wanted, but=running)):
                self._begin(one)
            return 0 if self._has_room(wanted) else self._until(first, now)
        return self._until(first, now)

    def _has_room(self, wanted: dict[str, int]) -> bool:
        """Whether a verb that had something due could take more; then there may be more, so look again."""
        return any(self._verbs[name].parallel > self._busy[name] for name in wanted)

    def _until(self, first: dict[str, int], now: int) -> float | None:
        waits = [due - now for due in first.values() if due > now]
        return min(min(waits) / 1000, LOOK_AGAIN.total_seconds()) if waits else None

    def _earliest(self, verbs: dict[str, int]) -> dict[str, int]:
        with self._storage.reading() as connection:
            return dict(store.earliest(connection, verbs, but=list(self._running)))

    def _begin(self, claimed: Claimed) -> None:
        job = claimed.job
        self._busy[job.verb] += 1
        task = asyncio.create_task(self._run(claimed), name=f"work {job.verb} {job.id}")
        self._running[job.id] = task
        task.add_done_callback(lambda _: self._ended(job))

    def _ended(self, job: Job) -> None:
        self._busy[job.verb] -= 1
        del self._running[job.id]
        self._woken.set()

    async def _run(self, claimed: Claimed) -> None:
        """Run one attempt, and record what came of it."""
        job = claimed.job
        try:
            try:
                within = await self._attempt(claimed)
                await self._storage.write(lambda tx: self._finish(tx, job, within))
            except StaleError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is why the job has to be tried again
                await self._storage.write(self._failed(job, error))
        except asyncio.CancelledError:
            # Stopping, or cancelled by someone: where it is still ours, it goes back.
            with contextlib.suppress(Error, SQLAlchemyError):
                await self._storage.write(lambda tx: self._queue.release(tx, job))
        except StaleError:
            _log.warning("a job ended under a lease that was lost; its end does not count", job=job.id, verb=job.verb)
        except Exception as error:  # noqa: BLE001 - its lease ends, and it runs again
            _log.warning("what came of a job was not recorded; it runs again", job=job.id, detail=type(error).__name__)

    async def _attempt(self, claimed: Claimed) -> Change[None] | None:
        if claimed.task is None:
            raise HopelessError("its payload cannot be read any more")
        verb = self._verbs[claimed.job.verb]
        limit = asyncio.timeout(verb.limit.total_seconds())
        try:
            async with limit:
                return await verb.run(claimed.task)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise QuitError("it cancelled itself") from error  # given back, it would be run again at once, for ever
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise SlowError(f"took longer than {verb.limit.total_seconds():g} s") from error

    def _finish(self, tx: Transaction, job: Job, within: Change[None] | None) -> None:
        self._queue.finish(tx, job)
        if within is not None:
            within(tx)

    def _failed(self, job: Job, error: Exception) -> Change[None]:
        # What others' exceptions say may hold what they were given, so only our own are quoted.
        words = str(error) if isinstance(error, Error) else type(error).__name__
        return lambda tx: self._queue.fail(tx, job, words, cause=error)
