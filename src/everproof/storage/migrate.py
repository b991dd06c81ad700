"""Bringing a database to the version of this program, and refusing one that is newer."""

from pathlib import Path
from typing import Final

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from everproof.kernel.errors import Error

_SCRIPTS: Final = Path(__file__).parent / "migrations"


class NewerDatabaseError(Error):
    """The database was written by a newer Everproof than this one."""

    code = "newer-database"


def migrate(engine: Engine) -> None:
    """Bring the database of ``engine`` to this program's version, in one transaction.

    Raises:
        NewerDatabaseError: it is of a version that this program does not know.
    """
    with engine.begin() as connection:
        scripts = _known(connection)
        config = Config(attributes={"connection": connection})
        with EnvironmentContext(config, scripts, fn=lambda rev, _: scripts._upgrade_revs("head", rev)):  # noqa: SLF001 - what alembic.command.upgrade itself calls; the command takes no ScriptDirectory
            scripts.run_env()


def require_current(engine: Engine) -> None:
    """Refuse a database that this program's version would have to migrate, or is older than.

    Raises:
        NewerDatabaseError: it is newer.
        Error: it is older.
    """
    with engine.begin() as connection:
        scripts = _known(connection)
        if MigrationContext.configure(connection).get_current_revision() != scripts.get_current_head():
            raise Error("the database is of an older version", todo="start the server once: it brings it up to date")


def is_current(engine: Engine) -> bool:
    """Whether the database is of this program's version.

    Raises:
        NewerDatabaseError: it is of a version that this program does not know.
    """
    with engine.begin() as connection:
        return MigrationContext.configure(connection).get_current_revision() == _known(connection).get_current_head()


def newest() -> str | None:
    """This program's version of a database."""
    return ScriptDirectory(str(_SCRIPTS)).get_current_head()


def _known(connection: Connection) -> ScriptDirectory:
    scripts = ScriptDirectory(str(_SCRIPTS))
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise NewerDatabaseError(
            f"the database is of version {current}, which this Everproof does not know",
            todo="start the newer Everproof that wrote it; a database is never taken back",
        )
    return scripts
