"""The table of organisations, and the only statements over it."""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Row, String, Table, delete, insert, select

from everproof.storage import metadata

organisations: Final = Table(
    "provisioning_organisations",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("looked", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""What was found at the last look: the changes that would have to be made, sealed, and the digest that names them."""


def find_organisation(connection: Connection, name: str) -> Row[Any] | None:
    """What was found of one."""
    return connection.execute(select(organisations).where(organisations.c.name == name)).first()


def put_organisation(connection: Connection, name: str, **values: Any) -> None:
    """Keep what was found of one, instead of what was before."""
    connection.execute(delete(organisations).where(organisations.c.name == name))
    connection.execute(insert(organisations).values(name=name, **values))
