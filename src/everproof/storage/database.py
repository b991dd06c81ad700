"""Connections: what SQLite and PostgreSQL each need to keep a promise, and nothing above knows which one it is."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, MetaData, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from everproof.kernel.errors import InputError, UnavailableError
from everproof.storage.prepared import drive

metadata: Final = MetaData()
"""Every room's tables; each is declared in its room's ``store.py``."""

SYNCHRONOUS: Final = "FULL"
"""SQLite syncs its log at every commit, so that an answered write survives a power loss."""

BUSY_MILLISECONDS: Final = 5_000
"""Only a backup or a checkpoint can hold the lock: there is one writer."""

LOG_PAGES: Final = 8_000
"""Pages of SQLite's log (32 MB) at which a commit moves it into the database itself."""

SCHEMA_LOCK: Final = 0x45_76_65_72_70_72_66
"""The PostgreSQL advisory lock that every connection that writes shares, and that whoever migrates has alone."""

CONNECT_SECONDS: Final = 3
SILENCE_SECONDS: Final = 3
"""How long a connection that is cut off is believed in, by either side."""

IDLE_MILLISECONDS: Final = 2_000
"""How long a process may do nothing within its transaction: one that is paused gives the others way after it."""

TURN_MILLISECONDS: Final = 5_000
"""How long a process waits for its turn to write: longer than another may keep it."""

POSTGRESQL_OPTIONS: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": SILENCE_SECONDS - 1,
    "tcp_user_timeout": SILENCE_SECONDS * 1000,
    "application_name": "everproof",
}


def parse_url(url: str) -> URL:
    """The address of a database.

    Raises:
        InputError: not an address, or of a database that is not supported.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        todo = "use postgresql://… or sqlite:///…"
        raise InputError("not a database address", place="database", todo=todo) from error
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return parsed
    raise InputError(f"{parsed.get_backend_name()} is not supported", place="database", todo="use PostgreSQL or SQLite")


def writer_engine(url: URL) -> Engine:
    """An engine of exactly one connection, the one that writes."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite_writer)
        event.listen(engine, "begin", lambda connection: drive(connection, "BEGIN IMMEDIATE"))
        return engine
    engine = create_engine(url, poolclass=StaticPool, isolation_level="READ COMMITTED", connect_args=POSTGRESQL_OPTIONS)
    event.listen(engine, "connect", _prepare_postgresql_writer)
    return engine


def reader_engine(url: URL) -> Engine:
    """An engine whose transactions each see one unchanging state and cannot write."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=QueuePool, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite_reader)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine
    return create_engine(
        url,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
        pool_pre_ping=True,
        pool_timeout=CONNECT_SECONDS,
        connect_args=POSTGRESQL_OPTIONS,
    )


def follower_engine(url: URL) -> Engine:
    """An engine for the one connection that hears what others commit."""
    return create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=POSTGRESQL_OPTIONS)


def connect_writer(engine: Engine) -> None:
    """Open the connection that writes.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    try:
        engine.connect().close()
    except SQLAlchemyError as error:
        raise UnavailableError(
            f"the database cannot be opened: {str(error.__cause__ or error).splitlines()[0]}",
            place=engine.url.render_as_string(hide_password=True),
            todo="start PostgreSQL, or correct `database` in server.toml",
        ) from error


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite address."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database.removeprefix("file:").partition("?")[0])


def _prepare_sqlite(connection: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN, above, is the only one
    connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")


def _prepare_sqlite_writer(connection: Any, _record: Any) -> None:
    _prepare_sqlite(connection)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")


def _prepare_sqlite_reader(connection: Any, _record: Any) -> None:
    _prepare_sqlite(connection)
    connection.execute("PRAGMA query_only=ON")


def _prepare_postgresql_writer(connection: Any, _record: Any) -> None:
    silence = SILENCE_SECONDS
    connection.execute(
        f"SET idle_in_transaction_session_timeout = {IDLE_MILLISECONDS}; SET lock_timeout = {TURN_MILLISECONDS};"
        f"SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = {silence - 1};"
        f"SET tcp_user_timeout = {silence * 1000}"
    )
    connection.commit()
