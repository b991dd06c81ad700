"""The tables of the ledger: entries with their sealed bodies, the tree in tiles, its head, and what was signed."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    and_,
    bindparam,
    insert,
    select,
    update,
)

from everproof.storage import metadata
from everproof.storage.prepared import Prepared, Rows

entries: Final = Table(
    "ledger_entries",
    metadata,
    # In SQLite only INTEGER is the row's own key; any other type would cost a second tree.
    Column("idx", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("commitment", LargeBinary(32), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""``body`` is the entry with its salt, sealed under the key ``key_id``; ``commitment`` is the leaf's data."""

tiles: Final = Table(
    "ledger_tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
"""Full tiles, which never change, and on each level at most one that grows."""

head: Final = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("origin", String(255), nullable=False),
)
"""One row, of id 1: how many leaves there are, and the log's name for ever, empty until it has something to say."""

checkpoints: Final = Table(
    "ledger_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("copied", Boolean, nullable=False),
    Column("note", LargeBinary, nullable=False),
)
"""Every checkpoint that was signed; ``copied``: a copy outside the database had it first."""

HEAD: Final = 1

_ENTRIES_IN_ORDER: Final = select(entries).where(entries.c.idx >= bindparam("first")).order_by(entries.c.idx)
_ENTRY: Final = select(entries).where(entries.c.idx == bindparam("idx"))
_TILE: Final = select(tiles.c.hashes).where(tiles.c.level == bindparam("level"), tiles.c.n == bindparam("n"))
_GROW: Final = Prepared(
    update(head)
    .where(head.c.id == HEAD, head.c.size == bindparam("expected"))
    .values(size=bindparam("grown"), origin=bindparam("named"))
)
_ADD: Final = Rows(entries)
_PUT: Final = Rows(tiles, on_conflict="(level, n) DO UPDATE SET hashes = excluded.hashes")


def read_head(connection: Connection) -> tuple[int, str]:
    """The size, and the origin."""
    row = connection.execute(select(head.c.size, head.c.origin).where(head.c.id == HEAD)).one()
    return row.size, row.origin


EntryRow: TypeAlias = tuple[int, str, str, int, bytes, str, bytes]
"""An entry to be added, in the order of the table's columns. A plain tuple: there is one for every append."""


class TileRow(NamedTuple):
    """A tile that is new or has grown, in the order of the table's columns."""

    level: int
    n: int
    hashes: bytes


def grow_head(connection: Connection, *, expected: int, size: int, origin: str) -> bool:
    """Take the head from ``expected`` to ``size``; false where it was not there, so that someone else has written."""
    return _GROW.run(connection, {"expected": expected, "grown": size, "named": origin}) == 1


def add_entries(connection: Connection, rows: list[EntryRow]) -> None:
    """Keep entries."""
    _ADD.add(connection, rows)


def put_tiles(connection: Connection, rows: list[TileRow]) -> None:
    """Keep new tiles, and what has grown in place of what it was."""
    _PUT.add(connection, rows)


def read_tile(connection: Connection, level: int, n: int) -> bytes | None:
    """The hashes of a tile as it now is."""
    hashes: bytes | None = connection.scalar(_TILE, {"level": level, "n": n})
    return hashes


def tile_names(connection: Connection) -> Iterator[tuple[int, int]]:
    """Which tiles there are."""
    rows = connection.execute(select(tiles.c.level, tiles.c.n).order_by(tiles.c.level, tiles.c.n))
    return ((row.level, row.n) for row in rows)


def read_entry(connection: Connection, index: int) -> Row[Any] | None:
    """One entry's row."""
    return connection.execute(_ENTRY, {"idx": index}).first()


def find_entry(connection: Connection, entry_id: str) -> int | None:
    """The index of the entry with this id."""
    index: int | None = connection.scalar(select(entries.c.idx).where(entries.c.id == entry_id))
    return index


def read_entries(connection: Connection, first: int, limit: int, kind: str | None = None) -> list[Row[Any]]:
    """Up to ``limit`` entries from index ``first`` on."""
    query = _ENTRIES_IN_ORDER.limit(limit)
    if kind is not None:
        query = query.where(entries.c.kind == kind)
    return list(connection.execute(query, {"first": first}))


def read_last_entries(connection: Connection, limit: int, kind: str | None = None) -> list[Row[Any]]:
    """The last ``limit`` entries, the oldest first."""
    query = select(entries).order_by(entries.c.idx.desc()).limit(limit)
    if kind is not None:
        query = query.where(entries.c.kind == kind)
    return list(connection.execute(query))[::-1]


def read_commitments(connection: Connection, first: int, end: int) -> list[bytes]:
    """The commitments of entries ``first`` to ``end``."""
    span = and_(entries.c.idx >= first, entries.c.idx < end)
    return list(connection.scalars(select(entries.c.commitment).where(span).order_by(entries.c.idx)))


def add_checkpoint(connection: Connection, *, size: int, at: int, copied: bool, note: bytes) -> None:
    """Keep a checkpoint that was signed, unless it is there already."""
    known = connection.scalar(select(checkpoints.c.size).where(checkpoints.c.size == size))
    if known is None:
        connection.execute(insert(checkpoints), {"size": size, "at": at, "copied": copied, "note": note})


def set_origin(connection: Connection, origin: str) -> None:
    """Name the log for ever."""
    connection.execute(update(head).where(head.c.id == HEAD, head.c.origin == "").values(origin=origin))


def last_checkpoint(connection: Connection) -> Row[Any] | None:
    """The checkpoint signed last."""
    return connection.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).first()


def was_copied(connection: Connection) -> bool:
    """Whether a copy outside the database has ever been kept."""
    return connection.scalar(select(checkpoints.c.size).where(checkpoints.c.copied).limit(1)) is not None


def read_checkpoints(connection: Connection) -> list[Row[Any]]:
    """Every checkpoint, the smallest first."""
    return list(connection.execute(select(checkpoints).order_by(checkpoints.c.size)))
