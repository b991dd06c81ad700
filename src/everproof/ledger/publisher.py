"""Publishing: sign the tree as it is, keep a copy elsewhere, have witnesses cosign it, and only then show it to anyone.

Where the database does not continue what was signed, nothing is signed any more, and the ledger grows no more.
"""

import asyncio
import contextlib
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import Error
from everproof.ledger import store, witness_store
from everproof.ledger.checkpoint import Checkpoint, open_checkpoint
from everproof.ledger.cosigning import Witnesses
from everproof.ledger.merkle import prove_consistency, tree_root
from everproof.ledger.note import NoteSigner
from everproof.ledger.rollback import RollbackError, missing_copy, read_copy, require_continuation, write_copy
from everproof.ledger.tiles import TileNodes
from everproof.ledger.tlog_policy import QuorumError
from everproof.storage import Storage, Transaction

PUBLISH_EVERY: Final = timedelta(seconds=10)
"""How much a rollback could take back without anyone having signed for it."""

TOPIC: Final = "ledger.published"
"""The feed's topic: the note that is published now."""

_log: Final = structlog.get_logger("everproof.ledger")


class Publisher:
    """Signs and publishes for one ledger. ``refusal`` says why it does not any more, where that is so."""

    def __init__(self, storage: Storage, signer: NoteSigner, *, copy: Path | None, witnesses: Witnesses | None) -> None:
        self._storage = storage
        self._signer = signer
        self._copy = copy
        self._witnesses = witnesses
        self.refusal: RollbackError | None = None
        self.trouble: str | None = None
        self.warning: str | None = None
        self.published: tuple[Checkpoint, bytes] | None = None
        self._signed: tuple[Checkpoint, bytes] | None = None
        self._asked = False
        self._published_at = float("-inf")
        self._publishing = asyncio.Lock()
        self._periodic: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        storage.subscribe(TOPIC, self._heard, decides=False)

    def restore(self, connection: Connection) -> None:
        """Take up what was signed before, and look whether the database continues it."""
        log = self._signer.verifier
        try:
            if (row := store.last_checkpoint(connection)) is not None:
                self._signed = open_checkpoint(row.note, log)[0], row.note
            if (row := witness_store.last_published(connection)) is not None:
                self.published = open_checkpoint(row.note, log)[0], row.note
            self._require_continuation(connection)
        except RollbackError as error:
            self.refusal = again(error)
        except Error as error:
            self.refusal = RollbackError(
                f"the last checkpoint in the database is not one of this log: {error.message}",
                place="ledger_checkpoints",
                todo="bring back the database as it was, or the root key that belongs to it",
            )

    def require_sound(self) -> None:
        """Hold that nothing stands against growing and signing.

        Raises:
            RollbackError: something does.
        """
        if self.refusal is not None:
            raise again(self.refusal)

    def reaches(self, index: int) -> bool:
        """Whether what is published shows entry ``index``."""
        return self.published is not None and index < self.published[0].size

    async def publish(self, index: int | None = None) -> None:
        """Publish; with ``index``, only if what is published does not reach it.

        It goes on when whoever asked goes away: given up half-way, its thread would write the copy beside the next one.

        Raises:
            RollbackError: nothing is signed any more.
            UnavailableError: the copy cannot be written.
            QuorumError: too few witnesses answered; it is signed, and not published.
        """
        task = asyncio.create_task(self._publish_alone(index))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def start(self) -> None:
        """Publish a checkpoint now, and from now on whenever the ledger has grown."""
        await self._publish_or_note()
        self._stopping.clear()
        self._periodic = asyncio.create_task(self._publish_periodically(), name="ledger-checkpoints")

    async def stop(self) -> None:
        """Publish what there is, and no more."""
        self._stopping.set()
        if self._periodic is not None:
            await self._periodic
            self._periodic = None
        await self._publish_or_note()

    def sign(self) -> tuple[Checkpoint, bytes]:
        """The checkpoint of what is durable, already copied; the last one where it still tells all."""
        self.require_sound()
        try:
            with self._storage.reading() as connection:
                self._require_continuation(connection)
                size, _ = store.read_head(connection)
                if self._signed is not None and self._signed[0].size == size:
                    fresh, signed = False, self._signed
                else:
                    checkpoint = Checkpoint(self._signer.verifier.name, size, tree_root(size, _nodes(connection)))
                    fresh, signed = True, (checkpoint, self._signer.sign(checkpoint.text()))
        except RollbackError as error:
            self.refusal = again(error)
            raise
        if self._copy is not None and (fresh or not self._copy.exists()):
            # Before the database has it: a copy is never of more than what is durable, and never behind for long.
            write_copy(self._copy, signed[1])
        return signed

    def keep(self, tx: Transaction, checkpoint: Checkpoint, note: bytes) -> None:
        """Note within ``tx`` what was signed."""
        store.set_origin(tx.connection, self._signer.verifier.name)
        store.add_checkpoint(
            tx.connection, size=checkpoint.size, at=milliseconds(tx.now), copied=self._copy is not None, note=note
        )
        if self._witnesses is None:
            self._show(tx, checkpoint, note, witnessed=False)

    async def _publish_alone(self, index: int | None) -> None:
        async with self._publishing:
            if index is not None and self.reaches(index):  # it does since this waited
                return
            signed = await asyncio.to_thread(self.sign)
            if signed is not self._signed or (self._witnesses is None and self.published is None):
                await self._storage.write(lambda tx: self.keep(tx, *signed))
                self._signed = signed
            if self._witnesses is not None and not (self._asked and self.reaches(signed[0].size - 1)):
                await self._have_cosigned(self._witnesses, *signed)
            self.trouble = None

    async def _have_cosigned(self, witnesses: Witnesses, checkpoint: Checkpoint, note: bytes) -> None:
        """Ask the witnesses, also about what nobody has added to since: at a start, it is they who tell a rollback."""
        try:
            cosigned = await witnesses.cosign(
                checkpoint, note, prove=lambda old: self._prove(old, checkpoint.size), length=self._length
            )
        except RollbackError as error:
            self.refusal = again(error)
            _log.critical("refusing to record and to sign", detail=error.message, place=error.place, todo=error.todo)
            raise
        self._asked = True
        self.warning = "; ".join(cosigned.missing) or None
        if not cosigned.enough:
            if await asyncio.to_thread(self._is_published, checkpoint.size):
                return
            raise QuorumError(
                f"too few witnesses cosigned: {self.warning}",
                place="witness_policy",
                todo="entries are recorded all the same; proofs reach as far as the last checkpoint that was cosigned",
            )
        await self._storage.write(lambda tx: self._show(tx, checkpoint, cosigned.note, witnessed=True))

    def _show(self, tx: Transaction, checkpoint: Checkpoint, note: bytes, *, witnessed: bool) -> None:
        at = milliseconds(tx.now)
        if witness_store.publish(tx.connection, size=checkpoint.size, at=at, witnessed=witnessed, note=note):
            tx.publish(TOPIC, str(checkpoint.size), note)

    def _heard(self, _size: str, note: bytes) -> None:
        """Also what another server of this log has published: then it need not be done here."""
        self.published = open_checkpoint(note, self._signer.verifier)[0], note
        self._published_at = time.monotonic()

    async def _publish_periodically(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PUBLISH_EVERY.total_seconds()):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - self._published_at >= PUBLISH_EVERY.total_seconds() / 2:
                await self._publish_or_note()

    async def _publish_or_note(self) -> None:
        """Publish; what stands against it is told by `trouble`, and by the readiness that asks it."""
        try:
            await self.publish()
        except QuorumError as error:
            _log.warning("not published", detail=error.message)
            self.trouble = None  # what must be recorded can be: no reason to turn requests away
        except Error as error:
            self.trouble = str(error)
        except SQLAlchemyError:
            self.trouble = "the database cannot be read, so no checkpoint is signed"

    def _require_continuation(self, connection: Connection) -> None:
        size, _ = store.read_head(connection)
        nodes = _nodes(connection)
        if self._signed is not None:
            require_continuation(self._signed[0], size=size, nodes=nodes, place="the last checkpoint")
        if self._copy is None:
            return
        copied = read_copy(self._copy, self._signer.verifier)
        if copied is not None:
            require_continuation(copied[0], size=size, nodes=nodes, place=str(self._copy))
        elif store.was_copied(connection):
            raise missing_copy(self._copy)

    def _is_published(self, size: int) -> bool:
        """Whether another server of this log has had as much cosigned meanwhile; then it is what is shown here too."""
        with self._storage.reading() as connection:
            row = witness_store.last_published(connection)
        if row is None or row.size < size:
            return False
        self._heard("", row.note)
        return True

    def _prove(self, old: int, size: int) -> list[bytes]:
        with self._storage.reading() as connection:
            return prove_consistency(old, size, _nodes(connection))

    def _length(self) -> int:
        with self._storage.reading() as connection:
            return store.read_head(connection)[0]


def again(error: RollbackError) -> RollbackError:
    """The same error without the frames that it was raised through, to keep and to raise as often as need be."""
    return type(error)(error.message, place=error.place, todo=error.todo)


def _nodes(connection: Connection) -> TileNodes:
    return TileNodes(lambda level, n: store.read_tile(connection, level, n))
