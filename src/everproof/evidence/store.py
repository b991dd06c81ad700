"""When commits were first received, and which push certificates were used."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, String, Table, delete, insert, select

from everproof.evidence.certificate import NONCE_LIFE
from everproof.kernel.clock import MAX_SKEW, from_milliseconds, milliseconds
from everproof.kernel.errors import RefusedError
from everproof.storage import Transaction, metadata

CHUNK: Final = 500
"""Names in one statement: SQLite takes at least 999 parameters."""

receipts: Final = Table(
    "evidence_receipts",
    metadata,
    Column("oid", String(64), primary_key=True),
    Column("received", BigInteger, nullable=False),
)
"""The first time that a commit came to stay. Its signature was there at the latest then, whatever its dates say."""

certificates: Final = Table(
    "evidence_certificates",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("ref", String(1024), primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)


def first_received(connection: Connection, oids: Iterable[str]) -> dict[str, datetime]:
    """When each of these commits first came to stay; those that never did are absent."""
    found: dict[str, datetime] = {}
    for chunk in _chunks(oids):
        for row in connection.execute(select(receipts).where(receipts.c.oid.in_(chunk))):
            found[row.oid] = from_milliseconds(row.received)
    return found


def record_receipt(tx: Transaction, oids: Iterable[str]) -> None:
    """These commits come to stay now, if they have not before."""
    names = sorted(set(oids))
    new = sorted(set(names) - first_received(tx.connection, names).keys())
    received = milliseconds(tx.now)
    for chunk in _chunks(new):
        tx.connection.execute(insert(receipts), [{"oid": oid, "received": received} for oid in chunk])


def use_certificate(tx: Transaction, digest: str, ref: str) -> None:
    """Use up a push certificate for one ref: a push decides each ref once, a replay decides one again.

    Not its nonce: git gives the same one to all who push in the same second.

    Raises:
        RefusedError: it was used for this ref before; nothing was written.
    """
    used = select(certificates.c.digest).where(certificates.c.digest == digest, certificates.c.ref == ref)
    if tx.connection.execute(used).first() is not None:
        raise RefusedError("the push certificate was used before", todo="push again, which makes a new certificate")
    # One whose nonce is too old to be taken need not be remembered.
    tx.connection.execute(delete(certificates).where(certificates.c.expires < milliseconds(tx.now)))
    expires = milliseconds(tx.now + NONCE_LIFE + 2 * MAX_SKEW)
    tx.connection.execute(insert(certificates).values(digest=digest, ref=ref, expires=expires))


def _chunks(oids: Iterable[str]) -> Iterator[list[str]]:
    names = list(oids)
    for start in range(0, len(names), CHUNK):
        yield names[start : start + CHUNK]
