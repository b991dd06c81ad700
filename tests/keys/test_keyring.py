import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import insert, select, text, update

from everproof.kernel.errors import NotFoundError, RefusedError
from everproof.kernel.words import Ref
from everproof.keys import ErasedError, Keyring, RootKey, RootKeyError, Sealed, SealError, store
from everproof.keys import keyring as keyring_module
from everproof.keys.keyring import MAX_USES, RESERVED_USES, SERVER
from everproof.keys.root import LocalRootKey
from everproof.storage import Storage, Transaction, metadata
from tests.conftest import SettableClock
from tests.keys.conftest import Reopen

ALICE = Ref("User", "alice")
BOB = Ref("User", "bob")
WHERE = b"the place it belongs"

House = tuple[Storage, Keyring]


def seal(keyring: Keyring, about: Ref = ALICE, what: bytes = b"what was said") -> Callable[[Transaction], Sealed]:
    return lambda tx: keyring.seal(tx, about, what, context=WHERE)


def opened(keyring: Keyring, sealed: Sealed) -> bytes:
    return keyring.open(sealed.key_id, sealed.data, context=WHERE)


def rows(storage: Storage) -> list[Any]:
    with storage.reading() as connection:
        return list(connection.execute(select(store.data_keys).order_by(store.data_keys.c.created)))


def whole(storage: Storage) -> dict[str, list[Any]]:
    with storage.reading() as connection:
        return {
            table.name: sorted(map(str, connection.execute(select(table))))
            for table in metadata.sorted_tables
            if table.name.startswith("keys_")
        }


def test_what_is_sealed_opens_here_and_after_a_restart(house: House, reopen: Reopen) -> None:
    storage, keyring = house
    sealed = storage.write_now(seal(keyring))
    assert opened(keyring, sealed) == b"what was said"
    assert b"what was said" not in sealed.data
    _, keyring = reopen()
    assert opened(keyring, sealed) == b"what was said"


def test_a_subject_has_one_key_and_no_other_has_it(house: House) -> None:
    storage, keyring = house
    first, second, other = (storage.write_now(seal(keyring, about)) for about in (ALICE, ALICE, BOB))
    assert first.key_id == second.key_id != other.key_id
    assert first.data != second.data
    with pytest.raises(SealError, match="do not open"):
        keyring.open(other.key_id, first.data, context=WHERE)


def test_sealed_bytes_moved_elsewhere_do_not_open(house: House) -> None:
    storage, keyring = house
    sealed = storage.write_now(seal(keyring))
    with pytest.raises(SealError) as caught:
        keyring.open(sealed.key_id, sealed.data, context=b"another place")
    assert caught.value.place == sealed.key_id


def test_an_unknown_key_is_not_found(house: House) -> None:
    with pytest.raises(NotFoundError):
        house[1].open("key_0198c1f2a7b37c4e9d3f5a6b7c8d9e0f", b"", context=b"")


def test_erasing_destroys_that_subjects_keys_and_nothing_else(
    house: House, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_module, "MAX_USES", RESERVED_USES)
    storage, keyring = house
    hers = storage.write_now(seal(keyring))
    storage, keyring = reopen()
    hers_later = storage.write_now(seal(keyring))
    his = storage.write_now(seal(keyring, BOB))
    assert len({hers.key_id, hers_later.key_id, his.key_id}) == 3
    assert storage.write_now(lambda tx: keyring.erase(tx, ALICE)) == 2
    assert storage.write_now(lambda tx: keyring.erase(tx, ALICE)) == 0
    for _ in range(2):
        for sealed in (hers, hers_later):
            with pytest.raises(ErasedError, match="destroyed"):
                opened(keyring, sealed)
        assert opened(keyring, his) == b"what was said"
        storage, keyring = reopen()
    anew = storage.write_now(seal(keyring))
    assert anew.key_id not in {hers.key_id, hers_later.key_id}
    assert opened(keyring, anew) == b"what was said"


def test_nothing_sealed_in_the_commit_that_erases_is_lost(house: House) -> None:
    storage, keyring = house

    def change(tx: Transaction) -> tuple[Sealed, Sealed]:
        before = keyring.seal(tx, ALICE, b"before", context=WHERE)
        assert keyring.erase(tx, ALICE) == 1
        return before, keyring.seal(tx, ALICE, b"after", context=WHERE)

    before, after = storage.write_now(change)
    with pytest.raises(ErasedError):
        opened(keyring, before)
    assert opened(keyring, after) == b"after"


async def test_a_batch_after_an_erasure_never_uses_the_dead_key(house: House) -> None:
    storage, keyring = house
    await storage.start()
    for _ in range(50):
        await storage.write(seal(keyring))
        erasing = storage.write(lambda tx: keyring.erase(tx, ALICE))
        sealing = [storage.write(seal(keyring)) for _ in range(3)]
        await asyncio.sleep(0)
        sealing += [storage.write(seal(keyring)) for _ in range(3)]
        assert await erasing == 1
        for sealed in await asyncio.gather(*sealing):
            assert opened(keyring, sealed) == b"what was said"
    await storage.stop()


def test_a_reader_that_overlaps_an_erasure_does_not_bring_the_key_back(
    house: House, monkeypatch: pytest.MonkeyPatch, reopen: Reopen
) -> None:
    storage, keyring = house
    sealed = storage.write_now(seal(keyring))
    storage, keyring = reopen()
    read, erased = threading.Event(), threading.Event()
    original = store.read_data_key

    def slow(*arguments: Any) -> Any:
        row = original(*arguments)
        read.set()
        assert erased.wait(10)
        return row

    monkeypatch.setattr(store, "read_data_key", slow)
    outcome: list[BaseException] = []

    def look() -> None:
        try:
            opened(keyring, sealed)
        except ErasedError as error:
            outcome.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    assert read.wait(10)
    storage.write_now(lambda tx: keyring.erase(tx, ALICE))
    erased.set()
    thread.join()
    assert len(outcome) == 1
    with pytest.raises(ErasedError):
        opened(keyring, sealed)


def test_an_erased_key_is_overwritten_in_the_file(tmp_path: Path, root: RootKey) -> None:
    file = tmp_path / "everproof.db"
    storage = Storage.open(f"sqlite:///{file}")
    keyring = Keyring(storage, root)
    for name in ("carol", "alice", "dave"):
        storage.write_now(seal(keyring, Ref("User", name)))
    [_, her_key, _] = rows(storage)
    storage.close()  # the last to close moves the log into the file
    assert her_key.wrapped in file.read_bytes()
    storage = Storage.open(f"sqlite:///{file}")
    keyring = Keyring(storage, root)
    storage.write_now(lambda tx: tx.connection.exec_driver_sql("pragma secure_delete=off"))  # some builds have it on
    storage.write_now(lambda tx: keyring.erase(tx, ALICE))
    storage.close()
    remains = b"".join(path.read_bytes() for path in tmp_path.glob("everproof.db*"))
    assert her_key.wrapped not in remains
    assert her_key.wrapped[16:40] not in remains
    assert her_key.about not in remains


def test_the_tables_name_nobody(house: House) -> None:
    storage, keyring = house
    storage.write_now(seal(keyring, Ref("User", "zebedee")))
    assert "zebedee" not in str(whole(storage))


def test_a_key_made_in_a_batch_that_is_rolled_back_is_not_believed_to_be_stored(house: House, reopen: Reopen) -> None:
    storage, keyring = house
    lost: list[Sealed] = []

    def fails(tx: Transaction) -> None:
        lost.append(keyring.seal(tx, ALICE, b"lost", context=WHERE))
        raise RefusedError("after all, no")

    with pytest.raises(RefusedError):
        storage.write_now(fails)
    assert rows(storage) == []
    sealed = storage.write_now(seal(keyring))
    assert sealed.key_id != lost[0].key_id
    with pytest.raises(NotFoundError):
        opened(keyring, lost[0])
    _, keyring = reopen()
    assert opened(keyring, sealed) == b"what was said"


async def test_one_failing_change_does_not_cost_its_neighbours_their_keys(house: House, reopen: Reopen) -> None:
    storage, keyring = house

    def fails(tx: Transaction) -> None:
        keyring.seal(tx, BOB, b"lost", context=WHERE)
        raise RefusedError("after all, no")

    await storage.start()
    futures = [storage.write(change) for change in (seal(keyring), fails, seal(keyring, BOB), fails, seal(keyring))]
    results = await asyncio.gather(*futures, return_exceptions=True)
    await storage.stop()
    _, keyring = reopen()
    sealed = [result for result in results if isinstance(result, Sealed)]
    assert len(sealed) == 3
    assert [opened(keyring, one) for one in sealed] == [b"what was said"] * 3


def test_a_participant_that_seals_at_the_commit_is_kept_too(house: House, reopen: Reopen) -> None:
    storage, keyring = house
    sealed: list[Sealed] = []
    storage.before_commit(lambda tx: sealed.append(keyring.seal(tx, BOB, b"late", context=WHERE)))
    storage.write_now(seal(keyring))
    _, keyring = reopen()
    assert opened(keyring, sealed[0]) == b"late"


def test_uses_are_counted_over_restarts_and_the_key_is_changed_in_time(
    house: House, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_USES <= 1 << 32 >> 4  # well below the bound of NIST SP 800-38D, section 8.3
    monkeypatch.setattr(keyring_module, "RESERVED_USES", 4)
    monkeypatch.setattr(keyring_module, "MAX_USES", 12)
    storage, keyring = house
    sealed = [storage.write_now(seal(keyring)) for _ in range(5)]
    storage, keyring = reopen()
    sealed += [storage.write_now(seal(keyring)) for _ in range(5)]
    ids = list(dict.fromkeys(one.key_id for one in sealed))
    assert [sum(one.key_id == key_id for one in sealed) for key_id in ids] == [9, 1]  # 3 were wasted by the restart
    assert [row.number for row in sorted(rows(storage), key=lambda row: int(row.number))] == [1, 2]
    assert all(opened(keyring, one) == b"what was said" for one in sealed)


def test_a_key_may_be_used_up_within_one_batch(house: House, monkeypatch: pytest.MonkeyPatch, reopen: Reopen) -> None:
    monkeypatch.setattr(keyring_module, "RESERVED_USES", 2)
    monkeypatch.setattr(keyring_module, "MAX_USES", 4)
    storage, keyring = house
    sealed = storage.write_now(lambda tx: [seal(keyring)(tx) for _ in range(9)])
    assert len({one.key_id for one in sealed}) == 3
    _, keyring = reopen()
    assert all(opened(keyring, one) == b"what was said" for one in sealed)


def test_memory_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_module, "CACHED_KEYS", 3)
    storage, keyring = house
    sealed = [storage.write_now(seal(keyring, Ref("User", str(number)))) for number in range(8)]
    assert len(keyring._sealing) == len(keyring._opening) == 3
    assert all(opened(keyring, one) == b"what was said" for one in sealed)
    assert storage.write_now(seal(keyring, Ref("User", "0"))).key_id == sealed[0].key_id


def test_a_wrong_root_key_is_refused_and_changes_nothing(house: House) -> None:
    storage, keyring = house
    storage.write_now(seal(keyring))
    before = whole(storage)
    wrong = LocalRootKey(b"\1" * 32)
    with pytest.raises(RootKeyError, match="sealed under") as caught:
        Keyring(storage, wrong)
    assert wrong.id in str(caught.value)
    assert "nothing was changed" in (caught.value.todo or "")
    assert whole(storage) == before


def test_a_reader_beside_the_server_opens_and_cannot_seal(
    house: House, database_url: str, root: RootKey, clock: SettableClock
) -> None:
    storage, keyring = house
    sealed = storage.write_now(seal(keyring))
    beside = Storage.open_read_only(database_url, clock=clock)
    reader = Keyring(beside, root)
    assert opened(reader, sealed) == b"what was said"
    storage.write_now(keyring.rotate)
    later = storage.write_now(seal(keyring, BOB))
    assert opened(reader, later) == b"what was said"
    beside.close()


def test_the_servers_own_key_cannot_be_erased(house: House) -> None:
    storage, keyring = house
    with pytest.raises(RefusedError):
        storage.write_now(lambda tx: keyring.erase(tx, SERVER))


def test_a_subjects_key_put_in_anothers_place_does_not_open(house: House, reopen: Reopen) -> None:
    storage, keyring = house
    hers, his = storage.write_now(seal(keyring)), storage.write_now(seal(keyring, BOB))
    columns = store.data_keys.c
    with storage.reading() as connection:
        wrapped = connection.scalar(select(columns.wrapped).where(columns.id == his.key_id))

    def tamper(tx: Transaction) -> None:
        tx.connection.execute(update(store.data_keys).where(columns.id == hers.key_id).values(wrapped=wrapped))

    storage.write_now(tamper)
    storage, keyring = reopen()
    with pytest.raises(SealError, match="row was changed"):
        opened(keyring, hers)
    with pytest.raises(SealError):
        storage.write_now(seal(keyring))


def test_a_keyring_key_put_in_by_another_does_not_open(house: House, root: RootKey) -> None:
    storage, _ = house

    def tamper(tx: Transaction) -> None:
        wrapped = LocalRootKey(b"\1" * 32).wrap(bytes(32), context=b"")
        tx.connection.execute(
            insert(store.keyring_keys), {"version": 2, "root": root.id, "wrapped": wrapped, "created": 0}
        )

    storage.write_now(tamper)
    with pytest.raises(RootKeyError, match="changed or belongs elsewhere"):
        Keyring(storage, root)


def test_no_secret_is_in_a_repr_an_error_or_the_database(
    house: House, monkeypatch: pytest.MonkeyPatch, clock: SettableClock
) -> None:
    storage, keyring = house
    secrets: list[bytes] = []

    def watched(secret: bytes) -> AESGCM:
        secrets.append(secret)
        return AESGCM(secret)

    monkeypatch.setattr(keyring_module, "AESGCM", watched)
    sealed = storage.write_now(seal(keyring, ALICE, b"plain words"))
    clock.advance(timedelta(seconds=5))
    shown = repr(sealed) + repr(vars(keyring)) + str(whole(storage))
    with pytest.raises(SealError) as caught:
        keyring.open(sealed.key_id, sealed.data, context=b"")
    shown += repr(caught.value) + str(caught.value) + str(caught.value.todo) + repr(caught.value.__cause__)
    with storage.reading() as connection:
        shown += str(list(connection.execute(text("select * from feed"))))
    assert len(secrets) == 1
    for form in (repr(secrets[0])[2:-1], secrets[0].hex(), "plain words"):
        assert form not in shown
    assert cast("bytes", rows(storage)[0].wrapped) != secrets[0]
