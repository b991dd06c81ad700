"""Several versions of this program on one PostgreSQL database: refused, and never half done.

Every connection that writes shares a lock for as long as it lives, and holds it from before it looks at the version.
Whoever migrates has the lock alone. A connection that was lost looks again.
"""

import time
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from everproof.kernel.errors import ConflictError
from everproof.storage.database import SCHEMA_LOCK
from everproof.storage.migrate import is_current, migrate, newest

_STOP: Final = "stop them all, then start this one"

PATIENCE_SECONDS: Final = 15.0
"""How long a start waits for another one that migrates, or for an older server that is on its way out."""

_AGAIN_SECONDS: Final = 0.05
_SHARE: Final = f"SELECT pg_advisory_lock_shared({SCHEMA_LOCK})"
_UNSHARE: Final = f"SELECT pg_advisory_unlock_shared({SCHEMA_LOCK})"
_TRY: Final = f"SELECT pg_try_advisory_lock({SCHEMA_LOCK})"
_GIVE: Final = f"SELECT pg_advisory_unlock({SCHEMA_LOCK})"
_VERSION: Final = "SELECT version_num FROM alembic_version"


def join(engine: Engine) -> None:
    """Bring the database of ``engine``'s one connection to this program's version, and keep it there while it lives.

    Raises:
        NewerDatabaseError: it is of a version that this program does not know.
        ConflictError: servers of an older version write to it.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        _share(engine)
        if is_current(engine):
            break
        # Given back before it is asked for alone: of two that start, each would wait for the other.
        _run(engine, _UNSHARE)
        if _run(engine, _TRY):
            migrate(engine)
            _run(engine, _SHARE)
            _run(engine, _GIVE)
            break
        if time.monotonic() > deadline:
            raise ConflictError("servers of an older version write to this database", todo=_STOP)
        time.sleep(_AGAIN_SECONDS)
    event.listen(engine, "connect", _rejoin)


def _share(engine: Engine) -> None:
    try:
        _run(engine, _SHARE)
    except OperationalError as error:
        raise ConflictError("another server has this database for itself", todo=_STOP) from error


def _run(engine: Engine, statement: str) -> object:
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS:.0f}s'")
        value = connection.exec_driver_sql(statement).scalar()
        connection.commit()
    return value


def _rejoin(connection: Any, _record: Any) -> None:
    """Share the lock anew: whoever migrated meanwhile ended this process's part in it."""
    connection.execute(_SHARE)
    version = connection.execute(_VERSION).fetchone()
    connection.commit()
    if version is None or version[0] != newest():
        connection.close()
        raise ConflictError(
            "the database was brought to another version while this server had lost it",
            todo="start this server anew, with the version of the others",
        )
