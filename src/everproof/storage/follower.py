"""Hears what other processes commit: PostgreSQL wakes it, and it looks now and then in case it did not."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from everproof.kernel.errors import Error
from everproof.storage.feed import Feed, Row

CHANNEL: Final = "everproof"
POLL_SECONDS: Final = 0.1
"""How often it looks where nobody wakes it. Also how fresh a process is that has nothing to do."""
PAUSE_SECONDS: Final = 0.01
"""What arrives within it is read together."""
RETRY_SECONDS: Final = 0.1
AT_ONCE: Final = 2_000

_READ: Final = "SELECT seq, topic, key, body FROM feed WHERE seq > %s ORDER BY seq LIMIT %s"


class Follower:
    """A thread with a connection of its own, while the storage runs. ``told`` is called after each look."""

    def __init__(self, engine: Engine, feed: Feed, told: Callable[[], None]) -> None:
        self._engine = engine
        self._feed = feed
        self._told = told
        self._stop = threading.Event()
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._work, name="storage-follower", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once what is under way is done."""
        self._stop.set()
        os.write(self._waker, b"\0")
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._waker)
        os.close(self._woken)

    def look(self, connection: Any) -> None:
        """Take all that there is, by a driver's connection."""
        while True:
            as_of = time.monotonic()
            rows: list[Row] = connection.execute(_READ, (self._feed.position, AT_ONCE)).fetchall()
            complete = len(rows) < AT_ONCE
            self._feed.take(rows, as_of if complete else 0.0)
            if complete:
                return

    def _work(self) -> None:
        import psycopg  # late: a server on SQLite never needs it

        while not self._stop.is_set():
            # A feed that cannot be read makes this process stale, which is what it says of itself.
            with contextlib.suppress(psycopg.Error, SQLAlchemyError, Error):
                self._follow()
            self._stop.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        pooled = self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        try:
            connection.execute(f"LISTEN {CHANNEL}")
            while not self._stop.is_set():
                self.look(connection)
                self._told()
                self._stop.wait(PAUSE_SECONDS)
                select.select([connection, self._woken], [], [], POLL_SECONDS)
                for _ in connection.notifies(timeout=0):
                    pass
        finally:
            pooled.invalidate()
