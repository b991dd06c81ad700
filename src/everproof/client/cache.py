"""What a client remembers, and when it must not: a yes is worth something only while nothing can change it unseen.

The server tells of every change that could change an answer (see `everproof.client.following`). What is remembered is
used only while that is heard of closely enough, and each change takes away what it concerns.
"""

import threading
import time
from typing import Final, NamedTuple

import msgspec

from everproof.client.answers import Decision, Entity, Introspection
from everproof.client.keys import token_hash

MAX_DECISIONS: Final = 20_000
"""Remembered at once, about 1 kB each; the oldest goes first."""
MAX_TOKENS: Final = 5_000

_SUSPENDED: Final = getattr(time, "CLOCK_BOOTTIME", None)


def steady() -> float:
    """Seconds by a clock that nobody sets; where there is such a one, it also counts while the machine sleeps."""
    return time.monotonic() if _SUSPENDED is None else time.clock_gettime(_SUSPENDED)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says has changed. ``all``: what cannot be told apart, such as the bundle or a group."""

    all: bool = False
    principals: tuple[tuple[str, str], ...] = ()
    credentials: tuple[str, ...] = ()


class Ticket(NamedTuple):
    """What had been heard when a question was sent: what changed since then may have come too late for its answer."""

    decisions: int
    tokens: int
    at: float


class _Kept(NamedTuple):
    decision: Decision
    subject: tuple[str, str]
    until: float


class _Token(NamedTuple):
    found: Introspection
    until: float


class Cache:
    """Remembers answers of yes. Denials are never remembered: whoever was denied may have done what was missing."""

    def __init__(self, *, seconds: float, staleness: float) -> None:
        """``seconds`` is how old an answer may get, ``staleness`` how old the news of the server may be."""
        self._seconds = seconds
        self._staleness = staleness
        self._lock = threading.Lock()
        self._decisions: dict[bytes, _Kept] = {}
        self._tokens: dict[str, _Token] = {}
        self._as_of = float("-inf")
        self._changes = 0
        self._ended = 0

    @property
    def is_fresh(self) -> bool:
        """Whether all is known that had happened at the server ``staleness`` seconds ago."""
        return steady() - self._as_of <= self._staleness

    def ticket(self) -> Ticket:
        """To be taken before a question is sent."""
        return Ticket(self._changes, self._ended, steady())

    def decision(self, key: bytes) -> Decision | None:
        """The yes that is remembered under ``key``."""
        kept = self._decisions.get(key)
        if kept is None or not self.is_fresh:
            return None
        if steady() >= kept.until:
            with self._lock:
                self._decisions.pop(key, None)
            return None
        return kept.decision

    def token(self, token: str) -> Introspection | None:
        """What is remembered of a token that was good."""
        kept = self._tokens.get(token_hash(token))
        if kept is None or not self.is_fresh or steady() >= kept.until:
            return None
        return kept.found

    def keep(self, key: bytes, decision: Decision, subject: Entity, ticket: Ticket) -> None:
        """Remember a yes, if the server lets it be remembered and nothing has changed since it was asked for."""
        seconds = min(self._seconds, decision.cache_seconds)
        if not decision.allowed or decision.would_deny or seconds <= 0:
            return
        kept = _Kept(msgspec.structs.replace(decision, cached=True), (subject.type, subject.id), ticket.at + seconds)
        with self._lock:
            if self._changes != ticket.decisions:
                return
            if len(self._decisions) >= MAX_DECISIONS:
                del self._decisions[next(iter(self._decisions))]
            self._decisions[key] = kept

    def keep_token(self, token: str, found: Introspection, ticket: Ticket) -> None:
        """Remember what a token is worth, at most until it ends."""
        seconds = min(self._seconds, found.exp - time.time())
        with self._lock:
            if not found.active or seconds <= 0 or self._ended != ticket.tokens:
                return
            if len(self._tokens) >= MAX_TOKENS:
                del self._tokens[next(iter(self._tokens))]
            self._tokens[token_hash(token)] = _Token(found, ticket.at + seconds)

    def heard(self, as_of: float) -> None:
        """All that had happened at ``as_of``, by `steady`, is known."""
        with self._lock:
            self._as_of = max(self._as_of, as_of)

    def apply(self, change: Change, own: tuple[str, ...]) -> None:
        """Forget what ``change`` concerns; ``own`` are the credentials that the questions were asked with."""
        with self._lock:
            everything = change.all or any(one in own for one in change.credentials)
            if everything:
                self._decisions.clear()
                self._tokens.clear()
            if everything or change.principals:
                self._changes += 1
                self._ended += 1
            for principal in change.principals:
                self._decisions = {key: one for key, one in self._decisions.items() if one.subject != principal}
                self._tokens = {
                    key: one
                    for key, one in self._tokens.items()
                    if (one.found.subject.type, one.found.subject.id) != principal
                }
            if change.credentials:
                self._ended += 1
                ended = frozenset(change.credentials)
                self._tokens = {key: one for key, one in self._tokens.items() if ended.isdisjoint(one.found.lineage)}

    def distrust(self) -> None:
        """Use nothing until there is news again: what was missed is not known."""
        with self._lock:
            self._as_of = float("-inf")
            self._decisions.clear()
            self._tokens.clear()
            self._changes += 1
            self._ended += 1
