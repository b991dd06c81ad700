"""The keyring's own keys: the root key wraps them, and the newest of them wraps data keys."""

import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Row

from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import ConflictError, NotFoundError
from everproof.keys import store
from everproof.keys.envelope import KEY_BYTES, SealError, open_with, seal_with
from everproof.keys.root import RootKey, RootKeyError
from everproof.storage import Storage, Transaction

ROTATED_TOPIC = "keys.rotated"


class WrappingKeys:
    """All versions of the keyring's key, unwrapped. A new version is used once it is durable."""

    def __init__(self, storage: Storage, root: RootKey) -> None:
        self._storage = storage
        self._root = root
        self._ciphers: dict[int, AESGCM] = {}
        self._load()
        if not self._ciphers:
            storage.write_now(self._add)
            self._load()
        # At once: a key wrapped by a version that is being given up would be lost with it.
        storage.subscribe(ROTATED_TOPIC, lambda _key, _body: self._load(), at_once=True, decides=False)

    @property
    def newest(self) -> int:
        """The version that wraps from here on."""
        return max(self._ciphers)

    def wrap(self, secret: bytes, *, key_id: str, about: bytes, version: int) -> bytes:
        """A data key wrapped by ``version``, tied to its row."""
        return seal_with(self._ciphers[version], secret, _data_context(key_id, about, version))

    def unwrap(self, row: Row[Any]) -> bytes:
        """The data key of a row.

        Raises:
            SealError: the row was changed.
        """
        if row.keyring not in self._ciphers:  # rotated by the server, and this is a reader beside it
            self._load()
        if row.keyring not in self._ciphers:
            raise SealError(f"version {row.keyring} of the keyring is not on record", place=row.id)
        context = _data_context(row.id, row.about, row.keyring)
        try:
            return open_with(self._ciphers[row.keyring], row.wrapped, context)
        except InvalidTag:
            raise SealError(
                "a data key does not open: its row was changed", place=row.id, todo="restore the database from a backup"
            ) from None

    def rotate(self, tx: Transaction) -> int:
        """As ``Keyring.rotate``."""
        if store.roots(tx.connection) - {self._root.id}:
            raise ConflictError(
                "the root key is being rotated, so the keyring cannot be", todo="retire the old root key first"
            )
        return self._add(tx)

    def rewrap(self, tx: Transaction, *, limit: int) -> int:
        """As ``Keyring.rewrap``."""
        newest = self.newest
        rows = store.data_keys_to_move(tx.connection, newest, limit)
        for row in rows:
            wrapped = self.wrap(self.unwrap(row), key_id=row.id, about=row.about, version=newest)
            store.move_data_key(tx.connection, row.id, keyring=newest, wrapped=wrapped)
        if len(rows) < limit:
            store.remove_idle_versions(tx.connection, newest)
        return len(rows)

    def admit_root(self, tx: Transaction, new: RootKey) -> None:
        """As ``Keyring.admit_root``."""
        wrapped: dict[int, bytes] = {}
        for row in store.read_keyring(tx.connection, self._root.id):
            context = _keyring_context(row.version)
            wrapped[row.version] = new.wrap(self._root.unwrap(row.wrapped, context=context), context=context)
        store.remove_root(tx.connection, new.id)  # an admission that was begun before is begun anew
        now = milliseconds(tx.now)
        for version, key in wrapped.items():
            store.add_keyring_key(tx.connection, version=version, root=new.id, wrapped=key, created=now)

    def retire_root(self, tx: Transaction, root_id: str) -> None:
        """As ``Keyring.retire_root``."""
        known = store.roots(tx.connection)
        if root_id not in known:
            raise NotFoundError(f"no root key {root_id} opens this keyring")
        if known == {root_id}:
            raise ConflictError("the only root key cannot be retired", todo="admit another one first")
        store.remove_root(tx.connection, root_id)

    def _load(self) -> None:
        with self._storage.reading() as connection:
            known = store.roots(connection)
            if not known:
                return
            if self._root.id not in known:
                raise RootKeyError(
                    f"this is root key {self._root.id}, but the database is sealed under {' or '.join(sorted(known))}",
                    place="root_key",
                    todo="give the server the root key that belongs to this database; nothing was changed",
                )
            rows = store.read_keyring(connection, self._root.id)
        loaded = {
            row.version: AESGCM(self._root.unwrap(row.wrapped, context=_keyring_context(row.version)))
            for row in rows
            if row.version not in self._ciphers
        }
        self._ciphers = {**self._ciphers, **loaded}  # replaced, since other threads look into it

    def _add(self, tx: Transaction) -> int:
        version = store.newest_version(tx.connection) + 1
        wrapped = self._root.wrap(os.urandom(KEY_BYTES), context=_keyring_context(version))
        now = milliseconds(tx.now)
        store.add_keyring_key(tx.connection, version=version, root=self._root.id, wrapped=wrapped, created=now)
        tx.publish(ROTATED_TOPIC, str(version))
        return version


def _keyring_context(version: int) -> bytes:
    return encode(["everproof", "keyring key", version])


def _data_context(key_id: str, about: bytes, version: int) -> bytes:
    """Ties a wrapped key to its row: moved to another subject or another keyring version, it does not open."""
    return encode(["everproof", "data key", key_id, about.hex(), version])
