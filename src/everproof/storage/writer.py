"""The one writer: a thread that commits whatever has gathered while it was busy with the batch before.

A commit costs the same whatever its size, so callers that arrive together share one. Nothing lingers: a lone caller is
committed at once. Handing over whole lists, and not waking the thread while a batch is out, is what keeps the event
loop and the thread from fighting over the interpreter lock (measured: a third less CPU a request under load).
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from queue import SimpleQueue
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

from sqlalchemy import Connection, Engine, bindparam, func, select, update
from sqlalchemy.exc import DBAPIError

from everproof.kernel.clock import HighWaterClock, milliseconds
from everproof.kernel.errors import Error, UnavailableError
from everproof.storage.feed import Listener
from everproof.storage.prepared import Prepared, Rows
from everproof.storage.tables import feed, marks

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")

_ADD_TO_FEED: Final = Rows(feed)
_MARK: Final = Prepared(
    update(marks)
    .where(marks.c.name == "highest_time", marks.c.value < bindparam("time"))
    .values(value=bindparam("time"))
)

MARK_EVERY_MILLISECONDS: Final = 1_000
"""How often the highest time seen is kept: it need only hold a clock to within the skew that is allowed anyway."""


class Transaction:
    """One batch's transaction, as a change sees it."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.generation: int | None = None
        """Where several processes write: the last row of the feed, as of now, that can change a decision."""
        self.published: list[tuple[str, str, bytes]] = []
        self.wakes = False
        self._staged: dict[str, Any] = {}

    def publish(self, topic: str, key: str, body: bytes = b"", *, quiet: bool = False) -> None:
        """Add a row to the feed in this commit; subscribers hear of it once it is durable.

        ``quiet``: other processes are not woken for it, and hear of it when they look or write themselves.
        """
        self.published.append((topic, key, body))
        self.wakes = self.wakes or not quiet

    def staged(self, name: str, factory: Callable[[], S]) -> S:
        """The value that ``name`` gathers in this batch, made by ``factory`` when first asked for."""
        if name not in self._staged:
            self._staged[name] = factory()
        return cast("S", self._staged[name])


class Change(Protocol[T_co]):
    """A function of a transaction. It may be run again after another change of its batch failed."""

    def __call__(self, tx: Transaction, /) -> T_co:
        """Do the change within ``tx`` and return what the caller awaits."""
        ...


_Waiting: TypeAlias = tuple[Change[Any], "asyncio.Future[Any]"]


class Writer:
    """Runs changes in order, each in a durable transaction that it may share with its neighbours."""

    def __init__(self, engine: Engine, clock: HighWaterClock) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._clock = clock
        self._before_commit: list[Callable[[Transaction], None]] = []
        self._after_rollback: list[Callable[[], None]] = []
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)
        self._waiting: list[_Waiting] = []
        self._batches: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._busy = False
        self._trouble: str | None = None
        self._stopping = False
        self._idle = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._seq = 0
        self._marked = 0
        self._load()

    def before_commit(self, stage: Callable[[Transaction], None]) -> None:
        """Call ``stage`` once for each batch, just before its commit."""
        self._before_commit.append(stage)

    def after_rollback(self, forget: Callable[[], None]) -> None:
        """Call ``forget`` when a batch was rolled back, so that nothing keeps in memory what was not committed."""
        self._after_rollback.append(forget)

    def subscribe(self, topic: str, listener: Listener, *, at_once: bool = False, decides: bool = True) -> None:  # noqa: ARG002 - of use where several processes write
        """Call ``listener(key, body)`` for each feed row of ``topic``, in order, once it is durable."""
        self._listeners[topic].append(listener)

    async def start(self) -> None:
        """Begin to take changes from this event loop."""
        self._stopping = False
        self._idle.clear()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="storage-writer", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Commit what waits, then end the thread."""
        if self._thread is None:
            return
        self._stopping = True
        if self._busy:
            await self._idle.wait()
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)
        self._thread = self._loop = None

    def write(self, change: Change[T]) -> "asyncio.Future[T]":
        """Queue ``change``; the future has its result once it is durable.

        Raises:
            UnavailableError: the writer does not run.
        """
        if self._loop is None or self._stopping:
            raise UnavailableError("the storage does not take changes now", todo="try again when the server is up")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append((change, future))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)
        return future

    def write_now(self, change: Change[T]) -> T:
        """Do ``change`` at once, in this thread: for the time before ``start`` and for commands."""
        if self._thread is not None:
            raise UnavailableError("the storage is started: use write")
        [(result, error)], published = self._commit([change])
        if error is not None:
            raise error
        self._tell(published)
        return cast("T", result)

    def trouble(self) -> str | None:
        """Why the last batch could not be committed, or why none is taken; None while all is well."""
        if self._loop is None or self._stopping:
            return "the storage does not take changes now"
        return self._trouble

    def _hand_over(self) -> None:
        batch, self._waiting = self._waiting, []
        self._batches.put(batch)

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            results, published = self._commit([change for change, _ in batch])
            loop = self._loop
            assert loop is not None
            loop.call_soon_threadsafe(self._finish, batch, results, published)

    def _finish(
        self,
        batch: list[_Waiting],
        results: list[tuple[Any, BaseException | None]],
        published: list[tuple[str, str, bytes]],
    ) -> None:
        if self._waiting:
            self._hand_over()
        else:
            self._busy = False
            if self._stopping:
                self._idle.set()
        self._tell(published)  # memory first: whoever awaits the change may look at once
        for (_, future), (result, error) in zip(batch, results, strict=True):
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def _tell(self, published: list[tuple[str, str, bytes]]) -> None:
        for topic, key, body in published:
            for listener in self._listeners[topic]:
                listener(key, body)

    def _commit(
        self, changes: list[Change[Any]]
    ) -> tuple[list[tuple[Any, BaseException | None]], list[tuple[str, str, bytes]]]:
        """Commit ``changes`` together. One that raises fails alone, and the others are run again without it."""
        results: list[tuple[Any, BaseException | None]] = [(None, None)] * len(changes)
        alive = list(range(len(changes)))
        while alive:
            at = None
            opened = False
            try:
                with (connection := self._connected()).begin():
                    tx = Transaction(connection, self._clock.now())
                    self._open(tx)
                    opened = True
                    for at in alive:
                        results[at] = (changes[at](tx), None)
                    at = None
                    for stage in self._before_commit:
                        stage(tx)
                    self._write_feed(tx)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer of the change that raised it
                self._forget()
                lost = not opened or (isinstance(error, DBAPIError) and error.connection_invalidated)
                if at is None and not lost and len(alive) > 1:
                    return self._commit_one_by_one(changes, alive, results)
                if at is None or lost:  # the commit or the database failed, so all of them did
                    failed = _unavailable(error) if lost and not isinstance(error, Error) else error
                    self._trouble = str(failed) if lost or isinstance(error, DBAPIError) else self._trouble
                    for index in alive:
                        results[index] = (None, failed)
                    return results, []
                results[at] = (None, error)
                alive.remove(at)
            else:
                self._committed(tx)
                self._trouble = None
                return results, tx.published
        return results, []

    def _open(self, tx: Transaction) -> None:
        """Do what comes first in a batch's transaction. What it raises is of the whole batch."""

    def _committed(self, tx: Transaction) -> None:
        """Note that the batch is durable."""
        self._seq += len(tx.published)

    def _connected(self) -> Connection:
        """The connection that writes, kept between batches: taking it from the pool costs a tenth of a small one."""
        if self._connection is None or self._connection.invalidated:
            self._give_back()
            self._connection = self._engine.connect()
        return self._connection

    def close(self) -> None:
        """Give back what it holds."""
        self._give_back()

    def _give_back(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit_one_by_one(
        self, changes: list[Change[Any]], alive: list[int], results: list[tuple[Any, BaseException | None]]
    ) -> tuple[list[tuple[Any, BaseException | None]], list[tuple[str, str, bytes]]]:
        """Commit apart what failed together, so that whoever staged what cannot be committed is told alone."""
        published: list[tuple[str, str, bytes]] = []
        for index in alive:
            [results[index]], told = self._commit([changes[index]])
            published += told
        return results, published

    def _forget(self) -> None:
        for forget in self._after_rollback:
            forget()

    def _write_feed(self, tx: Transaction) -> None:
        now = milliseconds(tx.now)
        if now - self._marked >= MARK_EVERY_MILLISECONDS:
            _MARK.run(tx.connection, {"time": now})
            self._marked = now  # if this commit fails the mark is a second late, which nothing notices
        if not tx.published:
            return
        rows = [(self._seq + number, *row) for number, row in enumerate(tx.published, start=1)]
        _ADD_TO_FEED.add(tx.connection, rows)

    def _load(self) -> None:
        with self._engine.begin() as connection:
            self._seq = connection.scalar(select(func.max(feed.c.seq))) or 0
            self._marked = connection.scalar(select(marks.c.value).where(marks.c.name == "highest_time")) or 0


def _unavailable(cause: BaseException) -> UnavailableError:
    error = UnavailableError("the database cannot be reached, so nothing is recorded", todo="try again")
    error.__cause__ = cause
    return error
