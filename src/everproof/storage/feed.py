"""The feed as one of several processes on a database hears it: in one order, by whichever of its threads reads first.

What must hold before another change is made (that a credential is dead, that a key was destroyed, how far the tree is)
is told at once, in the thread that read it. All else is told on the event loop, in the same order.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import structlog

from everproof.kernel.errors import UnavailableError

Listener: TypeAlias = Callable[[str, bytes], None]
Row: TypeAlias = tuple[int, str, str, bytes]
"""Number, topic, key, body."""

_log: Final = structlog.get_logger("everproof.storage")


class StaleError(UnavailableError):
    """This process does not know lately enough what the others have done, so it lets nothing happen."""

    code = "stale"


class Feed:
    """What was read of the feed, and what was told of it."""

    def __init__(self, position: int) -> None:
        """Begin after row ``position``: whoever loads a snapshot does it after this."""
        self.position = position
        self.taken = position
        self.applied = position
        self.broken: str | None = None
        self._lock = threading.Lock()
        self._at_once: defaultdict[str, list[Listener]] = defaultdict(list)
        self._later: defaultdict[str, list[Listener]] = defaultdict(list)
        self._harmless: set[str] = set()
        self._deciding: set[str] = set()
        self._waiting: deque[Row] = deque()
        self._read_as_of = self._told_as_of = time.monotonic()

    def subscribe(self, topic: str, listener: Listener, *, at_once: bool, decides: bool) -> None:
        """Tell ``listener`` of each row of ``topic``; ``at_once``: in whatever thread, before the next change is made.

        ``decides``: what the topic tells can change a decision, which is then made anew if it was not recorded yet. It
        does where one of its listeners says so, whatever the others say.
        """
        (self._at_once if at_once else self._later)[topic].append(listener)
        if decides:
            self._deciding.add(topic)
            self._harmless.discard(topic)
        elif topic not in self._deciding:
            self._harmless.add(topic)

    def take(self, rows: Sequence[Row], as_of: float) -> None:
        """Take what was read, in order; ``as_of`` is a time at which there was no more, by ``time.monotonic``.

        Raises:
            StaleError: rows in between are gone: this process was away for too long.
        """
        with self._lock:
            for row in rows:
                seq, topic, key, body = row
                if seq <= self.position:
                    continue
                if seq != self.position + 1:
                    self.broken = "this process was away for longer than the feed reaches back: restart it"
                    raise self._stale()
                for listener in self._at_once.get(topic, ()):
                    listener(key, body)
                self._waiting.append(row)
                if topic not in self._harmless:
                    self.taken = seq
                self.position = seq
            self._read_as_of = max(self._read_as_of, as_of)

    def tell(self) -> None:
        """Tell what waits, on the event loop."""
        as_of = self._read_as_of
        while self._waiting:
            seq, topic, key, body = self._waiting.popleft()
            for listener in self._later.get(topic, ()):
                try:
                    listener(key, body)
                except Exception:  # noqa: BLE001 - whatever it is, memory is not what the database says any more
                    self.broken = "what changed could not be followed: see the server's log, and restart it"
                    _log.critical("the feed cannot be followed", topic=topic, seq=seq, exc_info=True)
            if topic not in self._harmless:
                self.applied = seq
        self._told_as_of = as_of

    def stale_for(self) -> float:
        """Seconds since memory was shown to be as the database is."""
        return time.monotonic() - self._told_as_of

    def require_fresh(self, seconds: float) -> None:
        """Hold that memory was as the database within the last ``seconds``. On the event loop.

        Raises:
            StaleError: it was not.
        """
        if self.stale_for() > seconds:
            self.tell()  # the loop may only have been busy: what the follower has read meanwhile counts
        if self.broken is not None or self.stale_for() > seconds:
            raise self._stale()

    def _stale(self) -> StaleError:
        return StaleError(
            self.broken or f"stale snapshot: what others did in the last {self.stale_for():.1f} s is not known here",
            todo="try again, at another server if there is one",
        )
