"""The table of containments, and the only statements over it."""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Index, Row, String, Table, insert, select, update

from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.words import Ref
from everproof.response.records import ContainmentRecord
from everproof.storage import Transaction, metadata

MAX_REASON: Final = 256

containments: Final = Table(
    "response_containments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("type", String(64), nullable=False),
    Column("target", String(512), nullable=False),
    Column("reason", String(MAX_REASON), nullable=False),
    Column("by_type", String(64), nullable=False),
    Column("by", String(512), nullable=False),
    Column("begun", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("credentials", BigInteger, nullable=False),
    Column("errands", BigInteger, nullable=False),
    Index("response_containments_target", "type", "target"),
)


def insert_containment(tx: Transaction, id_: str, target: Ref, *, by: Ref, reason: str) -> ContainmentRecord:
    """Put a containment on record."""
    row = {
        "id": id_, "type": target.type, "target": target.id, "reason": reason[:MAX_REASON], "by_type": by.type,
        "by": by.id, "begun": milliseconds(tx.now), "finished": None, "credentials": 0, "errands": 0,
    }  # fmt: skip
    tx.connection.execute(insert(containments), row)
    made = find_containment(tx.connection, id_)
    assert made is not None
    return made


def find_containment(connection: Connection, id_: str) -> ContainmentRecord | None:
    """One containment."""
    row = connection.execute(select(containments).where(containments.c.id == id_)).first()
    return None if row is None else _record(row)


def find_open(connection: Connection, target: Ref) -> ContainmentRecord | None:
    """The containment of a target that has not finished."""
    found = select(containments).where(
        containments.c.type == target.type, containments.c.target == target.id, containments.c.finished.is_(None)
    )
    row = connection.execute(found).first()
    return None if row is None else _record(row)


def list_open(connection: Connection) -> list[ContainmentRecord]:
    """Every containment that has not finished."""
    found = select(containments).where(containments.c.finished.is_(None))
    return [_record(row) for row in connection.execute(found)]


def count_more(connection: Connection, id_: str, *, credentials: int, errands: int) -> None:
    """Count what has been ended since."""
    changed = update(containments).where(containments.c.id == id_)
    connection.execute(
        changed.values(credentials=containments.c.credentials + credentials, errands=containments.c.errands + errands)
    )


def finish(connection: Connection, id_: str, now: int) -> None:
    """Note that nothing was left."""
    connection.execute(update(containments).where(containments.c.id == id_).values(finished=now))


def _record(row: Row[Any]) -> ContainmentRecord:
    return ContainmentRecord(
        id=row.id,
        target=Ref(row.type, row.target),
        reason=row.reason,
        by=Ref(row.by_type, row.by),
        begun=from_milliseconds(row.begun),
        finished=None if row.finished is None else from_milliseconds(row.finished),
        credentials=row.credentials,
        errands=row.errands,
    )
