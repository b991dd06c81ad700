from typing import Any

import pytest
from sqlalchemy import select

from everproof.kernel.errors import ConflictError, NotFoundError, RefusedError
from everproof.kernel.words import Ref
from everproof.keys import Keyring, RootKey, RootKeyError, Sealed, store
from everproof.keys.root import LocalRootKey
from everproof.storage import Storage, Transaction
from tests.keys.conftest import Reopen

House = tuple[Storage, Keyring]
NEW = LocalRootKey(b"\2" * 32)


def seal_some(storage: Storage, keyring: Keyring, names: str) -> list[Sealed]:
    return storage.write_now(lambda tx: [keyring.seal(tx, Ref("User", name), b"x", context=b"") for name in names])


def all_open(keyring: Keyring, sealed: list[Sealed]) -> bool:
    return all(keyring.open(one.key_id, one.data, context=b"") == b"x" for one in sealed)


def versions(storage: Storage, table: Any = store.data_keys) -> list[int]:
    column = table.c.keyring if table is store.data_keys else table.c.version
    with storage.reading() as connection:
        return sorted(connection.scalars(select(column)))


def test_after_a_rotation_old_versions_open_and_the_new_one_wraps(house: House, reopen: Reopen) -> None:
    storage, keyring = house
    old = seal_some(storage, keyring, "abc")
    assert storage.write_now(keyring.rotate) == 2
    new = seal_some(storage, keyring, "de")
    assert versions(storage) == [1, 1, 1, 2, 2]
    storage, keyring = reopen()
    assert all_open(keyring, old + new)


def test_rewrapping_moves_all_and_then_destroys_the_old_version(house: House, reopen: Reopen) -> None:
    storage, keyring = house
    sealed = seal_some(storage, keyring, "abcde")
    storage.write_now(keyring.rotate)
    moved = [storage.write_now(lambda tx: keyring.rewrap(tx, limit=2)) for _ in range(3)]
    assert moved == [2, 2, 1]
    assert versions(storage) == [2] * 5
    assert versions(storage, store.keyring_keys) == [2]
    assert all_open(keyring, sealed)
    storage, keyring = reopen()
    assert all_open(keyring, sealed)
    assert storage.write_now(keyring.rotate) == 3


def test_an_erased_key_does_not_hold_back_the_old_version(house: House) -> None:
    storage, keyring = house
    seal_some(storage, keyring, "a")
    storage.write_now(lambda tx: keyring.erase(tx, Ref("User", "a")))
    storage.write_now(keyring.rotate)
    assert storage.write_now(keyring.rewrap) == 0
    assert versions(storage, store.keyring_keys) == [2]


def test_rotation_and_rewrapping_in_one_commit_lose_nothing(house: House, reopen: Reopen) -> None:
    storage, keyring = house
    sealed = seal_some(storage, keyring, "ab")

    def both(tx: Transaction) -> None:
        keyring.rotate(tx)
        keyring.rotate(tx)
        keyring.rewrap(tx)

    storage.write_now(both)
    storage, keyring = reopen()
    assert all_open(keyring, sealed + seal_some(storage, keyring, "c"))
    storage.write_now(keyring.rewrap)
    assert versions(storage, store.keyring_keys) == [3]
    assert all_open(keyring, sealed)


def test_a_rotation_that_is_rolled_back_never_was(house: House, reopen: Reopen) -> None:
    storage, keyring = house

    def fails(tx: Transaction) -> None:
        keyring.rotate(tx)
        raise RefusedError("after all, no")

    with pytest.raises(RefusedError):
        storage.write_now(fails)
    sealed = seal_some(storage, keyring, "a")
    assert versions(storage) == [1]
    assert versions(storage, store.keyring_keys) == [1]
    _, keyring = reopen()
    assert all_open(keyring, sealed)


def test_while_root_keys_overlap_both_open_and_then_only_the_new_one(
    house: House, root: RootKey, database_url: str
) -> None:
    storage, keyring = house
    storage.write_now(keyring.rotate)
    sealed = seal_some(storage, keyring, "ab")
    storage.write_now(lambda tx: keyring.admit_root(tx, NEW))
    assert all_open(Keyring(storage, root), sealed)
    with_new = Keyring(storage, NEW)
    assert all_open(with_new, sealed)
    with pytest.raises(ConflictError, match="being rotated"):
        storage.write_now(with_new.rotate)
    storage.write_now(lambda tx: with_new.retire_root(tx, root.id))
    with pytest.raises(RootKeyError, match=NEW.id):
        Keyring(storage, root)
    storage.close()
    storage = Storage.open(database_url)
    with_new = Keyring(storage, NEW)
    assert all_open(with_new, sealed)
    assert storage.write_now(with_new.rotate) == 3
    storage.close()


def test_the_root_key_can_be_exchanged_in_one_commit(house: House, root: RootKey) -> None:
    storage, keyring = house
    sealed = seal_some(storage, keyring, "a")

    def exchange(tx: Transaction) -> None:
        keyring.admit_root(tx, NEW)
        keyring.retire_root(tx, root.id)

    storage.write_now(exchange)
    with pytest.raises(RootKeyError):
        Keyring(storage, root)
    assert all_open(Keyring(storage, NEW), sealed)


def test_an_exchange_that_fails_leaves_the_old_root_key(house: House, root: RootKey) -> None:
    storage, keyring = house
    sealed = seal_some(storage, keyring, "a")

    def fails(tx: Transaction) -> None:
        keyring.admit_root(tx, NEW)
        keyring.retire_root(tx, root.id)
        raise RefusedError("after all, no")

    with pytest.raises(RefusedError):
        storage.write_now(fails)
    assert all_open(Keyring(storage, root), sealed)
    with pytest.raises(RootKeyError):
        Keyring(storage, NEW)


def test_admitting_twice_is_admitting_once(house: House) -> None:
    storage, keyring = house
    for _ in range(2):
        storage.write_now(lambda tx: keyring.admit_root(tx, NEW))
    assert versions(storage, store.keyring_keys) == [1, 1]
    assert all_open(Keyring(storage, NEW), seal_some(storage, keyring, "a"))


def test_the_last_root_key_stays(house: House, root: RootKey) -> None:
    storage, keyring = house
    with pytest.raises(ConflictError, match="only root key"):
        storage.write_now(lambda tx: keyring.retire_root(tx, root.id))
    with pytest.raises(NotFoundError):
        storage.write_now(lambda tx: keyring.retire_root(tx, "f" * 32))
