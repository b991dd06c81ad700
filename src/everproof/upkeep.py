"""What a running server does by itself, every few minutes: forget what is over, renew the keys that sign."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, get_args

import msgspec
import structlog

from everproof.authorize.attempts import EVENT_KIND
from everproof.identity import Identity
from everproof.kernel.canonical import encode
from everproof.kernel.errors import Error
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Entry
from everproof.keys import SigningKeys, TokenAlgorithm
from everproof.ledger import Ledger
from everproof.storage import Storage, Transaction, forget_feed, take_duty

EVERY: Final = timedelta(minutes=10)
"""Nothing waits for it: what is over is refused at once, whether it was forgotten or not."""

LINEAGE_KEPT: Final = timedelta(days=90)
"""How long a dead credential's place in its tree can be looked at; the ledger keeps what was done with it for ever."""

_log: Final = structlog.get_logger("everproof.upkeep")


class Upkeep:
    """The server's own chores."""

    def __init__(self, storage: Storage, signing: SigningKeys, identity: Identity, ledger: Ledger) -> None:
        self._storage = storage
        self._signing = signing
        self._identity = identity
        self._ledger = ledger
        self._forgetful: list[Callable[[Transaction, datetime], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._recording: set[asyncio.Future[object]] = set()
        identity.external.on_unknown_claim(self._unknown_claim)

    def let_forget(self, forget: Callable[[Transaction, datetime], None]) -> None:
        """Call ``forget`` with the time before which nobody looks at what is over."""
        self._forgetful.append(forget)

    async def start(self) -> None:
        """Begin; the first time is now."""
        self._task = asyncio.create_task(self._repeat())

    async def stop(self) -> None:
        """Stop, and wait for what is being recorded."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, *self._recording, return_exceptions=True)
            self._task = None

    async def once(self) -> None:
        """Do the chores, unless another process of this server has done them just now."""
        if not await self._storage.write(lambda tx: take_duty(tx, "upkeep", EVERY)):
            return
        await self._storage.write(self._forget)
        while await self._storage.write(forget_feed):
            pass
        for algorithm in self._signing.due():
            if algorithm in get_args(TokenAlgorithm):
                await asyncio.to_thread(self._signing.prepare, algorithm)
                await self._storage.write(lambda tx, name=algorithm: self._rotate(tx, name))

    async def _repeat(self) -> None:
        while True:
            try:
                await self.once()
            except Error as error:
                _log.warning("upkeep failed, and is tried again", detail=error.message)
            await asyncio.sleep(EVERY.total_seconds())

    def _rotate(self, tx: Transaction, algorithm: TokenAlgorithm) -> None:
        if self._signing.is_due(tx, algorithm):
            self._signing.rotate(tx, algorithm)

    def _forget(self, tx: Transaction) -> None:
        self._identity.forget(tx, lineage_before=tx.now - LINEAGE_KEPT)
        for forget in self._forgetful:
            forget(tx, tx.now - LINEAGE_KEPT)

    def _unknown_claim(self, issuer: str, claim: str) -> None:
        """An issuer says something it was not known to say: somebody should look what it means."""
        body = msgspec.Raw(encode({"event": "unknown-claim", "issuer": issuer, "claim": claim}))
        at = self._storage.clock.now()
        entry = Entry(id=new_id("ent"), at=at, kind=EVENT_KIND, about=MAIN_SPACE, body=body)
        recording: asyncio.Future[object] = asyncio.ensure_future(self._record(entry))
        self._recording.add(recording)
        recording.add_done_callback(self._recording.discard)

    async def _record(self, entry: Entry) -> None:
        try:
            await self._ledger.record(entry)
        except Error as error:
            _log.warning("event not recorded", detail=error.message)
