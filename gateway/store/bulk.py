"""Many rows and many values at once: one statement for all of them, built once, and no object for each row.

A list of values goes to SQLite as one JSON text (https://sqlite.org/json1.html, json_each); rows go to the driver and
come from it as plain tuples, in the form that SQLAlchemy's own types give them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, bindparam, func, select
from sqlalchemy.dialects import sqlite

from gateway.store.prepared import Once, Prepared

_DIALECT = sqlite.dialect()


def listed(column: ColumnElement[Any], name: str = "listed") -> ColumnElement[bool]:
    """Whether a column, of text or whole numbers, is one of the values that `as_list` bound under `name`."""
    values = func.json_each(bindparam(name)).table_valued("value")
    return column.in_(select(values.c.value))


def as_list(values: Iterable[str | int]) -> str:
    """Values for `listed`."""
    return json.dumps(list(values))


class _Statement(NamedTuple):
    """How rows with certain columns are stored."""

    sql: str
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    #: place in a row, and what the database holds instead of a value
    forms: tuple[tuple[int, Callable[[Any], Any]], ...]
    #: of the columns that the rows lack
    defaults: tuple[Any, ...]


def insert_rows(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns, at least two; one that is left out gets its default."""
    if not rows:
        return
    how = _insert(table, tuple(rows[0]))
    conn.exec_driver_sql(how.sql, _formed(how, map(how.values, rows)))


def insert_values(
    conn: Connection, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """As `insert_rows`, of rows that are the values of the columns `names`."""
    if rows:
        how = _insert(table, names)
        conn.exec_driver_sql(how.sql, _formed(how, rows))


def stored(column: Column[Any], value: Any) -> Any:
    """A value as the database holds it in a column."""
    form = column.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return form(value) if form else value


def _formed(how: _Statement, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows as the database holds them."""
    # a column has few days and instants: each is formed once
    forms = [(place, Once(form)) for place, form in how.forms]
    formed = []
    for row in rows:
        values = [*row, *how.defaults]
        for place, form in forms:
            values[place] = form[values[place]]
        formed.append(tuple(values))
    return formed


@lru_cache(maxsize=64)
def _insert(table: Table, names: tuple[str, ...]) -> _Statement:
    defaults = {
        column.name: column.default.arg  # type: ignore[attr-defined]  # a constant: our tables have no other
        for column in table.columns
        if column.default is not None and column.name not in names
    }
    columns = [table.c[name] for name in (*names, *defaults)]
    quoted = ", ".join(f'"{column.name}"' for column in columns)
    return _Statement(
        # our own names
        f"INSERT INTO {table.name} ({quoted}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
        itemgetter(*names),
        _forms(columns),
        tuple(defaults.values()),
    )


def _forms(columns: Sequence[Column[Any]]) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    """Place in a row, and what the database holds instead of a value."""
    forms = (column.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) for column in columns)
    return tuple((place, form) for place, form in enumerate(forms) if form is not None)


def fetch(
    conn: Connection, query: Select[Any], values: Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """All rows of a query that was built once, as plain tuples; in it no list of values but `listed`."""
    return _prepared(query).rows(conn, values or {})


@lru_cache(maxsize=64)
def _prepared(query: Select[Any]) -> Prepared:
    return Prepared(query)
