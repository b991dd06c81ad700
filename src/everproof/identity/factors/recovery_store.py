"""The tables of recoveries, and the only statements over them."""

from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    String,
    Table,
    and_,
    delete,
    insert,
    select,
    update,
)

from everproof.identity.factors.records import Recovery
from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

recoveries: Final = Table(
    "factor_recoveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("person", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("ticket", LargeBinary(32), nullable=False, unique=True),
    Column("body", LargeBinary, nullable=False),
    Index("factor_recoveries_person", "type", "person"),
)
"""``ticket`` is the hash of a secret that whoever asked was given."""

vouchers: Final = Table(
    "factor_vouchers",
    metadata,
    Column("recovery", String(64), primary_key=True),
    Column("type", String(16), primary_key=True),
    Column("person", String(128), primary_key=True),
    Column("at", BigInteger, nullable=False),
)
"""The key is what keeps anybody from vouching twice."""

_OPEN: Final = recoveries.c.state.in_(["asked", "good"])


def add(tx: Transaction, recovery: Recovery, ticket: bytes) -> None:
    """Put a recovery on record."""
    person = recovery.person
    tx.connection.execute(
        insert(recoveries).values(
            id=recovery.id, type=person.type, person=person.id, state=recovery.state, ticket=ticket,
            body=encode(recovery),
        )
    )  # fmt: skip


def put(tx: Transaction, recovery: Recovery) -> None:
    """Write a recovery's record anew."""
    changed = update(recoveries).where(recoveries.c.id == recovery.id)
    tx.connection.execute(changed.values(state=recovery.state, body=encode(recovery)))


def find(connection: Connection, id_: str) -> Recovery | None:
    """One recovery."""
    return _read(connection.scalar(select(recoveries.c.body).where(recoveries.c.id == id_)))


def find_ticket(connection: Connection, ticket: bytes) -> Recovery | None:
    """The recovery of a ticket, by its hash."""
    return _read(connection.scalar(select(recoveries.c.body).where(recoveries.c.ticket == ticket)))


def open_of(connection: Connection, person: Ref) -> Recovery | None:
    """The recovery of a person that is neither used nor cancelled, if there is one: it may be over."""
    theirs = and_(recoveries.c.type == person.type, recoveries.c.person == person.id, _OPEN)
    return _read(connection.scalar(select(recoveries.c.body).where(theirs).order_by(recoveries.c.id.desc()).limit(1)))


def all_open(connection: Connection) -> list[Recovery]:
    """Everyone's recoveries that are neither used nor cancelled, the oldest first: some may be over."""
    found = connection.scalars(select(recoveries.c.body).where(_OPEN).order_by(recoveries.c.id))
    return [msgspec.json.decode(body, type=Recovery) for body in found]


def vouch(tx: Transaction, recovery: str, by: Ref) -> None:
    """Note that somebody vouches."""
    row = {"recovery": recovery, "type": by.type, "person": by.id, "at": milliseconds(tx.now)}
    tx.connection.execute(insert(vouchers).values(row))


def vouched_by(connection: Connection, recovery: str) -> tuple[Ref, ...]:
    """Who vouches for a recovery, the first first."""
    of = select(vouchers.c.type, vouchers.c.person).where(vouchers.c.recovery == recovery)
    return tuple(Ref(row.type, row.person) for row in connection.execute(of.order_by(vouchers.c.at, vouchers.c.person)))


def forget(tx: Transaction, before: datetime) -> None:
    """Remove what was over before ``before``; the ledger keeps what became of it."""
    rows = tx.connection.execute(select(recoveries.c.id, recoveries.c.body))
    over = [row.id for row in rows if msgspec.json.decode(row.body, type=Recovery).ends < before]
    if over:
        tx.connection.execute(delete(vouchers).where(vouchers.c.recovery.in_(over)))
        tx.connection.execute(delete(recoveries).where(recoveries.c.id.in_(over)))


def _read(body: bytes | None) -> Recovery | None:
    return None if body is None else msgspec.json.decode(body, type=Recovery)
