"""Statements of the hot path, compiled once: SQLAlchemy's part of each execution costs more than SQLite's own."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement, Executable
from sqlalchemy.sql.compiler import SQLCompiler


class Prepared:
    """One statement that changes rows; its values are given by name each time, as the database takes them.

    On SQLite it goes to the driver directly. On PostgreSQL, where a connection can be lost and SQLAlchemy must see it,
    it goes the usual way.
    """

    def __init__(self, statement: Executable) -> None:
        assert isinstance(statement, ClauseElement)
        self._statement = statement.execution_options(preserve_rowcount=True)
        compiled = statement.compile(dialect=sqlite.dialect())
        assert isinstance(compiled, SQLCompiler)
        self._sql = str(compiled)
        self._names = tuple(compiled.positiontup or ())

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Execute with ``values``; how many rows were changed."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, dict(values)).rowcount
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._sql, tuple([values[name] for name in self._names]))
            return cursor.rowcount
        finally:
            cursor.close()
