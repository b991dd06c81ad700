"""Moves SQLite's write-ahead log into the database beside the writer, so that no commit waits while it is done.

Left to SQLite, a commit now and then does it itself, and its whole batch waits: 10 ms and more, several times a second
under load. The writer still does it at `database.LOG_PAGES`, where little is left to move, so the log stays bounded.
"""

import contextlib
import threading
from typing import Final

from sqlalchemy import Engine

SECONDS: Final = 0.2
"""How much may gather in between: at 1,000 commits a second some 10 MB of log."""


class Checkpointer:
    """A thread with a connection of its own, while the storage runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="storage-checkpointer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once what is under way is done."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        connection = self._engine.raw_connection()
        try:
            while not self._stop.wait(SECONDS):
                # If it fails it is tried again, and in the end the writer does it, and says what is wrong.
                with contextlib.suppress(self._engine.dialect.loaded_dbapi.Error):
                    connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()
