"""Statements that each small file needs, compiled once: the driver gets the text and the values, and nothing is between.

SQLAlchemy's own way to the driver takes several times what SQLite does for one row found by its key. What is asked less
often goes that way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Select, UpdateBase
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

_DIALECT = sqlite.dialect()


def driver(conn: Connection) -> sqlite3.Connection:
    """The driver's own connection, in the same transaction."""
    return cast("sqlite3.Connection", conn.connection.driver_connection)


def run(conn: Connection, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Execute a statement as it is. Raises SQLAlchemy's errors, without the values."""
    try:
        return driver(conn).execute(sql, values)
    except sqlite3.Error as exc:
        raise DBAPIError.instance(
            sql, None, exc, sqlite3.Error, hide_parameters=True, dialect=_DIALECT
        ) from exc


class Prepared:
    """A statement in the driver's own words.

    Args:
        statement: one of SQLAlchemy's, without lists.
        columns: of an INSERT or UPDATE, those that are given; an INSERT takes the defaults of the others.
    """

    def __init__(self, statement: Select[Any] | UpdateBase, columns: Sequence[str] = ()) -> None:
        compiled = statement.compile(dialect=_DIALECT, column_keys=columns or None)
        self._sql = compiled.string
        self._names = tuple(compiled.positiontup or ())
        #: values that are the same each time; the defaults of our columns are constants all
        self._constants: dict[str, Any] = dict(compiled.params) | {
            column.key: column.default.arg  # type: ignore[union-attr]
            for column in compiled.insert_prefetch
        }
        types = (compiled.binds[name].type.dialect_impl(_DIALECT) for name in self._names)
        self._forms = _present(each.bind_processor(_DIALECT) for each in types)
        found = (column.type.dialect_impl(_DIALECT) for column in statement.exported_columns)
        self._reads = _present(each.result_processor(_DIALECT, None) for each in found)

    def rows(self, conn: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows that it finds or returns."""
        rows: list[tuple[Any, ...]] = self._execute(conn, values).fetchall()
        if not rows or not self._reads:
            return rows
        # by column: a column has few days and instants
        columns: list[Iterable[Any]] = [*zip(*rows, strict=True)]
        for place, form in self._reads:
            columns[place] = map(Once(form).__getitem__, columns[place])
        return list(zip(*columns, strict=True))

    def count(self, conn: Connection, values: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        return self._execute(conn, values).rowcount

    def _execute(self, conn: Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        given = {**self._constants, **values}
        bound = [given[name] for name in self._names]
        for place, form in self._forms:
            bound[place] = form(bound[place])
        return run(conn, self._sql, bound)


class Once(dict[Any, Any]):
    """Forms each value once."""

    def __init__(self, form: Callable[[Any], Any]) -> None:
        self._form = form

    def __missing__(self, value: Any) -> Any:
        formed = self[value] = self._form(value)
        return formed


def _present(
    forms: Iterable[Callable[[Any], Any] | None],
) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    """Those values, by their places, that the driver has in another form than we."""
    return tuple((place, form) for place, form in enumerate(forms) if form is not None)
