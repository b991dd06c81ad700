"""Connections: what SQLite and PostgreSQL each need to keep a promise, and nothing above knows which one it is."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, MetaData, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from everproof.kernel.errors import ConflictError, InputError, UnavailableError

metadata: Final = MetaData()
"""Every room's tables; each is declared in its room's ``store.py``."""

SYNCHRONOUS: Final = "FULL"
"""SQLite syncs its log at every commit, so that an answered write survives a power loss."""

BUSY_MILLISECONDS: Final = 5_000
"""Only a backup or a checkpoint can hold the lock: there is one writer."""

LOCK_MILLISECONDS: Final = 3_000
"""How long a server waits for the one before it to be gone."""

LOG_PAGES: Final = 8_000
"""Pages of SQLite's log (32 MB) at which a commit moves it into the database itself."""

WRITER_LOCK: Final = 0x45_76_65_72_70_72_66
"""The PostgreSQL advisory lock held, for its session, by the connection that writes."""


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
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return engine
    engine = create_engine(url, poolclass=StaticPool)
    event.listen(engine, "connect", _lock_postgresql_writer)
    return engine


def reader_engine(url: URL) -> Engine:
    """An engine whose transactions each see one unchanging state and cannot write."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=QueuePool, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite_reader)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine
    return create_engine(
        url, isolation_level="REPEATABLE READ", execution_options={"postgresql_readonly": True}, pool_pre_ping=True
    )


def connect_writer(engine: Engine) -> None:
    """Open the connection that writes; on PostgreSQL, only if no other process has one.

    Raises:
        ConflictError: another server writes to this database.
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


def _lock_postgresql_writer(connection: Any, _record: Any) -> None:
    # Taken on the very connection that writes, at every connect: a connection that was lost and made anew has it again
    # or fails, so there are never two writers.
    from psycopg.errors import LockNotAvailable  # late: a server on SQLite never needs it

    # A server that was killed holds it until PostgreSQL notices, so the next one waits a moment.
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"set lock_timeout = {LOCK_MILLISECONDS}")
            cursor.execute("select pg_advisory_lock(%s)", (WRITER_LOCK,))
            cursor.execute("reset lock_timeout")
        except LockNotAvailable as error:
            connection.close()
            raise ConflictError("another Everproof server writes to this database", todo="stop it first") from error
    connection.commit()
