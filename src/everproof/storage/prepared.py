"""Statements of the hot path, composed once: SQLAlchemy's part of each execution costs more than SQLite's own.

On SQLite they go to the driver directly. On PostgreSQL, where a connection can be lost and SQLAlchemy must see it, they
go the usual way.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement, Executable
from sqlalchemy.sql.compiler import SQLCompiler

MOST_ROWS: Final = 64


class Prepared:
    """One statement that changes rows; its values are given by name each time, as the database takes them."""

    def __init__(self, statement: Executable) -> None:
        assert isinstance(statement, ClauseElement)
        self._statement = statement.execution_options(preserve_rowcount=True)
        compiled = statement.compile(dialect=sqlite.dialect())
        assert isinstance(compiled, SQLCompiler)
        self._sql = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Execute with ``values``; how many rows were changed."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, dict(values)).rowcount
        given = {**self._fixed, **values}
        return drive(connection, self._sql, tuple([given[name] for name in self._names]))


class Rows:
    """Adds rows to one table, each a plain tuple in the order of its columns, as the database takes them.

    On SQLite many are added in one step: between two steps the driver gives the interpreter away, and under load does
    not get it back soon. A few sizes of statement serve any number of rows.
    """

    def __init__(self, table: Table, *, on_conflict: str = "") -> None:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        self._start = f"INSERT INTO {table.name} ({columns}) VALUES "  # noqa: S608 - names of our own tables
        self._row = f"({', '.join('?' * len(table.columns))})"
        self._end = f" ON CONFLICT {on_conflict}" if on_conflict else ""

    def add(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add ``rows``."""
        if connection.dialect.name != "sqlite":
            connection.exec_driver_sql(self._start + self._row.replace("?", "%s") + self._end, list(rows))
            return
        done, size = 0, MOST_ROWS
        while done < len(rows):
            while size > len(rows) - done:
                size //= 2
            statement = self._start + ", ".join([self._row] * size) + self._end
            drive(connection, statement, tuple(chain.from_iterable(rows[done : done + size])))
            done += size


def drive(connection: Connection, statement: str, values: tuple[Any, ...] = ()) -> int:
    """Execute on SQLite; how many rows were changed."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, values)
    except sqlite3.Error as error:
        # As SQLAlchemy would say it, and without the values: they may be secrets.
        raise DBAPIError.instance(
            statement, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
        ) from error
    else:
        return cursor.rowcount
    finally:
        cursor.close()
