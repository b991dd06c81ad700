"""What can change an answer that was given: told in order to those who remember answers.

Each subscriber has a short queue of its own. Whoever is too slow is cut off, and comes back with the position it has
reached; where what it missed is not remembered any more, it is told that all may have changed.
"""

import asyncio
import secrets
from collections import deque
from typing import Final, Literal, TypeAlias

import msgspec

from everproof.authorize.store import TOPIC as BUNDLES
from everproof.identity.credentials import TOPIC as REVOKED
from everproof.identity.credentials import Revoked, certificate_credential
from everproof.identity.directory import GROUPS, PRINCIPALS
from everproof.identity.holding import TOPIC as HELD
from everproof.identity.records import PrincipalRecord
from everproof.storage import Storage

REMEMBERED: Final = 4_096
"""Changes kept for those who come back: at a hundred a second, forty seconds."""
MAX_WAITING: Final = 1_024
"""Changes that wait for one subscriber; more, and it is cut off."""
MAX_NAMED: Final = 1_000
"""Credentials of one change that are named; of more, it is said that all may have changed."""

Kind: TypeAlias = Literal["credential", "principal", "group", "bundle", "reset"]


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has changed: credentials that ended, principals that are not what they were, or what concerns everyone.

    A ``reset`` stands for whatever may have changed.
    """

    kind: Kind
    position: str = ""
    credentials: tuple[str, ...] = ()
    principals: tuple[tuple[str, str], ...] = ()


class Subscriber:
    """One who listens. ``cut`` is set when it must come back."""

    def __init__(self) -> None:
        self.waiting: deque[Change] = deque()
        self.cut = False
        self._woken = asyncio.Event()

    def tell(self, change: Change) -> None:
        """Add a change to those that wait."""
        if len(self.waiting) >= MAX_WAITING:
            self.end()
            return
        self.waiting.append(change)
        self._woken.set()

    def take(self) -> list[Change]:
        """The changes that waited."""
        news = list(self.waiting)
        self.waiting.clear()
        return news

    def end(self) -> None:
        """Cut it off."""
        self.cut = True
        self.waiting.clear()
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Return when there is something to tell, and after ``seconds`` at the latest."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()


class Changes:
    """The changes of one process, since it started. A position of another process says nothing here."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._life = secrets.token_urlsafe(6)
        self._number = 0
        self._kept: deque[Change] = deque(maxlen=REMEMBERED)
        self._subscribers: set[Subscriber] = set()
        self._stopped = False
        for topic, listener in (
            (REVOKED, self._revoked),
            (PRINCIPALS, self._principal),
            (HELD, self._held),
            (GROUPS, lambda _key, _body: self._tell(Change("group"))),
            (BUNDLES, lambda _key, _body: self._tell(Change("bundle"))),
        ):
            storage.subscribe(topic, listener)

    @property
    def position(self) -> str:
        """Where the last change stands."""
        return f"{self._life}.{self._number}"

    @property
    def stale_for(self) -> float:
        """Seconds since it is certain that nothing had changed that was not told.

        Raises:
            StaleError: too long for anything to be said.
        """
        self._storage.require_fresh()
        return self._storage.stale_for()

    def subscribe(self, after: str) -> Subscriber:
        """Listen to what comes after position ``after``; from now on, where that is not known, after a reset."""
        subscriber = Subscriber()
        missed = self._since(after)
        if missed is None:
            subscriber.tell(Change("reset", self.position))
        else:
            for change in missed:
                subscriber.tell(change)
        if self._stopped:
            subscriber.end()
        self._subscribers.add(subscriber)
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Listen no more."""
        self._subscribers.discard(subscriber)

    def stop(self) -> None:
        """Cut everybody off: the server stops."""
        self._stopped = True
        for one in self._subscribers:
            one.end()

    def _since(self, after: str) -> list[Change] | None:
        life, _, number = after.rpartition(".")
        if life != self._life or not (number.isascii() and number.isdigit() and len(number) <= len(str(self._number))):
            return None
        missed = self._number - int(number)
        if not 0 <= missed <= min(len(self._kept), MAX_WAITING):
            return None
        return list(self._kept)[len(self._kept) - missed :]

    def _tell(self, change: Change) -> None:
        self._number += 1
        change = msgspec.structs.replace(change, position=self.position)
        self._kept.append(change)
        for one in list(self._subscribers):
            one.tell(change)

    def _revoked(self, _key: str, body: bytes) -> None:
        told = msgspec.msgpack.decode(body, type=Revoked)
        ended = tuple(id_ for id_, _ in told.credentials) + tuple(certificate_credential(name) for name in told.keys)
        if len(ended) > MAX_NAMED:
            self._tell(Change("reset"))
        else:
            self._tell(Change("credential", credentials=ended))

    def _principal(self, _key: str, body: bytes) -> None:
        ref = msgspec.json.decode(body, type=PrincipalRecord).ref
        self._tell(Change("principal", principals=((ref.type, ref.id),)))

    def _held(self, key: str, _body: bytes) -> None:
        type_, _, id_ = key.partition(":")
        self._tell(Change("principal", principals=((type_, id_),)))
