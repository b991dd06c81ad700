"""The table of repositories' tokens, and the only statements over it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.secrets.repositories import Access
from everproof.storage import Transaction, metadata

State: TypeAlias = Literal["asked", "held", "ended"]
"""``asked``: the platform may have made it, and its answer is not on record."""

OPEN: Final = ("asked", "held")

tokens: Final = Table(
    "secrets_repository_tokens",
    metadata,
    Column("credential", String(64), primary_key=True),
    Column("parent", String(64), nullable=False),
    Column("host", String(32), nullable=False),
    Column("repository", String(32), nullable=False),
    Column("permissions", String(1024), nullable=False),
    Column("state", String(8), nullable=False),
    Column("ends", BigInteger, nullable=False),
    Column("dies", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("token_id", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("secrets_repository_tokens_state", "state", "credential"),
    Index("secrets_repository_tokens_parent", "parent", "state"),
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it stands. ``ends`` is ours to see to; ``dies`` is when the platform ends it by itself."""

    credential: str
    access: Access
    state: State
    ends: datetime
    dies: datetime
    token_id: str
    key_id: str
    sealed: bytes


def count_open(connection: Connection, parent: str) -> int:
    """How many tokens that may live come from one credential."""
    found = select(func.count()).select_from(tokens).where(tokens.c.parent == parent, tokens.c.state.in_(OPEN))
    return connection.scalar(found) or 0


def insert_token(
    tx: Transaction, credential: str, parent: str, access: Access, *, ends: datetime, dies: datetime
) -> None:
    """Note that a token is about to be asked for."""
    tx.connection.execute(
        insert(tokens).values(
            credential=credential, parent=parent, host=access.host, repository=access.repository,
            permissions=" ".join(access.words), state="asked", ends=milliseconds(ends), dies=milliseconds(dies),
            ended=None, token_id="", key_id="", sealed=b"",
        )
    )  # fmt: skip


def hold(tx: Transaction, credential: str, *, token_id: str, key_id: str, sealed: bytes, dies: datetime) -> None:
    """Note what the platform made; also if its end was seen to before it was known."""
    changed = update(tokens).where(tokens.c.credential == credential)
    tx.connection.execute(
        changed.values(
            state="held", token_id=token_id, key_id=key_id, sealed=sealed, dies=milliseconds(dies), ended=None
        )
    )


def end(tx: Transaction, credential: str) -> None:
    """Note that a token is dead, and forget it."""
    changed = update(tokens).where(tokens.c.credential == credential)
    tx.connection.execute(changed.values(state="ended", ended=milliseconds(tx.now), key_id="", sealed=b""))


def find(connection: Connection, credential: str) -> Kept | None:
    """One token, dead or alive."""
    row = connection.execute(select(tokens).where(tokens.c.credential == credential)).first()
    return None if row is None else _kept(row)


def among(connection: Connection, credentials: Sequence[str]) -> list[Kept]:
    """Those of ``credentials``, at most some hundreds, whose tokens may live."""
    found = select(tokens).where(tokens.c.credential.in_(credentials), tokens.c.state.in_(OPEN))
    return [_kept(row) for row in connection.execute(found)]


def open_after(connection: Connection, after: str, *, limit: int) -> list[str]:
    """Credentials whose tokens may live, in the order of their ids."""
    found = select(tokens.c.credential).where(tokens.c.state.in_(OPEN), tokens.c.credential > after)
    return list(connection.scalars(found.order_by(tokens.c.credential).limit(limit)))


def forget(tx: Transaction, before: datetime) -> None:
    """Remove what ended before ``before``."""
    tx.connection.execute(delete(tokens).where(tokens.c.state == "ended", tokens.c.ended < milliseconds(before)))


def _kept(row: Row[Any]) -> Kept:
    permissions = dict(one.split(":", 1) for one in row.permissions.split())
    return Kept(
        credential=row.credential,
        access=Access(row.host, row.repository, permissions),
        state=row.state,
        ends=from_milliseconds(row.ends),
        dies=from_milliseconds(row.dies),
        token_id=row.token_id,
        key_id=row.key_id,
        sealed=row.sealed,
    )
