"""The ledger: appends within a batch's transaction, and signs checkpoints of what is durable."""

import asyncio
import os
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import IntegrityError

from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, InputError, NotFoundError
from everproof.kernel.words import Entry
from everproof.keys import Keyring, SigningKey
from everproof.ledger import store
from everproof.ledger.commitment import DOMAIN, SALT_BYTES
from everproof.ledger.cosigning import Witnesses
from everproof.ledger.edge import Edge
from everproof.ledger.merkle import HASH_BYTES, leaf_hash
from everproof.ledger.note import NoteSigner
from everproof.ledger.publisher import Publisher
from everproof.ledger.rollback import RollbackError
from everproof.ledger.view import LedgerView
from everproof.storage import Storage, Transaction

TOPIC: Final = "ledger"
"""The feed's topic: one row a batch, whose body is a `Grown`."""

SALTS_AT_ONCE: Final = 512
"""One system call for this many."""


class Receipt(msgspec.Struct, frozen=True):
    """Where an entry stands, once it is durable; with it anyone may ask for the proof."""

    origin: str
    index: int
    entry_id: str


class Grown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a batch added: entries from ``first`` on, so that there are ``size`` now.

    Where several servers write, with the hashes of the leaves, so that each has the tree's edge without reading it.
    """

    first: int
    size: int
    leaves: bytes = b""


class Ledger(LedgerView):
    """The one that writes. Made before or after the storage is started.

    ``append`` belongs to the writer's thread. Where the database does not continue what was signed before, appending
    and signing are refused; reading is not.
    """

    def __init__(
        self,
        storage: Storage,
        keyring: Keyring,
        signing: SigningKey,
        *,
        origin: str,
        copy: Path | None = None,
        witnesses: Witnesses | None = None,
    ) -> None:
        """Look whether the database continues what was signed. ``refusal`` says so if not; nothing is raised for it.

        ``origin`` names a new log. One that has something to say keeps its name, whatever is given.
        """
        super().__init__(storage, keyring)
        if not isinstance(signing.private, Ed25519PrivateKey):
            raise InputError("checkpoints are signed with Ed25519")
        self._keyring: Keyring = keyring
        self._first = 0
        self._rows: list[store.EntryRow] = []
        self._tx: Transaction | None = None
        self._flushed: Transaction | None = None
        self._edge: Edge | None = None
        self._salts: list[bytes] = []
        with storage.reading() as connection:
            self.size, named = store.read_head(connection)
            self.origin = named or origin
            self._signer = NoteSigner(self.origin, signing.private)
            self._publisher = Publisher(storage, self._signer, copy=copy, witnesses=witnesses)
            self._publisher.restore(connection)
        storage.before_commit(self._flush)
        storage.after_rollback(self._forget)
        storage.subscribe(TOPIC, self._follow, at_once=True, decides=False)
        storage.subscribe(TOPIC, self._grown, decides=False)

    @property
    def vkey(self) -> str:
        """The public key that a stranger needs to verify proofs, in the form of C2SP signed-note."""
        return str(self._signer.verifier)

    @property
    def refusal(self) -> RollbackError | None:
        """Why nothing is appended or signed any more, where that is so."""
        return self._publisher.refusal

    def trouble(self) -> str | None:
        """Why the ledger cannot do its work now, for an operator; None while it can."""
        return str(self.refusal) if self.refusal else self._publisher.trouble

    def warning(self) -> str | None:
        """Which witnesses did not cosign the last time they were asked, and why; None while all did."""
        return self._publisher.warning

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
        """The checkpoint published last, as a signed note.

        Raises:
            NotFoundError: none was published yet.
        """
        published = self._publisher.published
        return super().checkpoint() if published is None else published[1]

    async def publish(self) -> bytes:
        """Sign the tree as it is now, if it has grown since, and have it cosigned; the checkpoint.

        Raises:
            RollbackError: the database does not continue what was signed; nothing is signed any more.
            UnavailableError: the copy cannot be written, so nothing was published.
            QuorumError: too few witnesses cosigned it, so it is not published.
        """
        await self._publisher.publish()
        return self.checkpoint()

    async def prove(self, index: int, *, disclose: bool = False) -> bytes:
        """A tlog-proof of the entry at ``index``; ``disclose``: with the entry in it. Signs a checkpoint if it must.

        Raises:
            NotFoundError: there is no such entry.
            ErasedError: it cannot be disclosed any more.
            ChangedError: what is stored is not what was signed for.
            RollbackError: a checkpoint is needed and must not be signed.
            QuorumError: a checkpoint is needed, and too few witnesses cosign it.
        """
        if index >= self.size and self._storage.generation is not None:
            self.size = max(self.size, await asyncio.to_thread(self.length))  # a receipt of another server
        if not 0 <= index < self.size:
            raise NotFoundError(f"the ledger has no entry {index}")
        if not self._publisher.reaches(index):
            await self._publisher.publish(index)
        return await asyncio.to_thread(self.proof, index, disclose=disclose)

    async def start(self) -> None:
        """Publish a checkpoint now, and from now on whenever the ledger has grown."""
        await self._publisher.start()

    async def stop(self) -> None:
        """Publish what there is, and no more."""
        await self._publisher.stop()

    def _begin(self, tx: Transaction) -> None:
        self._publisher.require_sound()
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
        leaves = [leaf_hash(commitment) for _, _, _, _, commitment, _, _ in rows]
        tiles = edge.extend(leaves)
        if not store.grow_head(tx.connection, expected=first, size=edge.size, origin=self.origin):
            raise ConflictError(
                "someone else has written to the ledger", todo="see that one server runs on this database, then restart"
            )
        try:
            store.add_entries(tx.connection, rows)
        except IntegrityError as error:
            raise ConflictError("an entry of this id is on record", todo="look for it: `Ledger.find`") from error
        store.put_tiles(tx.connection, tiles)
        told = Grown(first, edge.size, b"" if tx.generation is None else b"".join(leaves))
        tx.publish(TOPIC, str(first), msgspec.msgpack.encode(told), quiet=True)

    def _forget(self) -> None:
        self._tx = None
        if self._flushed is not None:  # the edge has grown by what was not committed
            self._edge = None

    def _follow(self, _key: str, body: bytes) -> None:
        """Take along what another server has appended. What was appended here, the edge has already."""
        edge, told = self._edge, msgspec.msgpack.decode(body, type=Grown)
        if edge is None or told.size <= edge.size:
            return
        if edge.size == told.first and len(told.leaves) == HASH_BYTES * (told.size - told.first):
            edge.extend([told.leaves[at : at + HASH_BYTES] for at in range(0, len(told.leaves), HASH_BYTES)])
        else:
            self._edge = None

    def _grown(self, _key: str, body: bytes) -> None:
        self.size = msgspec.msgpack.decode(body, type=Grown).size
