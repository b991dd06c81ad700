"""What was used: the first use of a token binds it to a key, a single-use assertion is spent. Decided in the commit."""

from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, bindparam, delete, exists, insert, select

from everproof.identity.oauth import ReplayedError
from everproof.kernel.clock import MAX_SKEW, milliseconds
from everproof.storage import Transaction, metadata
from everproof.storage.prepared import Prepared

OUTLIVES: Final = MAX_SKEW * 4
"""A row outlives the last moment at which its token could still be accepted, whichever replica's clock decides."""

token_bindings: Final = Table(
    "token_bindings",
    metadata,
    Column("token", LargeBinary(32), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("credential", String(64), nullable=False),
    Column("expires", BigInteger, nullable=False),
    Index("token_bindings_expires", "expires"),
)
"""``key`` is the thumbprint that a token belongs to; ``credential`` is what it became the parent of."""

_GIVEN: Final = {column.name: bindparam(f"given_{column.name}", type_=column.type) for column in token_bindings.c}
_INSERT: Final = Prepared(
    insert(token_bindings).from_select(
        list(_GIVEN),
        select(*_GIVEN.values()).where(~exists().where(token_bindings.c.token == _GIVEN["token"])),
        include_defaults=False,
    )
)
"""Decides and writes in one statement. There is one writer, and the primary key stands behind it."""


class FirstUse(msgspec.Struct, frozen=True):
    """The credential that stands for a token. ``recent``: since this batch, so that memory does not know it yet."""

    credential: str
    new: bool
    recent: bool


def bind_first_use(tx: Transaction, token: bytes, key: str, expires: datetime, credential: str) -> FirstUse:
    """Bind ``token`` to ``key`` if it is new, with ``credential`` to stand for it; else it must be bound to ``key``.

    Raises:
        ReplayedError: another key used it first. Nothing was written.
    """
    recent: set[str] = tx.staged("identity.token-bindings", set)
    if _insert(tx, token, key, expires, credential):
        recent.add(credential)
        return FirstUse(credential, new=True, recent=True)
    bound = tx.connection.execute(
        select(token_bindings.c.key, token_bindings.c.credential).where(token_bindings.c.token == token)
    ).one()
    if bound.key != key:
        raise ReplayedError(
            "this token was used before, with another key",
            todo="ask the issuer for a new token; if you did not use this one, somebody else has it",
        )
    return FirstUse(bound.credential, new=False, recent=bound.credential in recent)


def spend(tx: Transaction, token: bytes, expires: datetime) -> None:
    """Use ``token``, which can be used once.

    Raises:
        ReplayedError: it was used. Nothing was written.
    """
    if not _insert(tx, token, "", expires, ""):
        raise ReplayedError("this assertion was used before", todo="sign a new one for each request")


def forget_expired(tx: Transaction) -> None:
    """Remove the rows of tokens that nobody accepts any more."""
    tx.connection.execute(delete(token_bindings).where(token_bindings.c.expires < milliseconds(tx.now)))


def _insert(tx: Transaction, token: bytes, key: str, expires: datetime, credential: str) -> bool:
    row = {
        "given_token": token,
        "given_key": key,
        "given_credential": credential,
        "given_expires": milliseconds(expires + OUTLIVES),
    }
    return _INSERT.run(tx.connection, row) == 1
