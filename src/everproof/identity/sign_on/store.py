"""The tables of sign-on, and the only statements over them: whom a provider means, and who has signed out there."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

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

from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.words import Ref
from everproof.storage import Transaction, metadata

links: Final = Table(
    "sign_on_links",
    metadata,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("id", String(128), nullable=False),
    Column("how", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("sign_on_links_principal", "type", "id"),
)
"""Whom an issuer's subject is. Neither of the two is ever given to another person."""

signed_out: Final = Table(
    "sign_on_signed_out",
    metadata,
    Column("name", LargeBinary(32), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("sign_on_signed_out_expires", "expires"),
)
"""Sessions and subjects that a provider has just ended: a sign-on that was on its way then begins nothing."""

hints: Final = Table(
    "sign_on_hints",
    metadata,
    Column("session", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("sign_on_hints_expires", "expires"),
)
"""The ID token that a session began with, sealed: the provider wants to see it again at the end."""


ENDED: Final = "ended"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a subject is, how that came to be known (``invitation``, ``first``, ``file``, ``scim``), and when.

    Whose it was may have left (``ended``), and of what the file or provisioning says, it is they who say it. All the
    same the subject stays that person's as far as first sign-ons go: nobody who has left comes back as a newcomer by
    calling themself something else.
    """

    issuer: str
    subject: str
    user: Ref
    how: str
    at: datetime

    @property
    def proves(self) -> bool:
        """Whether it says by itself who the subject is."""
        return self.how in {"invitation", "first"}


def find_link(connection: Connection, issuer: str, subject: str) -> Link | None:
    """The link of an issuer's subject."""
    return next(_links(connection, (links.c.issuer == issuer) & (links.c.subject == subject)), None)


def links_of(connection: Connection, user: Ref) -> list[Link]:
    """The links of one person."""
    return list(_links(connection, (links.c.type == user.type) & (links.c.id == user.id)))


def put_link(tx: Transaction, link: Link) -> None:
    """Keep a link, new or in place of what the subject was linked with."""
    whose = (links.c.issuer == link.issuer, links.c.subject == link.subject)
    tx.connection.execute(delete(links).where(*whose))
    tx.connection.execute(
        insert(links).values(
            issuer=link.issuer, subject=link.subject, type=link.user.type, id=link.user.id, how=link.how,
            at=milliseconds(link.at),
        )
    )  # fmt: skip


def end_link(tx: Transaction, link: Link) -> None:
    """Let a link prove nobody any more."""
    whose = (links.c.issuer == link.issuer, links.c.subject == link.subject)
    tx.connection.execute(update(links).where(*whose).values(how=ENDED, at=milliseconds(tx.now)))


def put_signed_out(tx: Transaction, name: bytes, expires: datetime) -> None:
    """Remember that the provider has just ended what ``name`` stands for."""
    tx.connection.execute(delete(signed_out).where(signed_out.c.name == name))
    row = {"name": name, "at": milliseconds(tx.now), "expires": milliseconds(expires)}
    tx.connection.execute(insert(signed_out).values(row))


def signed_out_since(connection: Connection, names: tuple[bytes, ...], since: datetime) -> bool:
    """Whether the provider has ended one of these since ``since``."""
    found = select(signed_out.c.at).where(signed_out.c.name.in_(names), signed_out.c.at >= milliseconds(since))
    return connection.scalar(found.limit(1)) is not None


def put_hint(tx: Transaction, session: str, sealed: bytes, expires: datetime) -> None:
    """Keep the sealed ID token of a session."""
    row = {"session": session, "sealed": sealed, "expires": milliseconds(expires)}
    tx.connection.execute(insert(hints).values(row))


def find_hint(connection: Connection, session: str) -> bytes | None:
    """The sealed ID token of a session."""
    return connection.scalar(select(hints.c.sealed).where(hints.c.session == session))


def forget_over(tx: Transaction, now: datetime) -> None:
    """Remove what no sign-on asks about any more."""
    for table in (signed_out, hints):
        tx.connection.execute(delete(table).where(table.c.expires < milliseconds(now)))


def _links(connection: Connection, where: ColumnElement[bool]) -> Iterator[Link]:
    for row in connection.execute(select(links).where(where)):
        yield Link(
            issuer=row.issuer, subject=row.subject, user=Ref(row.type, row.id), how=row.how,
            at=from_milliseconds(row.at),
        )  # fmt: skip
