"""The table of incidents, and the only statements over it."""

from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Row, String, Table, insert, select, update

from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

incidents: Final = Table(
    "access_incidents",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(512), nullable=False),
    Column("opened", BigInteger, nullable=False),
    Column("by", String(128), nullable=False),
    Column("closed", BigInteger),
    Column("closed_by", String(128)),
)


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something is wrong, in a few words."""

    id: str
    name: str
    opened: datetime
    by: Ref
    closed: datetime | None = None
    closed_by: Ref | None = None


def insert_incident(tx: Transaction, incident: Incident) -> None:
    """Put an incident on record."""
    row = {
        "id": incident.id, "name": incident.name, "opened": milliseconds(incident.opened), "by": incident.by.id,
        "closed": None, "closed_by": None,
    }  # fmt: skip
    tx.connection.execute(insert(incidents), row)


def close_incident(tx: Transaction, id_: str, by: Ref) -> bool:
    """Close an incident; False where it is closed."""
    changed = update(incidents).where(incidents.c.id == id_, incidents.c.closed.is_(None))
    values = {"closed": milliseconds(tx.now), "closed_by": by.id}
    return tx.connection.execute(changed.values(values)).rowcount == 1


def find_incident(connection: Connection, id_: str) -> Incident | None:
    """One incident."""
    row = connection.execute(select(incidents).where(incidents.c.id == id_)).first()
    return None if row is None else _incident(row)


def open_incidents(connection: Connection) -> list[Incident]:
    """Those that are open, the oldest first."""
    found = select(incidents).where(incidents.c.closed.is_(None)).order_by(incidents.c.id)
    return [_incident(row) for row in connection.execute(found)]


def list_incidents(connection: Connection, limit: int) -> list[Incident]:
    """Incidents, the newest first."""
    return [
        _incident(row) for row in connection.execute(select(incidents).order_by(incidents.c.id.desc()).limit(limit))
    ]


def _incident(row: Row[Any]) -> Incident:
    return Incident(
        id=row.id,
        name=row.name,
        opened=from_milliseconds(row.opened),
        by=Ref("User", row.by),
        closed=None if row.closed is None else from_milliseconds(row.closed),
        closed_by=None if row.closed_by is None else Ref("User", row.closed_by),
    )
