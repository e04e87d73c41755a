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
    forms = [(place, _Once(form)) for place, form in how.forms]
    formed = []
    for row in rows:
        values = [*row, *how.defaults]
        for place, form in forms:
            values[place] = form[values[place]]
        formed.append(tuple(values))
    return formed


class _Once(dict[Any, Any]):
    """Forms each value once."""

    def __init__(self, form: Callable[[Any], Any]) -> None:
        self._form = form

    def __missing__(self, value: Any) -> Any:
        formed = self[value] = self._form(value)
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


class _Query(NamedTuple):
    """How a query is asked, and what its columns hold."""

    sql: str
    #: of each `?` its name, the form of its value, and the value that the query itself gives it
    binds: tuple[tuple[str, Callable[[Any], Any] | None, Any], ...]
    #: place in a row, and what a value of the database stands for
    forms: tuple[tuple[int, Callable[[Any], Any]], ...]


def fetch(
    conn: Connection, query: Select[Any], values: Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """All rows of a query that was built once, as plain tuples; in it no list of values but `listed`."""
    how, values = _query(query), values or {}
    asked = tuple(
        [form(values.get(name, own)) if form else values.get(name, own) for name, form, own in how.binds]
    )
    rows: list[tuple[Any, ...]] = list(conn.exec_driver_sql(how.sql, asked).cursor.fetchall())
    if not rows or not how.forms:
        return rows
    # by column: a column has few days and instants, each is formed once
    columns: list[Iterable[Any]] = [*zip(*rows, strict=True)]
    for place, form in how.forms:
        columns[place] = map(_Once(form).__getitem__, columns[place])
    return list(zip(*columns, strict=True))


@lru_cache(maxsize=64)
def _query(query: Select[Any]) -> _Query:
    compiled = query.compile(dialect=_DIALECT)
    binds = {name: bind for bind, name in compiled.bind_names.items()}
    return _Query(
        str(compiled),
        tuple(
            (name, binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT), binds[name].value)
            for name in compiled.positiontup or ()
        ),
        _forms_of(query.selected_columns),
    )


def _forms_of(columns: Iterable[ColumnElement[Any]]) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    """Place in a row, and what a value of the database stands for."""
    forms = (column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for column in columns)
    return tuple((place, form) for place, form in enumerate(forms) if form is not None)
