"""The ledger: appends within a batch's transaction, and signs checkpoints of what is durable."""

import asyncio
import contextlib
import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, Error, InputError, NotFoundError
from everproof.kernel.words import Entry
from everproof.keys import Keyring, SigningKey
from everproof.ledger import store
from everproof.ledger.checkpoint import Checkpoint, open_checkpoint
from everproof.ledger.commitment import DOMAIN, SALT_BYTES
from everproof.ledger.edge import Edge
from everproof.ledger.merkle import leaf_hash, tree_root
from everproof.ledger.note import NoteSigner
from everproof.ledger.rollback import RollbackError, missing_copy, read_copy, require_continuation, write_copy
from everproof.ledger.tiles import TileNodes
from everproof.ledger.view import LedgerView
from everproof.storage import Storage, Transaction

TOPIC: Final = "ledger"
"""The feed's topic: one row a batch, whose body is a `Grown`."""

PUBLISH_EVERY: Final = timedelta(seconds=10)
"""How much a rollback could take back without anyone having signed for it."""

SALTS_AT_ONCE: Final = 512
"""One system call for this many."""


class Receipt(msgspec.Struct, frozen=True):
    """Where an entry stands, once it is durable; with it anyone may ask for the proof."""

    origin: str
    index: int
    entry_id: str


class Grown(msgspec.Struct, frozen=True):
    """What a batch added: entries from ``first`` on, so that there are ``size`` now."""

    first: int
    size: int


class Ledger(LedgerView):
    """The one that writes. Made before or after the storage is started.

    ``append`` belongs to the writer's thread. Where the database does not continue what was signed before, appending
    and signing are refused; reading is not.
    """

    def __init__(
        self, storage: Storage, keyring: Keyring, signing: SigningKey, *, origin: str, copy: Path | None = None
    ) -> None:
        """Look whether the database continues what was signed. ``refusal`` says so if not; nothing is raised for it.

        ``origin`` names a new log. One that has something to say keeps its name, whatever is given.
        """
        super().__init__(storage, keyring)
        if not isinstance(signing.private, Ed25519PrivateKey):
            raise InputError("checkpoints are signed with Ed25519")
        self._keyring: Keyring = keyring
        self._copy = copy
        self._first = 0
        self._rows: list[store.EntryRow] = []
        self._tx: Transaction | None = None
        self._flushed: Transaction | None = None
        self._edge: Edge | None = None
        self._salts: list[bytes] = []
        self._refusal: RollbackError | None = None
        self._published: tuple[Checkpoint, bytes] | None = None
        self._trouble: str | None = None
        self._publishing = asyncio.Lock()
        self._periodic: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        with storage.reading() as connection:
            self.size, named = store.read_head(connection)
            self.origin = named or origin
            self._signer = NoteSigner(self.origin, signing.private)
            self._restore(connection)
        storage.before_commit(self._flush)
        storage.after_rollback(self._forget)
        storage.subscribe(TOPIC, self._grown)

    @property
    def vkey(self) -> str:
        """The public key that a stranger needs to verify proofs, in the form of C2SP signed-note."""
        return str(self._signer.verifier)

    @property
    def refusal(self) -> RollbackError | None:
        """Why nothing is appended or signed any more, where that is so."""
        return self._refusal

    def trouble(self) -> str | None:
        """Why the ledger cannot do its work now, for an operator; None while it can."""
        return str(self._refusal) if self._refusal else self._trouble

    def append(self, tx: Transaction, entry: Entry) -> Receipt:
        """Append within ``tx``. The receipt holds once the batch is durable.

        Raises:
            RollbackError: the database does not continue what was signed.
        """
        if tx is not self._tx:
            self._begin(tx)
        if not self._salts:
            chance = os.urandom(SALT_BYTES * SALTS_AT_ONCE)
            self._salts = [chance[at : at + SALT_BYTES] for at in range(0, len(chance), SALT_BYTES)]
        opening = self._salts.pop() + encode(entry)
        commitment = sha256(DOMAIN + opening).digest()
        sealed = self._keyring.seal(tx, entry.about, opening, context=commitment)
        index = self._first + len(self._rows)
        self._rows.append((index, entry.id, entry.kind, milliseconds(entry.at), commitment, sealed.key_id, sealed.data))
        return Receipt(self.origin, index, entry.id)

    def record(self, entry: Entry) -> "asyncio.Future[Receipt]":
        """Append an entry by itself; the receipt comes when it is durable."""
        return self._storage.write(lambda tx: self.append(tx, entry))

    def checkpoint(self) -> bytes:
        """The checkpoint signed last, as a signed note.

        Raises:
            NotFoundError: none was signed yet.
        """
        return super().checkpoint() if self._published is None else self._published[1]

    async def publish(self) -> bytes:
        """Sign the tree as it is now, if it has grown since; the checkpoint.

        Raises:
            RollbackError: the database does not continue what was signed; nothing is signed any more.
            UnavailableError: the copy cannot be written, so nothing was published.
        """
        await self._publish()
        return self.checkpoint()

    async def prove(self, index: int, *, disclose: bool = False) -> bytes:
        """A tlog-proof of the entry at ``index``; ``disclose``: with the entry in it. Signs a checkpoint if it must.

        Raises:
            NotFoundError: there is no such entry.
            ErasedError: it cannot be disclosed any more.
            ChangedError: what is stored is not what was signed for.
            RollbackError: a checkpoint is needed and must not be signed.
        """
        if not 0 <= index < self.size:
            raise NotFoundError(f"the ledger has no entry {index}")
        if not self._reaches(index):
            await self._publish(index)
        return await asyncio.to_thread(self.proof, index, disclose=disclose)

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

    async def _publish(self, index: int | None = None) -> None:
        """Publish; with ``index``, only if the last checkpoint does not reach it.

        It goes on when whoever asked goes away: given up half-way, its thread would write the copy beside the next one.
        """
        task = asyncio.create_task(self._publish_alone(index))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _publish_alone(self, index: int | None) -> None:
        async with self._publishing:
            if index is not None and self._reaches(index):  # it does since this waited
                return
            fresh = await asyncio.to_thread(self._sign)
            if fresh is not None:
                await self._storage.write(lambda tx: self._keep(tx, *fresh))
                self._published = fresh
            self._trouble = None

    def _reaches(self, index: int) -> bool:
        return self._published is not None and index < self._published[0].size

    async def _publish_periodically(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PUBLISH_EVERY.total_seconds()):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return
            await self._publish_or_note()

    async def _publish_or_note(self) -> None:
        """Publish; what stands against it is told by `trouble`, and by the readiness that asks it."""
        try:
            await self._publish()
        except Error as error:
            self._trouble = str(error)
        except SQLAlchemyError:
            self._trouble = "the database cannot be read, so no checkpoint is signed"

    def _restore(self, connection: Connection) -> None:
        """Take up what was signed before, and look whether the database continues it."""
        try:
            if (row := store.last_checkpoint(connection)) is not None:
                self._published = open_checkpoint(row.note, self._signer.verifier)[0], row.note
            self._require_continuation(connection)
        except RollbackError as error:
            self._refusal = _again(error)
        except Error as error:
            self._refusal = RollbackError(
                f"the last checkpoint in the database is not one of this log: {error.message}",
                place="ledger_checkpoints",
                todo="bring back the database as it was, or the root key that belongs to it",
            )

    def _require_continuation(self, connection: Connection) -> None:
        size, _ = store.read_head(connection)
        nodes = TileNodes(lambda level, n: store.read_tile(connection, level, n))
        if self._published is not None:
            require_continuation(self._published[0], size=size, nodes=nodes, place="the last checkpoint")
        if self._copy is None:
            return
        copied = read_copy(self._copy, self._signer.verifier)
        if copied is not None:
            require_continuation(copied[0], size=size, nodes=nodes, place=str(self._copy))
        elif store.was_copied(connection):
            raise missing_copy(self._copy)

    def _sign(self) -> tuple[Checkpoint, bytes] | None:
        """A checkpoint of what is durable, already copied; none where the last one still tells all."""
        self._require_sound()
        try:
            with self._storage.reading() as connection:
                self._require_continuation(connection)
                size, _ = store.read_head(connection)
                nodes = TileNodes(lambda level, n: store.read_tile(connection, level, n))
                if self._published is not None and self._published[0].size == size:
                    fresh = None
                else:
                    checkpoint = Checkpoint(self.origin, size, tree_root(size, nodes))
                    fresh = checkpoint, self._signer.sign(checkpoint.text())
        except RollbackError as error:
            self._refusal = _again(error)
            raise
        if self._copy is not None and (fresh is not None or not self._copy.exists()):
            # Before the database has it: a copy is never of more than what is durable, and never behind for long.
            write_copy(self._copy, self.checkpoint() if fresh is None else fresh[1])
        return fresh

    def _keep(self, tx: Transaction, checkpoint: Checkpoint, note: bytes) -> None:
        store.set_origin(tx.connection, self.origin)
        store.add_checkpoint(
            tx.connection, size=checkpoint.size, at=milliseconds(tx.now), copied=self._copy is not None, note=note
        )

    def _require_sound(self) -> None:
        if self._refusal is not None:
            raise _again(self._refusal)

    def _begin(self, tx: Transaction) -> None:
        self._require_sound()
        if tx is self._flushed:
            raise ConflictError("an entry came too late for its batch, so it would not be written")
        self._flushed = None
        if self._edge is None:
            size, _ = store.read_head(tx.connection)
            self._edge = Edge.load(size, lambda level, n: store.read_tile(tx.connection, level, n))
        self._tx, self._first, self._rows = tx, self._edge.size, []

    def _flush(self, tx: Transaction) -> None:
        """Write what the batch appended, and the tree that it makes."""
        if tx is not self._tx or self._edge is None:
            return
        self._tx, self._flushed = None, tx
        edge, first, rows = self._edge, self._first, self._rows
        tiles = edge.extend([leaf_hash(commitment) for _, _, _, _, commitment, _, _ in rows])
        if not store.grow_head(tx.connection, expected=first, size=edge.size, origin=self.origin):
            raise ConflictError(
                "someone else has written to the ledger", todo="see that one server runs on this database, then restart"
            )
        try:
            store.add_entries(tx.connection, rows)
        except IntegrityError as error:
            raise ConflictError("an entry of this id is on record", todo="look for it: `Ledger.find`") from error
        store.put_tiles(tx.connection, tiles)
        tx.publish(TOPIC, str(first), encode(Grown(first, edge.size)))

    def _forget(self) -> None:
        self._tx = None
        if self._flushed is not None:  # the edge has grown by what was not committed
            self._edge = None

    def _grown(self, _key: str, body: bytes) -> None:
        self.size = msgspec.json.decode(body, type=Grown).size


def _again(error: RollbackError) -> RollbackError:
    """The same error without the frames that it was raised through, to keep and to raise as often as need be."""
    return RollbackError(error.message, place=error.place, todo=error.todo)
