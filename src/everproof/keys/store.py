"""The tables of keys. Every key in them is wrapped; no row names whom a key is about."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from everproof.storage import metadata

keyring_keys: Final = Table(
    "keys_keyring",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("root", String(64), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)
"""The keyring's keys, each wrapped by a root key; while roots overlap there is a row for each root."""

data_keys: Final = Table(
    "keys_data",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("about", LargeBinary(32)),
    Column("number", Integer, nullable=False),
    Column("keyring", Integer, nullable=False),
    Column("wrapped", LargeBinary),
    Column("reserved", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("erased", BigInteger),
    UniqueConstraint("about", "number", name="keys_data_about"),
)
"""Subjects' keys, wrapped by the keyring. An erased one keeps its id, so that what it sealed says why it is shut."""

signing_keys: Final = Table(
    "keys_signing",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("algorithm", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("ends", BigInteger),
    Column("key_id", String(64), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Signing keys, sealed. The plain columns are part of what the seal is bound to."""


def read_keyring(connection: Connection, root: str) -> list[Row[Any]]:
    """The keyring's keys as wrapped by ``root``, oldest first."""
    rows = select(keyring_keys).where(keyring_keys.c.root == root).order_by(keyring_keys.c.version)
    return list(connection.execute(rows))


def roots(connection: Connection) -> set[str]:
    """The ids of the root keys that open the keyring."""
    return set(connection.scalars(select(keyring_keys.c.root).distinct()))


def newest_version(connection: Connection) -> int:
    """The highest version of the keyring's key; 0 where there is none."""
    return connection.scalar(select(func.max(keyring_keys.c.version))) or 0


def add_keyring_key(connection: Connection, **values: Any) -> None:
    """Keep a wrapped keyring key."""
    connection.execute(insert(keyring_keys), values)


def remove_root(connection: Connection, root: str) -> None:
    """Destroy what ``root`` wrapped."""
    _overwrite_freed(connection)
    connection.execute(delete(keyring_keys).where(keyring_keys.c.root == root))


def remove_idle_versions(connection: Connection, current: int) -> None:
    """Destroy the keyring's keys older than ``current`` that wrap nothing any more."""
    _overwrite_freed(connection)
    used = select(data_keys.c.keyring).distinct().where(data_keys.c.wrapped.is_not(None))
    idle = keyring_keys.c.version.not_in(used) & (keyring_keys.c.version < current)
    connection.execute(delete(keyring_keys).where(idle))


_NEWEST: Final = (
    select(data_keys).where(data_keys.c.about == bindparam("about")).order_by(data_keys.c.number.desc()).limit(1)
)


def newest_data_key(connection: Connection, about: bytes) -> Row[Any] | None:
    """The subject's latest key."""
    return connection.execute(_NEWEST, {"about": about}).first()


def read_data_key(connection: Connection, key_id: str) -> Row[Any] | None:
    """One key, erased or not."""
    return connection.execute(select(data_keys).where(data_keys.c.id == key_id)).first()


def add_data_keys(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Keep wrapped data keys."""
    connection.execute(insert(data_keys), rows)


def reserve(connection: Connection, key_id: str, upto: int) -> None:
    """Note that the key may be used ``upto`` times before this is asked again."""
    connection.execute(update(data_keys).where(data_keys.c.id == key_id).values(reserved=upto))


def data_keys_to_move(connection: Connection, current: int, limit: int) -> list[Row[Any]]:
    """Some of the keys that an older keyring key wraps."""
    older = (data_keys.c.keyring != current) & data_keys.c.wrapped.is_not(None)
    return list(connection.execute(select(data_keys).where(older).limit(limit)))


def move_data_key(connection: Connection, key_id: str, *, keyring: int, wrapped: bytes) -> None:
    """Keep the key as wrapped by another keyring key."""
    connection.execute(update(data_keys).where(data_keys.c.id == key_id).values(keyring=keyring, wrapped=wrapped))


def erase_data_keys(connection: Connection, about: bytes, *, now: int) -> list[str]:
    """Destroy the subject's keys, and any way to see that they were the subject's; the ids that were destroyed."""
    _overwrite_freed(connection)
    theirs = data_keys.c.about == about
    ids = list(connection.scalars(select(data_keys.c.id).where(theirs)))
    connection.execute(update(data_keys).where(theirs).values(about=None, wrapped=None, erased=now))
    return ids


def read_signing_keys(connection: Connection) -> list[Row[Any]]:
    """All signing keys, oldest first."""
    return list(connection.execute(select(signing_keys).order_by(signing_keys.c.created, signing_keys.c.kid)))


def put_signing_key(connection: Connection, **values: Any) -> None:
    """Keep a sealed signing key in place of what was kept under its name."""
    remove_signing_key(connection, values["kid"])
    connection.execute(insert(signing_keys), values)


def remove_signing_key(connection: Connection, kid: str) -> None:
    """Destroy a signing key."""
    _overwrite_freed(connection)
    connection.execute(delete(signing_keys).where(signing_keys.c.kid == kid))


def _overwrite_freed(connection: Connection) -> None:
    """What is destroyed is overwritten with zeros, not left in a free part of its page."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
