"""The table of principals that are held, and the only statements over it."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, String, Table, delete, insert, select

from everproof.identity.credential_store import MAX_ID, MAX_REASON
from everproof.kernel.clock import milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

held: Final = Table(
    "identity_held",
    metadata,
    Column("type", String(64), primary_key=True),
    Column("id", String(MAX_ID), primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("reason", String(MAX_REASON), nullable=False),
)


def load_held(connection: Connection) -> Iterator[Ref]:
    """Everyone who is held."""
    for row in connection.execute(select(held.c.type, held.c.id)):
        yield Ref(row.type, row.id)


def is_held(connection: Connection, ref: Ref) -> bool:
    """Whether a principal is held."""
    known = select(held.c.id).where(held.c.type == ref.type, held.c.id == ref.id)
    return connection.scalar(known) is not None


def put_held(tx: Transaction, ref: Ref, reason: str) -> bool:
    """Hold a principal; False where it is held already."""
    if is_held(tx.connection, ref):
        return False
    row = {"type": ref.type, "id": ref.id, "since": milliseconds(tx.now), "reason": reason[:MAX_REASON]}
    tx.connection.execute(insert(held), row)
    return True


def remove_held(tx: Transaction, ref: Ref) -> bool:
    """Hold a principal no more; False where it was not held."""
    return tx.connection.execute(delete(held).where(held.c.type == ref.type, held.c.id == ref.id)).rowcount == 1
