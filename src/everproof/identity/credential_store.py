"""The table of what was issued and of keys that are banned; and the only statements over them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    Row,
    Select,
    String,
    Table,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    or_,
    select,
    update,
)

from everproof.identity.records import Credential
from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds, milliseconds
from everproof.kernel.words import Principal, Ref
from everproof.storage import Transaction, metadata
from everproof.storage.prepared import Prepared

MAX_ID: Final = 512
MAX_REASON: Final = 256

_CHUNK: Final = 500
"""Values in one statement; SQLite and PostgreSQL both take many more."""

revoked_keys: Final = Table(
    "identity_revoked_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("revoked", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),
)
"""Keys that nothing is ever bound to again, also keys that were never on record."""

credentials: Final = Table(
    "identity_credentials",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("parent", String(64)),
    Column("kind", String(32), nullable=False),
    Column("type", String(16), nullable=False),
    Column("principal", String(MAX_ID), nullable=False),
    Column("key", String(64)),
    Column("issued", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("audience", String(512)),
    Column("scope", String(8192), nullable=False),
    Column("source", LargeBinary),
    Column("proven", LargeBinary),
    Column("revoked", BigInteger),
    Column("reason", String(MAX_REASON)),
    Index("identity_credentials_parent", "parent"),
    Index("identity_credentials_key", "key"),
    Index("identity_credentials_principal", "type", "principal"),
)
_REVOKED: Final = credentials.c.revoked.is_not(None)
Index("identity_credentials_revoked", credentials.c.expires, sqlite_where=_REVOKED, postgresql_where=_REVOKED)


def load_revoked_keys(connection: Connection) -> Iterator[str]:
    """The names of the keys that nothing is bound to again."""
    yield from connection.scalars(select(revoked_keys.c.name))


def is_key_revoked(connection: Connection, names: Sequence[str]) -> bool:
    """Whether one of ``names`` was ever revoked."""
    return connection.scalar(select(revoked_keys.c.name).where(revoked_keys.c.name.in_(names)).limit(1)) is not None


def ban_key(tx: Transaction, name: str, reason: str) -> None:
    """Let nothing be bound to the key any more; once is enough."""
    if not is_key_revoked(tx.connection, [name]):
        tx.connection.execute(insert(revoked_keys).values(name=name, revoked=milliseconds(tx.now), reason=reason))


_PARENT: Final = credentials.alias("parent")
_GIVEN: Final = {
    column.name: bindparam(f"given_{column.name}", type_=column.type)
    for column in credentials.c
    if column.name not in {"revoked", "reason"}
}
_ISSUE: Final = Prepared(
    insert(credentials).from_select(
        list(_GIVEN),
        select(*_GIVEN.values()).where(
            or_(
                _GIVEN["parent"].is_(None),
                exists().where(
                    _PARENT.c.id == _GIVEN["parent"],
                    _PARENT.c.revoked.is_(None),
                    _PARENT.c.expires >= _GIVEN["expires"],
                ),
            ),
            or_(_GIVEN["key"].is_(None), ~exists().where(revoked_keys.c.name == _GIVEN["key"])),
        ),
        include_defaults=False,
    )
)
"""One statement puts a credential on record if its parent lives, outlives it, and its key was never revoked: in the
commit, where what memory has not heard of yet counts too."""


def insert_credential(tx: Transaction, credential: Credential) -> bool:
    """Put ``credential`` on record; False, and nothing written, where its parent or its key is dead."""
    values = {
        "given_id": credential.id,
        "given_parent": credential.parent,
        "given_kind": credential.kind,
        "given_type": credential.principal.type,
        "given_principal": credential.principal.id,
        "given_key": credential.key,
        "given_issued": milliseconds(credential.issued),
        "given_expires": milliseconds(credential.expires),
        "given_audience": credential.audience,
        "given_scope": " ".join(credential.scope),
        "given_source": encode(credential.source) if credential.source else None,
        "given_proven": encode(credential.proven) if credential.proven is not None else None,
    }
    return _ISSUE.run(tx.connection, values) == 1


_FIND: Final = select(credentials).where(credentials.c.id == bindparam("wanted"))


def find_credential(connection: Connection, id_: str) -> Credential | None:
    """One credential, dead or alive."""
    row = connection.execute(_FIND, {"wanted": id_}).first()
    return None if row is None else _credential(row)


def find_bound(connection: Connection, key: str, now: datetime) -> list[Credential]:
    """The credentials that live and are bound to ``key``, the newest first."""
    found = select(credentials).where(
        credentials.c.key == key, credentials.c.revoked.is_(None), credentials.c.expires > milliseconds(now)
    )
    return [_credential(row) for row in connection.execute(found.order_by(credentials.c.id.desc()).limit(_CHUNK))]


def find_subtree(connection: Connection, root: str, *, limit: int) -> list[Credential]:
    """``root`` and what descends from it, dead or alive, parents before children; at most ``limit``."""
    depth = literal(0).label("depth")
    tree = select(credentials.c.id, depth).where(credentials.c.id == root).cte("tree", recursive=True)
    child = select(credentials.c.id, tree.c.depth + 1).join(tree, credentials.c.parent == tree.c.id)
    tree = tree.union_all(child)
    found = select(credentials).join(tree, credentials.c.id == tree.c.id).order_by(tree.c.depth, credentials.c.id)
    return [_credential(row) for row in connection.execute(found.limit(limit))]


def live_subtrees(connection: Connection, roots: Sequence[str], *, but: Sequence[str]) -> dict[str, int]:
    """What of ``roots`` and their descendants is not revoked, and not of the kinds ``but``; each with its end."""
    found: dict[str, int] = {}
    for at in range(0, len(roots), _CHUNK):
        alive = select(credentials.c.id, credentials.c.expires).where(
            credentials.c.id.in_(_descent(roots[at : at + _CHUNK])),
            credentials.c.revoked.is_(None),
            credentials.c.kind.not_in(but),
        )
        found.update({row.id: row.expires for row in connection.execute(alive)})
    return found


def find_live(connection: Connection, ids: Sequence[str]) -> list[Credential]:
    """Those of ``ids``, at most some hundreds, that are not revoked."""
    found = select(credentials).where(credentials.c.id.in_(ids), credentials.c.revoked.is_(None))
    return [_credential(row) for row in connection.execute(found)]


def _descent(roots: Sequence[str]) -> Select[Any]:
    tree = select(credentials.c.id).where(credentials.c.id.in_(roots)).cte("tree", recursive=True)
    tree = tree.union(select(credentials.c.id).join(tree, credentials.c.parent == tree.c.id))
    return select(tree.c.id)


def ids_of_key(connection: Connection, names: Sequence[str]) -> list[str]:
    """The credentials, not yet revoked, that are bound to a key."""
    found = select(credentials.c.id).where(credentials.c.key.in_(names), credentials.c.revoked.is_(None))
    return list(connection.scalars(found))


def ids_of_principal(connection: Connection, ref: Ref, *, but: Sequence[str]) -> list[str]:
    """The credentials of ``ref``, not yet revoked, except those of the kinds in ``but``."""
    found = select(credentials.c.id).where(
        credentials.c.type == ref.type,
        credentials.c.principal == ref.id,
        credentials.c.revoked.is_(None),
        credentials.c.kind.not_in(but),
    )
    return list(connection.scalars(found))


def set_expiry(tx: Transaction, credential: str, expires: datetime) -> None:
    """Let a root end at another time; what descends from it already ends when it was to."""
    changed = update(credentials).where(credentials.c.id == credential)
    tx.connection.execute(changed.values(expires=milliseconds(expires)))


def mark_revoked(tx: Transaction, ids: Sequence[str], reason: str) -> None:
    """Note that these credentials are dead from now on."""
    for at in range(0, len(ids), _CHUNK):
        chunk = update(credentials).where(credentials.c.id.in_(ids[at : at + _CHUNK]))
        tx.connection.execute(chunk.values(revoked=milliseconds(tx.now), reason=reason[:MAX_REASON]))


def load_revoked(connection: Connection, now: datetime) -> list[tuple[str, int]]:
    """The credentials that were revoked and would live otherwise, with when they end."""
    found = select(credentials.c.id, credentials.c.expires).where(
        credentials.c.revoked.is_not(None), credentials.c.expires > milliseconds(now)
    )
    return [(row.id, row.expires) for row in connection.execute(found)]


def forget_credentials(tx: Transaction, before: datetime) -> int:
    """Remove what expired before ``before`` and is nobody's parent any more; how many."""
    child = credentials.alias("child")
    old = delete(credentials).where(
        credentials.c.expires < milliseconds(before), ~exists().where(child.c.parent == credentials.c.id)
    )
    return tx.connection.execute(old).rowcount


def _credential(row: Row[Any]) -> Credential:
    return Credential(
        id=row.id,
        parent=row.parent,
        kind=row.kind,
        principal=Ref(row.type, row.principal),
        key=row.key,
        issued=from_milliseconds(row.issued),
        expires=from_milliseconds(row.expires),
        audience=row.audience,
        scope=tuple(row.scope.split()),
        source=msgspec.json.decode(row.source) if row.source else {},
        proven=msgspec.json.decode(row.proven, type=Principal) if row.proven else None,
        revoked_at=None if row.revoked is None else from_milliseconds(row.revoked),
        revoked_reason=row.reason,
    )
