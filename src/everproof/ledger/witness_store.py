"""The tables of witnessing: the last checkpoint of each log that is cosigned here, and what is published of ours."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from everproof.storage import metadata

MAX_ORIGIN: Final = 255

logs: Final = Table(
    "witness_logs",
    metadata,
    Column("origin", String(MAX_ORIGIN), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
)
"""``note`` has the log's own signature, so that the rows of two witnesses can prove a fork; ``at`` is in ms."""

published: Final = Table(
    "ledger_published",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("witnessed", Boolean, nullable=False),
    Column("note", LargeBinary, nullable=False),
)
"""What strangers are given of our own log; what was cosigned is kept."""


def read_log(connection: Connection, origin: str) -> Row[Any] | None:
    """The last checkpoint of a log that was cosigned here."""
    return connection.execute(select(logs).where(logs.c.origin == origin)).first()


def advance_log(connection: Connection, origin: str, *, expected: int, root: bytes, values: dict[str, Any]) -> bool:
    """Take a log from ``expected`` and its ``root`` to ``values``; false where it is not there any more."""
    if read_log(connection, origin) is None:
        if expected:
            return False
        connection.execute(insert(logs), {"origin": origin, **values})
        return True
    here = (logs.c.origin == origin) & (logs.c.size == expected) & (logs.c.root == root)
    return connection.execute(update(logs).where(here).values(values)).rowcount == 1


def last_published(connection: Connection) -> Row[Any] | None:
    """What is published."""
    return connection.execute(select(published).order_by(published.c.size.desc()).limit(1)).first()


def publish(connection: Connection, *, size: int, at: int, witnessed: bool, note: bytes) -> bool:
    """Publish a checkpoint in place of the last; false, and nothing written, where a later or better one is."""
    last = last_published(connection)
    if last is not None and (last.size > size or (last.size == size and last.witnessed and not witnessed)):
        return False
    superseded = (published.c.size == size) | ((published.c.size < size) & published.c.witnessed.is_(False))
    connection.execute(delete(published).where(superseded))
    connection.execute(insert(published), {"size": size, "at": at, "witnessed": witnessed, "note": note})
    return True


def read_published(connection: Connection) -> list[Row[Any]]:
    """All that is kept of what was published, the smallest first."""
    return list(connection.execute(select(published).order_by(published.c.size)))
