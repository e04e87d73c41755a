"""SQLAlchemy compiles each statement for each database that is opened: a process of tests, which opens hundreds, once."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.store import engine


def compile_once(patch: pytest.MonkeyPatch) -> None:
    """All databases that this process opens, and those forked from it, share what was compiled for the first."""
    plain, first = engine.create_engine, list[Engine]()

    def create_engine(*args: Any, **options: Any) -> Engine:
        made = plain(*args, **options)
        if first:
            made.dialect = made.pool._dialect = first[0].dialect  # type: ignore[misc]
            made._compiled_cache = first[0]._compiled_cache
        else:
            first.append(made)
        return made

    patch.setattr(engine, "create_engine", create_engine)
