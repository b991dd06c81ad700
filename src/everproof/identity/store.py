"""The tables of who exists, by which keys, and who may still come in; and the only statements over them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from everproof.identity.records import (
    Group,
    KeyRecord,
    PrincipalRecord,
    Purpose,
    Ticket,
)
from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

T = TypeVar("T")

AT_ONCE: Final = 500
"""Ids in one statement: SQLite takes 32,766 parameters at most, PostgreSQL 65,535."""

principals: Final = Table(
    "identity_principals",
    metadata,
    Column("type", String(16), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

groups: Final = Table(
    "identity_groups",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

emails: Final = Table(
    "identity_emails",
    metadata,
    Column("email", String(254), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("id", String(128), nullable=False),
    Index("identity_emails_principal", "type", "id"),
)
"""Whose an address is, in lower case: no two people may commit as one."""

keys: Final = Table(
    "identity_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("twin", String(64)),
    Column("type", String(16), nullable=False),
    Column("id", String(128), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("identity_keys_twin", "twin"),
    Index("identity_keys_principal", "type", "id"),
)
"""``name`` is the fingerprint of an SSH key or the thumbprint of a JWK, ``twin`` the same key's name as the other."""

tickets: Final = Table(
    "identity_tickets",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("purpose", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("used", BigInteger),
)
"""Links and tokens that are good once, by the hash of their secret."""


def _read(body: bytes, type_: type[T]) -> T:
    return msgspec.json.decode(body, type=type_)


# ── principals and groups ──────────────────────────────────────────────────────────────────────────────────────────


def _is(table: Table, ref: Ref) -> ColumnElement[bool]:
    return (table.c.type == ref.type) & (table.c.id == ref.id)


def load_principals(connection: Connection) -> Iterator[PrincipalRecord]:
    """Everyone on record."""
    read = msgspec.json.Decoder(PrincipalRecord).decode
    for body in connection.scalars(select(principals.c.body)):
        yield read(body)


def find_principal(connection: Connection, ref: Ref) -> PrincipalRecord | None:
    """One principal's record."""
    body = connection.scalar(select(principals.c.body).where(_is(principals, ref)))
    return None if body is None else _read(body, PrincipalRecord)


def find_principals(connection: Connection, refs: Sequence[Ref]) -> Iterator[PrincipalRecord]:
    """Those of ``refs`` that are on record."""
    for type_ in sorted({ref.type for ref in refs}):
        ids = [ref.id for ref in refs if ref.type == type_]
        for at in range(0, len(ids), AT_ONCE):
            wanted = (principals.c.type == type_) & principals.c.id.in_(ids[at : at + AT_ONCE])
            for body in connection.scalars(select(principals.c.body).where(wanted)):
                yield _read(body, PrincipalRecord)


def rewrite_principals(tx: Transaction, records: Sequence[PrincipalRecord]) -> None:
    """Write records of which neither the names nor the addresses changed."""
    if records:
        one = (principals.c.type == bindparam("at_type")) & (principals.c.id == bindparam("at_id"))
        rows = [{"at_type": record.ref.type, "at_id": record.ref.id, "body": encode(record)} for record in records]
        tx.connection.execute(update(principals).where(one).values(body=bindparam("body")), rows)


def put_principal(tx: Transaction, record: PrincipalRecord, *, new: bool) -> None:
    """Write the record and take its addresses, which are nobody else's (see `email_owner`)."""
    ref, body = record.ref, encode(record)
    if new:
        tx.connection.execute(insert(principals).values(type=ref.type, id=ref.id, body=body))
    else:
        tx.connection.execute(update(principals).where(_is(principals, ref)).values(body=body))
        tx.connection.execute(delete(emails).where(_is(emails, ref)))
    if record.emails:
        rows = [{"email": email.lower(), "type": ref.type, "id": ref.id} for email in record.emails]
        tx.connection.execute(insert(emails), rows)


def email_owner(connection: Connection, email: str) -> Ref | None:
    """Who may commit as ``email``."""
    row = connection.execute(select(emails.c.type, emails.c.id).where(emails.c.email == email.lower())).first()
    return None if row is None else Ref(row.type, row.id)


def load_groups(connection: Connection) -> Iterator[Group]:
    """Every group."""
    for body in connection.scalars(select(groups.c.body)):
        yield _read(body, Group)


def put_group(tx: Transaction, group: Group) -> None:
    """Write the group, new or not."""
    tx.connection.execute(delete(groups).where(groups.c.id == group.id))
    tx.connection.execute(insert(groups).values(id=group.id, body=encode(group)))


def remove_group(tx: Transaction, id_: str) -> None:
    """Let there be no such group."""
    tx.connection.execute(delete(groups).where(groups.c.id == id_))


# ── keys ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def load_keys(connection: Connection) -> Iterator[KeyRecord]:
    """Every key on record, dead ones too."""
    read = msgspec.json.Decoder(KeyRecord).decode
    for body in connection.scalars(select(keys.c.body)):
        yield read(body)


def keys_of(connection: Connection, ref: Ref) -> list[KeyRecord]:
    """The keys of one principal, dead ones too."""
    return [_read(body, KeyRecord) for body in connection.scalars(select(keys.c.body).where(_is(keys, ref)))]


def find_keys(connection: Connection, names: Sequence[str]) -> list[KeyRecord]:
    """The keys on record that have one of ``names``, in either of the two ways to name them."""
    found = select(keys.c.body).where(or_(keys.c.name.in_(names), keys.c.twin.in_(names)))
    return [_read(body, KeyRecord) for body in connection.scalars(found)]


def put_key(tx: Transaction, key: KeyRecord, *, new: bool) -> None:
    """Write the key's record."""
    row = {"twin": key.twin, "type": key.principal.type, "id": key.principal.id, "body": encode(key)}
    if new:
        tx.connection.execute(insert(keys).values(name=key.name, **row))
    else:
        tx.connection.execute(update(keys).where(keys.c.name == key.name).values(row))


# ── tickets ────────────────────────────────────────────────────────────────────────────────────────────────────────


def put_ticket(tx: Transaction, hash_: bytes, ticket: Ticket) -> None:
    """Keep a ticket by the hash of its secret."""
    tx.connection.execute(
        insert(tickets).values(
            hash=hash_,
            id=ticket.id,
            purpose=ticket.purpose,
            body=encode(ticket),
            expires=milliseconds(ticket.expires),
        )
    )


def find_ticket(connection: Connection, hash_: bytes, purposes: Sequence[Purpose], now: datetime) -> Ticket | None:
    """The ticket of a secret, if it can still be used for one of ``purposes``."""
    body = connection.scalar(select(tickets.c.body).where(*_usable(hash_, purposes, now)))
    return None if body is None else _read(body, Ticket)


def use_ticket(tx: Transaction, hash_: bytes, purposes: Sequence[Purpose]) -> bool:
    """Use the ticket up; False, and nothing written, where it cannot be used."""
    used = update(tickets).where(*_usable(hash_, purposes, tx.now)).values(used=milliseconds(tx.now))
    return tx.connection.execute(used).rowcount == 1


def withdraw_tickets(tx: Transaction, purpose: Purpose) -> None:
    """End every ticket of a purpose that was not used."""
    unused = (tickets.c.purpose == purpose) & tickets.c.used.is_(None)
    tx.connection.execute(delete(tickets).where(unused))


def _usable(hash_: bytes, purposes: Sequence[Purpose], now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        tickets.c.hash == hash_,
        tickets.c.purpose.in_(purposes),
        tickets.c.used.is_(None),
        tickets.c.expires > milliseconds(now),
    )
