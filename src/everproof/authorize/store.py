"""The bundles that have ruled, in order; the last one rules."""

from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table, insert, select

from everproof.kernel.clock import milliseconds
from everproof.storage import Transaction, metadata

TOPIC: Final = "bundle"

bundles: Final = Table(
    "policy_bundles",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("commit", String(64), nullable=False),
    Column("files", LargeBinary, nullable=False),
    Column("loaded", BigInteger, nullable=False),
)


class StoredBundle(msgspec.Struct, frozen=True):
    """A bundle as it was loaded: its files by path, and the commit they came from."""

    digest: str
    commit: str
    files: dict[str, bytes]


def save_bundle(tx: Transaction, bundle: StoredBundle) -> None:
    """Make ``bundle`` the one that rules, in this commit."""
    last = tx.connection.scalar(select(bundles.c.number).order_by(bundles.c.number.desc()).limit(1)) or 0
    tx.connection.execute(
        insert(bundles).values(
            number=last + 1,
            digest=bundle.digest,
            commit=bundle.commit,
            files=msgspec.msgpack.encode(bundle.files),
            loaded=milliseconds(tx.now),
        )
    )
    tx.publish(TOPIC, bundle.digest, msgspec.msgpack.encode(bundle))


def ruling_digest(connection: Connection) -> str | None:
    """The digest of the bundle that rules, or none where only the built-in one has."""
    return connection.scalar(select(bundles.c.digest).order_by(bundles.c.number.desc()).limit(1))


def ruling_bundle(connection: Connection) -> StoredBundle | None:
    """The bundle that rules, or none where only the built-in one has."""
    row = connection.execute(select(bundles).order_by(bundles.c.number.desc()).limit(1)).first()
    if row is None:
        return None
    return StoredBundle(row.digest, row.commit, msgspec.msgpack.decode(row.files, type=dict[str, bytes]))


def read_published(body: bytes) -> StoredBundle:
    """The bundle of a feed row."""
    return msgspec.msgpack.decode(body, type=StoredBundle)
