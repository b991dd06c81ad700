"""The storage: one writer, consistent reads, and a clock that does not run backwards over a restart."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.engine import URL

from everproof.kernel.clock import Clock, HighWaterClock, SystemClock, from_milliseconds
from everproof.kernel.errors import ConflictError
from everproof.storage.checkpointer import Checkpointer
from everproof.storage.database import (
    connect_writer,
    follower_engine,
    parse_url,
    reader_engine,
    sqlite_file,
    writer_engine,
)
from everproof.storage.feed import Listener, StaleError
from everproof.storage.migrate import migrate, require_current
from everproof.storage.replicated import ReplicatedWriter
from everproof.storage.tables import marks
from everproof.storage.versions import join
from everproof.storage.writer import Change, Transaction, Writer

T = TypeVar("T")

LOCK_NAME: Final = "lock"

MAX_STALE_SECONDS: Final = 2.0
"""What one of several processes may not know of the others before it says so and lets nothing happen."""


class Storage:
    """A database and its one writer. Made by ``open`` or ``open_read_only``."""

    def __init__(self, url: str, *, clock: Clock, lock: int | None, writing: bool) -> None:
        address = parse_url(url)
        self._lock = lock
        self._checkpointer: Checkpointer | None = None
        self.max_stale_seconds = MAX_STALE_SECONDS
        self._writer: Writer | None = None
        self._reader = reader_engine(address)
        self._engine = writer_engine(address) if writing else None
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        if (file := sqlite_file(address)) is not None and writing:
            file.chmod(0o600)
        with self.reading() as connection:
            highest = connection.scalar(select(marks.c.value).where(marks.c.name == "highest_time")) or 0
        self.clock = HighWaterClock(clock, highest=from_milliseconds(highest))
        self._writer = self._make_writer(address)

    def _prepare(self) -> None:
        if self._engine is None:
            require_current(self._reader)
            return
        connect_writer(self._engine)
        if self._engine.dialect.name == "sqlite":
            migrate(self._engine)
        else:
            join(self._engine)

    def _make_writer(self, address: URL) -> Writer | None:
        if self._engine is None:
            return None
        if self._engine.dialect.name == "sqlite":
            return Writer(self._engine, self.clock)
        return ReplicatedWriter(self._engine, self.clock, follower_engine(address))

    @classmethod
    def open(cls, url: str, *, state: Path | None = None, clock: Clock | None = None) -> "Storage":
        """Open the database at ``url`` for writing, migrated; with ``state``, that folder belongs to this process.

        Raises:
            ConflictError: another process has the folder or the database.
            NewerDatabaseError: a newer Everproof wrote it.
            InputError: the address is not one.
        """
        lock = _lock_folder(state) if state is not None else None
        return cls(url, clock=clock or SystemClock(), lock=lock, writing=True)

    @classmethod
    def open_read_only(cls, url: str, *, clock: Clock | None = None) -> "Storage":
        """Open the database at ``url`` to look at it, beside a server that may run."""
        return cls(url, clock=clock or SystemClock(), lock=None, writing=False)

    def trouble(self) -> str | None:
        """Why changes cannot be made durable now, for an operator; None while they can."""
        try:
            self.require_fresh()
        except StaleError as error:
            return error.message
        return self.writer.trouble()

    @property
    def writer(self) -> Writer:
        """The writer.

        Raises:
            ConflictError: opened read-only.
        """
        if self._writer is None:
            raise ConflictError("the storage was opened to read only")
        return self._writer

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one unchanging state."""
        with self._reader.begin() as connection:
            yield connection

    def write(self, change: Change[T]) -> "asyncio.Future[T]":
        """Do ``change``; the future resolves when it is durable."""
        return self.writer.write(change)

    def write_now(self, change: Change[T]) -> T:
        """Do ``change`` at once, before ``start``."""
        return self.writer.write_now(change)

    def before_commit(self, stage: Callable[[Transaction], None]) -> None:
        """Call ``stage`` once for each batch, just before its commit."""
        if self._writer is not None:  # read-only, nothing is committed: there is nothing to tell
            self._writer.before_commit(stage)

    def after_rollback(self, forget: Callable[[], None]) -> None:
        """Call ``forget`` whenever a batch was rolled back."""
        if self._writer is not None:
            self._writer.after_rollback(forget)

    def subscribe(self, topic: str, listener: Listener, *, at_once: bool = False, decides: bool = True) -> None:
        """Call ``listener(key, body)`` for each durable feed row of ``topic``, in order, on the event loop.

        Where several processes write: ``at_once`` calls it in the thread that heard of the row, before the next change
        is made; and ``decides`` says that such a row can change a decision, which is then made anew.
        """
        if self._writer is not None:
            self._writer.subscribe(topic, listener, at_once=at_once, decides=decides)

    @property
    def generation(self) -> int | None:
        """The last row of the feed that could change a decision, as memory has it; None where nobody else writes."""
        return self._writer.feed.applied if isinstance(self._writer, ReplicatedWriter) else None

    def stale_for(self) -> float:
        """Seconds since memory was shown to be as the database is; 0 where nobody else writes to it."""
        return self._writer.feed.stale_for() if isinstance(self._writer, ReplicatedWriter) else 0.0

    def require_fresh(self) -> None:
        """Hold that memory was as the database is within `MAX_STALE_SECONDS`.

        Raises:
            StaleError: it was not, so nothing can be allowed by it.
        """
        if isinstance(self._writer, ReplicatedWriter):
            self._writer.feed.require_fresh(self.max_stale_seconds)

    async def start(self) -> None:
        """Start the writer's thread, for changes from this event loop."""
        await self.writer.start()
        if self._reader.dialect.name == "sqlite":
            self._checkpointer = Checkpointer(self._reader)
            self._checkpointer.start()

    async def stop(self) -> None:
        """Commit what waits, stop the writer, close the connections, give the folder back."""
        if self._writer is not None:
            await self._writer.stop()
        if self._checkpointer is not None:
            await asyncio.to_thread(self._checkpointer.stop)
        self.close()

    def close(self) -> None:
        """Close the connections and give the folder back, where ``start`` was never called."""
        if self._writer is not None:
            self._writer.close()
        self._reader.dispose()
        if self._engine is not None:
            self._engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock_folder(state: Path) -> int:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
        os.close(descriptor)
        raise ConflictError(
            f"this state folder is in use by process {holder}",
            place=str(state),
            todo="stop that server, or give this one a folder of its own with --state",
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
