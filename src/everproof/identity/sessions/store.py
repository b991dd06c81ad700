"""The table of sessions, and the only statements over it. Whether one has ended, its credential says."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

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
    delete,
    insert,
    select,
    update,
)

from everproof.identity.credential_store import credentials
from everproof.identity.sessions.records import Kept
from everproof.kernel.canonical import encode
from everproof.kernel.clock import milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

sessions: Final = Table(
    "identity_sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("principal", String(128), nullable=False),
    Column("provider", String(128), nullable=False),
    Column("provider_subject", String(512), nullable=False),
    Column("provider_session", String(512), nullable=False),
    Column("idle_until", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("identity_sessions_principal", "type", "principal"),
    Index("identity_sessions_provider", "provider", "provider_subject"),
    Index("identity_sessions_idle", "idle_until"),
)

_read: Final = msgspec.json.Decoder(Kept).decode


def read_kept(body: bytes) -> Kept:
    """A session from its bytes."""
    return _read(body)


def put_session(tx: Transaction, kept: Kept, *, new: bool) -> bytes:
    """Write a session; the bytes that it is kept as."""
    session, body = kept.session, encode(kept)
    changing = {
        "idle_until": milliseconds(session.idle_until), "expires": milliseconds(session.expires), "body": body,
    }  # fmt: skip
    if not new:
        tx.connection.execute(update(sessions).where(sessions.c.id == session.id).values(changing))
        return body
    row = {
        "id": session.id,
        "type": session.principal.type,
        "principal": session.principal.id,
        "provider": session.provider,
        "provider_subject": session.provider_subject,
        "provider_session": session.provider_session,
        **changing,
    }
    tx.connection.execute(insert(sessions).values(row))
    return body


def load_live(connection: Connection, now: datetime) -> Iterator[Kept]:
    """The sessions that have not ended."""
    for body in connection.scalars(_live(now)):
        yield _read(body)


def find_live(connection: Connection, id_: str, now: datetime) -> Kept | None:
    """One session, if it has not ended."""
    body = connection.scalar(_live(now, sessions.c.id == id_))
    return None if body is None else _read(body)


def of_principal(connection: Connection, ref: Ref, now: datetime) -> list[Kept]:
    """The sessions of one principal that have not ended."""
    whose = (sessions.c.type == ref.type, sessions.c.principal == ref.id)
    return [_read(body) for body in connection.scalars(_live(now, *whose))]


def ids_of_provider(connection: Connection, provider: str, subject: str, session: str, now: datetime) -> list[str]:
    """The sessions that a provider has vouched for, by its own name of the person, of the session, or both."""
    where = [sessions.c.provider == provider]
    if subject:
        where.append(sessions.c.provider_subject == subject)
    if session:
        where.append(sessions.c.provider_session == session)
    return [_read(body).session.id for body in connection.scalars(_live(now, *where))]


def ids_idle(connection: Connection, now: datetime) -> list[str]:
    """The sessions that nobody used for too long, and that are not ended on record yet."""
    found = (
        select(sessions.c.id)
        .join(credentials, credentials.c.id == sessions.c.id)
        .where(
            sessions.c.idle_until <= milliseconds(now),
            credentials.c.revoked.is_(None),
            credentials.c.expires > milliseconds(now),
        )
    )
    return list(connection.scalars(found))


def forget_sessions(tx: Transaction, before: datetime) -> None:
    """Remove what could not be used any more at ``before``."""
    tx.connection.execute(delete(sessions).where(sessions.c.idle_until < milliseconds(before)))


def _live(now: datetime, *where: ColumnElement[bool]) -> Any:
    return (
        select(sessions.c.body)
        .join(credentials, credentials.c.id == sessions.c.id)
        .where(
            *where,
            credentials.c.revoked.is_(None),
            credentials.c.expires > milliseconds(now),
            sessions.c.idle_until > milliseconds(now),
        )
        .order_by(sessions.c.id)
    )
