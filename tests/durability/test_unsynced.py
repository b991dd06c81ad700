"""The disk that loses what is not synced, itself."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.unsynced import UnsyncedVfs

NAME = "everproof-unsynced-test"


@pytest.fixture(scope="module", autouse=True)
def _vfs() -> None:
    UnsyncedVfs(NAME)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database that is whole on the real disk."""
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("create table said (words text)")
    connection.close()
    return tmp_path / "x.db"


@pytest.fixture
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{file}?vfs={NAME}", uri=True, isolation_level=None)
    yield connection
    connection.close()


def say(connection: sqlite3.Connection, words: str) -> list[str]:
    connection.execute("insert into said values (?)", (words,))
    return [row[0] for row in connection.execute("select words from said")]


def on_disk(file: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(file.parent.iterdir()) if not path.name.endswith("-shm"))


@pytest.mark.parametrize(("synchronous", "there"), [("OFF", False), ("NORMAL", False), ("FULL", True)])
def test_the_disk_has_what_was_synced_and_the_process_sees_all(
    connection: sqlite3.Connection, file: Path, synchronous: str, there: bool
) -> None:
    connection.execute("pragma journal_mode=wal")
    connection.execute(f"pragma synchronous={synchronous}")
    assert say(connection, "the first words") == ["the first words"]
    assert (b"the first words" in on_disk(file)) is there
    other = sqlite3.connect(f"file:{file}?vfs={NAME}", uri=True)
    assert other.execute("select words from said").fetchall() == [("the first words",)]
    other.close()


def test_a_checkpoint_and_a_truncation_reach_the_disk_only_when_synced(
    connection: sqlite3.Connection, file: Path
) -> None:
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=OFF")
    before = file.read_bytes()
    say(connection, "the first words" * 1000)
    connection.execute("pragma wal_checkpoint(truncate)")
    assert file.read_bytes() == before
    connection.execute("pragma synchronous=FULL")
    say(connection, "more words")
    connection.execute("pragma wal_checkpoint(truncate)")
    assert b"the first words" in file.read_bytes()
    assert b"more words" in file.read_bytes()


@pytest.mark.parametrize(("synchronous", "journal"), [("FULL", True), ("EXTRA", False)])
def test_a_delete_is_kept_only_when_the_folder_is_synced(
    connection: sqlite3.Connection, file: Path, synchronous: str, journal: bool
) -> None:
    """With a rollback journal, which is why SQLite has EXTRA: the journal that came back would undo the commit."""
    connection.execute("pragma journal_mode=delete")
    connection.execute(f"pragma synchronous={synchronous}")
    say(connection, "the first words")
    assert say(connection, "more words") == ["the first words", "more words"]
    assert file.with_name("x.db-journal").exists() is journal
    again = sqlite3.connect(file)
    found = [row[0] for row in again.execute("select words from said")]
    again.close()
    assert found == (["the first words"] if journal else ["the first words", "more words"])
