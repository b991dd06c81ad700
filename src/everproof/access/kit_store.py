"""The tables of break-glass kits and the hashes of their halves, and the only statements over them."""

from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, LargeBinary, String, Table, delete, insert, select, update

from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

KitState: TypeAlias = Literal["incomplete", "ready", "used", "reviewed", "withdrawn"]
"""``incomplete``: somebody has not fetched their half. ``used``: and nobody has reviewed it."""

kits: Final = Table(
    "access_kits",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("access_kits_state", "state"),
)

halves: Final = Table(
    "access_halves",
    metadata,
    Column("kit", String(64), primary_key=True),
    Column("person", String(128), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("made", BigInteger, nullable=False),
)


class Kit(msgspec.Struct, frozen=True, kw_only=True):
    """Sealed credentials of two people: what they open together, for how long, and what became of them.

    ``fetched`` are those who have their half. ``grant`` is what was opened with it, by ``opener``.
    """

    id: str
    people: tuple[Ref, ...]
    actions: tuple[str, ...]
    resource: Ref
    seconds: int
    made: datetime
    by: Ref
    state: KitState = "incomplete"
    fetched: tuple[Ref, ...] = ()
    used: datetime | None = None
    opener: Ref | None = None
    reason: str = ""
    grant: str = ""
    reviewed: datetime | None = None
    reviewer: Ref | None = None
    report: str = ""


def put_kit(tx: Transaction, kit: Kit, *, new: bool = False) -> None:
    """Keep a kit as it is now."""
    values = {"state": kit.state, "body": encode(kit)}
    if new:
        tx.connection.execute(insert(kits), {"id": kit.id, **values})
    else:
        tx.connection.execute(update(kits).where(kits.c.id == kit.id).values(values))


def find_kit(connection: Connection, id_: str) -> Kit | None:
    """One kit."""
    body = connection.scalar(select(kits.c.body).where(kits.c.id == id_))
    return None if body is None else msgspec.json.decode(body, type=Kit)


def list_kits(connection: Connection, limit: int) -> list[Kit]:
    """Kits, the newest first."""
    found = connection.scalars(select(kits.c.body).order_by(kits.c.id.desc()).limit(limit))
    return [msgspec.json.decode(body, type=Kit) for body in found]


def put_half(tx: Transaction, kit: str, person: Ref, hash_: bytes) -> None:
    """Keep the hash of a half that was given out."""
    row = {"kit": kit, "person": person.id, "hash": hash_, "made": milliseconds(tx.now)}
    tx.connection.execute(insert(halves), row)


def find_half(connection: Connection, kit: str, person: Ref) -> bytes | None:
    """The hash of a person's half."""
    return connection.scalar(select(halves.c.hash).where(halves.c.kit == kit, halves.c.person == person.id))


def drop_halves(tx: Transaction, kit: str) -> None:
    """Forget the halves of a kit that is of no use any more."""
    tx.connection.execute(delete(halves).where(halves.c.kit == kit))
