"""The writer of one of several processes on PostgreSQL.

Each batch takes a lock first, and then reads what the others have committed: so while it decides, nobody else commits,
and memory is as the database is. The lock is the sequencer. It is given in the order in which it was asked for, and
PostgreSQL takes it back from a process that is dead, paused or cut off.
"""

import asyncio
import contextlib
import time
from typing import Any, Final

from sqlalchemy import Engine

from everproof.kernel.clock import HighWaterClock
from everproof.storage.feed import Feed, Listener
from everproof.storage.follower import CHANNEL, Follower
from everproof.storage.writer import Transaction, Writer

BATCH_LOCK: Final = 0x45_76_65_72_70_72_67
"""The PostgreSQL advisory lock of a batch."""

_BEGIN: Final = (
    "SELECT pg_advisory_xact_lock({lock}); SELECT seq, topic, key, body FROM feed WHERE seq > {position} ORDER BY seq"
)
"""Two statements in one round trip, and not one: the second must see what was committed while the first waited."""


class ReplicatedWriter(Writer):
    """Runs changes as `Writer` does, beside others like it."""

    def __init__(self, engine: Engine, clock: HighWaterClock, follower: Engine) -> None:
        super().__init__(engine, clock)
        self.feed = Feed(self._seq)
        self._follower_engine = follower
        self._follower: Follower | None = None

    def subscribe(self, topic: str, listener: Listener, *, at_once: bool = False, decides: bool = True) -> None:
        """As `Writer.subscribe`; see `Feed.subscribe`."""
        self.feed.subscribe(topic, listener, at_once=at_once, decides=decides)

    async def start(self) -> None:
        """Begin to take changes, and to hear of those of others; what there is by now has been heard."""
        await super().start()
        self._follower = Follower(self._follower_engine, self.feed, self._heard)
        with self._follower_engine.connect() as connection:
            self._follower.look(connection.connection.driver_connection)
        self.feed.tell()
        self._follower.start()

    async def stop(self) -> None:
        """End: commit what waits, and hear no more."""
        await super().stop()
        await asyncio.to_thread(self._stop_following)

    def close(self) -> None:
        """As `Writer.close`."""
        super().close()
        self._stop_following()

    def _stop_following(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            self._follower = None

    def trouble(self) -> str | None:
        """As `Writer.trouble`; a feed that is lost for good is trouble too."""
        return super().trouble() or self.feed.broken

    def _open(self, tx: Transaction) -> None:
        asked = time.monotonic()
        statement = _BEGIN.format(lock=BATCH_LOCK, position=self.feed.position)
        result = tx.connection.exec_driver_sql(statement)
        cursor: Any = result.cursor
        try:
            cursor.nextset()
            rows = cursor.fetchall()
        finally:
            result.close()
        self.feed.take(rows, asked)
        self._seq = self.feed.position
        tx.generation = self.feed.taken

    def _write_feed(self, tx: Transaction) -> None:
        super()._write_feed(tx)
        if tx.wakes:
            tx.connection.exec_driver_sql(f"NOTIFY {CHANNEL}")

    def _committed(self, tx: Transaction) -> None:
        rows = [(self._seq + number, *row) for number, row in enumerate(tx.published, start=1)]
        self.feed.take(rows, 0.0)

    def _tell(self, _published: list[tuple[str, str, bytes]]) -> None:
        self.feed.tell()

    def _heard(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: there is nobody to tell
                loop.call_soon_threadsafe(self.feed.tell)
