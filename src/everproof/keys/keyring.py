"""The keyring: the root key wraps it, it wraps a data key for each subject, and those seal what is kept.

Erasing a subject destroys its data keys. Everything is keyed by random ids, so whatever sees an id can trust that the
key behind it never changes.
"""

import hashlib
import os
import threading
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import Error, NotFoundError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.keys import store
from everproof.keys.envelope import FORM, KEY_BYTES, SealError, fresh_nonce, open_with
from everproof.keys.root import RootKey
from everproof.keys.wrapping import WrappingKeys
from everproof.storage import Storage, Transaction

MAX_USES: Final = 1 << 28
"""Seals under one data key. With random 96-bit nonces NIST allows 2**32; at 2**28 the chance that any two met is
still below 2**-40."""

RESERVED_USES: Final = 1 << 12
"""Uses are counted in the database so many at a time: one update in 4,096 seals, and a restart wastes no more."""

CACHED_KEYS: Final = 20_000
"""Unwrapped data keys kept in memory, some 50 MB; an older one is read and unwrapped again (about 0.2 ms)."""

SERVER: Final = Ref("Server", "keys")
"""Whose key seals what belongs to the server itself, such as its signing keys. It cannot be erased."""

ERASED_TOPIC: Final = "keys.erased"


class ErasedError(Error):
    """The key was destroyed, so what it sealed can never be read."""

    code = "erased"
    status = 410


class Sealed(msgspec.Struct, frozen=True):
    """Sealed bytes and the id of the data key that opens them."""

    key_id: str
    data: bytes


class _DataKey:
    """An unwrapped data key, and how often it may be used before more uses are reserved."""

    __slots__ = ("cipher", "id", "left")

    def __init__(self, key_id: str, cipher: AESGCM, left: int = 0) -> None:
        self.id = key_id
        self.cipher = cipher
        self.left = left


class _Batch:
    """What one transaction did: whose keys it took into memory, and the rows of new keys, written together."""

    __slots__ = ("flushed", "rows", "touched")

    def __init__(self) -> None:
        self.touched: list[tuple[Ref, str]] = []
        self.rows: list[dict[str, Any]] = []
        self.flushed = False


class Keyring:
    """Seals and opens for the whole house. Made before the storage is started: the first start makes its first key.

    ``seal``, ``erase`` and the rotations belong to the writer's thread, within a transaction; ``open`` to any.
    """

    def __init__(self, storage: Storage, root: RootKey) -> None:
        """Load the keyring.

        Raises:
            RootKeyError: ``root`` is not the one that the database was sealed under. Nothing was changed.
        """
        self._storage = storage
        self._wrapping = WrappingKeys(storage, root)
        self._sealing: dict[Ref, _DataKey] = {}
        self._opening: dict[str, _DataKey] = {}
        self._erased: set[str] = set()
        self._batch = _Batch()
        self._lock = threading.Lock()
        storage.before_commit(self._flush)
        storage.after_rollback(self._forget)
        # At once: nothing may be sealed by a key that another server has destroyed.
        storage.subscribe(ERASED_TOPIC, self._drop, at_once=True, decides=False)

    def seal(self, tx: Transaction, about: Ref, plaintext: bytes, *, context: bytes) -> Sealed:
        """``plaintext`` sealed under the key of ``about``, which is made within ``tx`` where there is none yet.

        ``context`` is not kept: to open, the same must be given again. It says what this is and where it belongs.
        """
        key = self._sealing.get(about)
        if key is None or key.left <= 0:
            key = self._ready(tx, about)
        key.left -= 1
        nonce = fresh_nonce()
        return Sealed(key.id, FORM + nonce + key.cipher.encrypt(nonce, plaintext, context))

    def open(self, key_id: str, data: bytes, *, context: bytes) -> bytes:
        """What was sealed.

        Raises:
            ErasedError: the key was destroyed.
            NotFoundError: there never was such a key here.
            SealError: ``data`` was changed, or was sealed for another ``context``.
        """
        key = self._opening.get(key_id) or self._load(key_id)
        try:
            return open_with(key.cipher, data, context)
        except InvalidTag:
            raise SealError(
                "sealed bytes do not open: they were changed, or moved from where they belong",
                place=key_id,
                todo="restore the database from a backup; see docs/keys.md",
            ) from None

    def erase(self, tx: Transaction, about: Ref) -> int:
        """Destroy every key of ``about``, and nothing else; how many there were. What is sealed later has a new key."""
        if about == SERVER:
            raise RefusedError("the server's own key cannot be erased", todo="rotate the keyring instead")
        # At once, not after the commit: the next batch seals before the feed is heard, and must not use a dead key.
        self._sealing.pop(about, None)
        self._write(tx)
        ids = store.erase_data_keys(tx.connection, _digest(about), now=milliseconds(tx.now))
        for key_id in ids:
            tx.publish(ERASED_TOPIC, key_id)
        return len(ids)

    def rotate(self, tx: Transaction) -> int:
        """Wrap data keys with a new keyring key from the commit on; its version. The older ones still open.

        Raises:
            ConflictError: two root keys open the keyring, and only one of them is at hand.
        """
        return self._wrapping.rotate(tx)

    def rewrap(self, tx: Transaction, *, limit: int = 1_000) -> int:
        """Move up to ``limit`` data keys to the newest keyring key; how many were moved.

        When none are left to move, the older keyring keys are destroyed.
        """
        return self._wrapping.rewrap(tx, limit=limit)

    def admit_root(self, tx: Transaction, new: RootKey) -> None:
        """Let ``new`` open the keyring too, in one transaction. Both do until one of them is retired."""
        self._wrapping.admit_root(tx, new)

    def retire_root(self, tx: Transaction, root_id: str) -> None:
        """Let the root key of this id open the keyring no more.

        Raises:
            ConflictError: it is the only one.
            NotFoundError: it does not open the keyring as it is.
        """
        self._wrapping.retire_root(tx, root_id)

    def _ready(self, tx: Transaction, about: Ref) -> _DataKey:
        """The subject's key with uses left: from the database, or made there."""
        self._batch = tx.staged("keys", _Batch)
        if about in self._sealing:
            self._write(tx)  # the key that was used up may have been made in this very batch
        digest = _digest(about)
        row = store.newest_data_key(tx.connection, digest)
        if row is not None and row.reserved + RESERVED_USES <= MAX_USES:
            key = self._opening.get(row.id) or _DataKey(row.id, AESGCM(self._wrapping.unwrap(row)))
            key.left = RESERVED_USES
            store.reserve(tx.connection, row.id, row.reserved + RESERVED_USES)
        else:
            key = self._make(tx, digest, number=1 if row is None else row.number + 1)
        self._batch.touched.append((about, key.id))
        self._keep(key)
        if len(self._sealing) >= CACHED_KEYS:
            del self._sealing[next(iter(self._sealing))]
        self._sealing[about] = key
        return key

    def _make(self, tx: Transaction, digest: bytes, *, number: int) -> _DataKey:
        secret = os.urandom(KEY_BYTES)
        now = milliseconds(tx.now)
        key_id = new_id("key", milliseconds=now)
        version = self._wrapping.newest
        wrapped = self._wrapping.wrap(secret, key_id=key_id, about=digest, version=version)
        self._batch.rows.append(
            {"id": key_id, "about": digest, "number": number, "keyring": version, "wrapped": wrapped,
             "reserved": RESERVED_USES, "created": now}
        )  # fmt: skip
        if self._batch.flushed:
            self._write(tx)
        return _DataKey(key_id, AESGCM(secret), RESERVED_USES)

    def _flush(self, tx: Transaction) -> None:
        self._write(tx)
        tx.staged("keys", _Batch).flushed = True  # a participant after this one may still seal

    def _write(self, tx: Transaction) -> None:
        batch = tx.staged("keys", _Batch)
        if batch.rows:
            store.add_data_keys(tx.connection, batch.rows)
            batch.rows = []

    def _keep(self, key: _DataKey) -> None:
        with self._lock:
            if len(self._opening) >= CACHED_KEYS:
                del self._opening[next(iter(self._opening))]
            self._opening[key.id] = key

    def _load(self, key_id: str) -> _DataKey:
        with self._storage.reading() as connection:
            row = store.read_data_key(connection, key_id)
        if row is None:
            raise NotFoundError("no such key is on record", place=key_id)
        if row.wrapped is None:
            raise _erased(key_id)
        key = _DataKey(key_id, AESGCM(self._wrapping.unwrap(row)))
        self._keep(key)
        if key_id in self._erased:  # erased since the row was read; `_drop` notes it before it looks at the cache
            self._drop(key_id)
            raise _erased(key_id)
        return key

    def _forget(self) -> None:
        """Drop what the batch that was rolled back may have put into memory. Dropping too much costs a look-up."""
        for about, key_id in self._batch.touched:
            self._sealing.pop(about, None)
            with self._lock:
                self._opening.pop(key_id, None)
        self._batch = _Batch()

    def _drop(self, key_id: str, _body: bytes = b"") -> None:
        self._erased.add(key_id)
        for about in [about for about, key in list(self._sealing.items()) if key.id == key_id]:
            self._sealing.pop(about, None)
        with self._lock:
            self._opening.pop(key_id, None)


def _erased(key_id: str) -> ErasedError:
    return ErasedError("its key was destroyed when the person it speaks of was erased", place=key_id)


def _digest(about: Ref) -> bytes:
    """What stands for the subject in the table, so that the table does not name anyone."""
    return hashlib.sha256(encode([about.type, about.id])).digest()
