import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select, update

from everproof.kernel.canonical import encode
from everproof.keys import Keyring, SealError, SigningKeys, open_root_key
from everproof.ledger import Ledger, LedgerView, Problem, RollbackError, Verification, verify_ledger, verify_proof
from everproof.ledger.commitment import DOMAIN, commit
from everproof.ledger.edge import Edge
from everproof.ledger.merkle import leaf_hash
from everproof.ledger.store import entries, put_tiles, read_commitments, read_entry, tiles
from everproof.ledger.view import ChangedError
from everproof.storage import Storage, Transaction
from tests.conftest import SettableClock
from tests.ledger.conftest import House, Reopen, entry


@pytest.fixture
def signed(house: House) -> House:
    """A ledger of 600 entries, signed at 300 and 600."""
    house.append(300)
    publish(house)
    house.append(300, about="bob")
    publish(house)
    return house


def publish(house: House) -> None:
    """What `Ledger.publish` does, for a storage that is not started."""
    publisher = house.ledger._publisher
    signed = publisher.sign()
    house.storage.write_now(lambda tx: publisher.keep(tx, *signed))
    publisher._signed = signed


def only(found: Verification) -> Problem:
    assert not found.holds
    [problem] = found.problems
    return problem


def test_what_was_not_changed_is_verified(signed: House) -> None:
    seen: list[tuple[int, int]] = []
    found = verify_ledger(
        signed.storage, signed.keyring, signed.log, copy=signed.copy, progress=lambda *at: seen.append(at)
    )
    assert found.holds, found.problems
    assert (found.size, found.opened, found.erased, found.checkpoints) == (600, 600, 0, 3)
    assert seen == [(256, 600), (512, 600), (600, 600)]


CHANGES = [
    ("update ledger_entries set body = (select body from ledger_entries where idx = 4) where idx = 417", "body"),
    (
        "update ledger_entries set commitment = (select commitment from ledger_entries where idx = 4) where idx = 417",
        "body or commitment",
    ),
    ("update ledger_entries set kind = 'harmless' where idx = 417", "kind"),
    ("update ledger_entries set at = at - 1000 where idx = 417", "time"),
    ("update ledger_entries set id = 'ent_x' where idx = 417", "id"),
    ("update ledger_entries set key_id = 'key_x' where idx = 417", "does not open"),
    ("delete from ledger_entries where idx = 417", "missing"),
]  # fmt: skip


def test_a_changed_row_is_found_with_its_index_and_nothing_else_is_blamed(signed: House) -> None:
    signed.sql("create table kept as select * from ledger_entries where idx = 417")
    for statement, what in CHANGES:
        signed.sql(statement)
        problem = only(signed.verify())
        assert (problem.index, problem.place) == (417, "entry 417")
        assert what in problem.what
        signed.sql("delete from ledger_entries where idx = 417")
        signed.sql("insert into ledger_entries select * from kept")
    assert signed.verify().holds


def test_who_follows_the_ledger_gets_past_a_changed_entry(signed: House) -> None:
    signed.sql("update ledger_entries set body = (select body from ledger_entries where idx = 4) where idx = 598")
    assert [one.state for one in signed.ledger.tail(596)] == ["readable", "changed", "readable"]
    with pytest.raises(SealError):
        signed.ledger.read(598)


def test_two_entries_that_changed_places_are_both_named(signed: House) -> None:
    signed.sql("update ledger_entries set idx = -1 where idx = 5")
    signed.sql("update ledger_entries set idx = 5 where idx = 9")
    signed.sql("update ledger_entries set idx = 9 where idx = -1")
    assert [problem.index for problem in signed.verify().problems] == [5, 9]


def test_an_entry_slipped_in_at_the_end_is_named(signed: House) -> None:
    signed.sql(
        "insert into ledger_entries (idx, id, kind, at, commitment, key_id, body) "
        "select 600, 'ent_x', kind, at, commitment, key_id, body from ledger_entries where idx = 3"
    )
    assert only(signed.verify()).index == 600


def replace_tile(house: House, level: int, n: int, change: Callable[[bytes], bytes]) -> None:
    where = (tiles.c.level == level) & (tiles.c.n == n)
    with house.storage.reading() as connection:
        hashes = connection.scalar(select(tiles.c.hashes).where(where))
    house.storage.write_now(
        lambda tx: tx.connection.execute(update(tiles).where(where).values(hashes=change(hashes or b""))) and None
    )


def test_a_changed_leaf_in_the_tree_is_named_by_its_entry(signed: House) -> None:
    replace_tile(signed, 0, 1, lambda hashes: hashes[:320] + bytes(32) + hashes[352:])
    assert signed.verify().problems[0].index == 256 + 10


def test_a_changed_upper_tile_says_which_entries_it_covers(signed: House) -> None:
    replace_tile(signed, 1, 0, lambda hashes: hashes[:32] + bytes(32))
    assert "entries 256 to 511" in only(signed.verify()).what


def test_a_tile_of_another_width_is_named(signed: House) -> None:
    for width in (0, 87, 89):
        replace_tile(signed, 0, 2, lambda hashes, width=width: (hashes + bytes(32))[: width * 32])  # type: ignore[misc]
        assert signed.verify().problems[0].place == "tile/0/002.p/88"


def test_a_tile_too_many_is_named(signed: House) -> None:
    signed.sql("insert into ledger_tiles (level, n, hashes) select 5, n, hashes from ledger_tiles where level = 1")
    assert "too many" in only(signed.verify()).what


def test_a_changed_checkpoint_is_named(signed: House) -> None:
    signed.sql("update ledger_checkpoints set note = (select note from ledger_checkpoints where size = 600)")
    assert only(signed.verify()).place == "checkpoint 300"
    signed.sql("update ledger_checkpoints set note = body from (select body from ledger_entries where idx = 0) as b")
    assert [problem.place for problem in signed.verify().problems] == ["checkpoint 300", "checkpoint 600"]


def rewrite_history(house: House, index: int) -> None:
    """What an attacker who has the root key too would do: a new entry in another's place, and the tree over it."""
    with house.storage.reading() as connection:
        row = read_entry(connection, index)
        commitments = read_commitments(connection, 0, house.ledger.size)
    assert row is not None
    forged = msgspec.structs.replace(entry(house.clock), id=row.id, kind=row.kind, body=msgspec.Raw(b'{"did":"that"}'))
    opening = bytes(32) + encode(forged)
    commitments[index] = commit(DOMAIN + opening)

    def change(tx: Transaction) -> None:
        sealed = house.keyring.seal(tx, forged.about, opening, context=commitments[index])
        tx.connection.execute(
            update(entries)
            .where(entries.c.idx == index)
            .values(commitment=commitments[index], key_id=sealed.key_id, body=sealed.data)
        )
        put_tiles(tx.connection, Edge().extend([leaf_hash(one) for one in commitments]))

    house.storage.write_now(change)


def test_history_rewritten_with_its_tree_is_told_by_what_was_signed(signed: House) -> None:
    rewrite_history(signed, 417)
    problems = signed.verify().problems
    assert {problem.place for problem in problems} == {"checkpoint 600", str(signed.copy)}
    assert "from entry 300 on" in problems[0].what


def test_history_rewritten_with_its_tree_is_not_signed_for(signed: House, reopen: Reopen) -> None:
    rewrite_history(signed, 417)
    with pytest.raises(RollbackError, match="not the ones that were signed for"):
        signed.ledger._publisher.sign()
    with pytest.raises(RollbackError):
        signed.append()
    signed.sql("delete from ledger_checkpoints")
    again = reopen()
    assert again.ledger.refusal is not None
    assert again.ledger.refusal.place == str(again.copy)


def test_a_leaf_that_was_changed_is_not_proven(signed: House) -> None:
    signed.sql(
        "update ledger_entries set commitment = (select commitment from ledger_entries where idx = 4) where idx = 9"
    )
    with pytest.raises(ChangedError, match="entry 9"):
        signed.ledger.proof(9)


def roll_back(house: House) -> None:
    """The database put back to what it was at 300 entries, whole in itself."""
    house.sql("delete from ledger_entries where idx >= 300")
    house.sql("delete from ledger_checkpoints where size > 300")
    house.sql("delete from ledger_tiles where n >= 2")
    house.sql("update ledger_head set size = 300")
    replace_tile(house, 0, 1, lambda hashes: hashes[: 44 * 32])
    replace_tile(house, 1, 0, lambda hashes: hashes[:32])


def test_a_rollback_is_told_by_the_copy_and_nothing_is_recorded_on_it(signed: House, reopen: Reopen) -> None:
    roll_back(signed)
    house = reopen()
    refusal = house.ledger.refusal
    assert refusal is not None
    assert "has 300 entries, but has signed for 600" in str(refusal)
    assert refusal.todo is not None
    assert house.ledger.trouble() == str(refusal)
    with pytest.raises(RollbackError):
        house.append()
    with pytest.raises(RollbackError):
        asyncio.run(house.ledger.publish())
    assert house.ledger.read(299).kind == "test"
    assert "put back" in only(house.verify()).what


def test_a_rollback_that_was_grown_again_is_told_too(signed: House, reopen: Reopen) -> None:
    kept = signed.copy.read_bytes()
    roll_back(signed)
    signed.copy.unlink()
    signed.sql("update ledger_checkpoints set copied = false")
    house = reopen()
    house.append(400)  # nothing could tell
    house.copy.write_bytes(kept)
    again = reopen()
    assert "not the ones that were signed for" in str(again.ledger.refusal)


def test_a_rollback_under_a_running_server_is_told_at_the_next_signing(signed: House) -> None:
    signed.copy.unlink()
    roll_back(signed)
    signed.sql("update ledger_checkpoints set copied = false")
    with pytest.raises(RollbackError, match="put back"):
        signed.ledger._publisher.sign()


def test_a_copy_that_cannot_be_read_refuses(signed: House, reopen: Reopen) -> None:
    for content in (b"", b"nonsense", b"\xff", None):
        if content is None:
            signed.copy.unlink()
            signed.copy.mkdir()
        else:
            signed.copy.write_bytes(content)
        house = reopen()
        assert str(house.copy) in str(house.ledger.refusal)
        with pytest.raises(RollbackError):
            house.append()


def test_a_copy_that_is_gone_refuses_and_any_checkpoint_of_the_log_takes_its_place(
    signed: House, reopen: Reopen
) -> None:
    signed.copy.unlink()
    house = reopen()
    assert "is gone" in str(house.ledger.refusal)
    house.copy.write_bytes(house.ledger.checkpoint())
    house = reopen()
    assert house.ledger.refusal is None
    assert house.append()[0].index == 600


def test_another_root_of_trust_is_not_taken(signed: House, reopen: Reopen) -> None:
    signed.sql("update ledger_checkpoints set note = body from (select body from ledger_entries where idx = 0) as b")
    assert "not one of this log" in str(reopen().ledger.refusal)


def test_it_is_verified_and_proven_beside_a_running_server(
    signed: House, database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    storage = Storage.open_read_only(database_url, clock=clock)
    keyring = Keyring(storage, open_root_key("", tmp_path))
    assert verify_ledger(storage, keyring, signed.log, copy=signed.copy).holds
    view = LedgerView(storage, keyring)
    assert view.checkpoint() == signed.ledger.checkpoint()
    assert verify_proof(view.proof(417, disclose=True), signed.log).index == 417
    storage.close()


def test_a_flipped_bit_in_the_file_is_found_with_its_index(tmp_path: Path, clock: SettableClock) -> None:
    url = f"sqlite:///{tmp_path / 'everproof.db'}"
    storage = Storage.open(url, clock=clock)
    keyring = Keyring(storage, open_root_key("", tmp_path))
    ledger = Ledger(storage, keyring, SigningKeys(storage, keyring).current("Ed25519"), origin="o")
    house = House(storage, keyring, ledger, tmp_path / "copy", clock)
    house.append(20)
    storage.close()
    with sqlite3.connect(tmp_path / "everproof.db") as other:
        [body] = other.execute("select body from ledger_entries where idx = 13").fetchone()
        changed = body[:60] + bytes([body[60] ^ 1]) + body[61:]
        other.execute("update ledger_entries set body = ? where idx = 13", (changed,))
    other.close()
    storage = Storage.open_read_only(url)
    assert only(verify_ledger(storage, Keyring(storage, open_root_key("", tmp_path)), house.log)).index == 13
    storage.close()
