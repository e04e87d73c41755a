"""An entry is there if its change is there, in one form, and carries no free text."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select

from gateway.audit.log import Entry, record
from gateway.store.tables import AuditEntry

AT = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC)
GOOD = Entry(
    action="delivery.arrived",
    object_id="L1",
    origin="127.0.0.1",
    actor="eneco",
    at=AT,
    node="n1",
    detail={"rows": 3},
)


def test_the_canonical_form_is_fixed() -> None:
    """Sorted keys, no blanks, UTC: anyone who has the entry computes the same leaf (RFC 8785)."""
    assert GOOD.canonical() == (
        b'{"action":"delivery.arrived","actor":"eneco","detail":{"rows":3},"node":"n1","object":"L1",'
        b'"origin":"127.0.0.1","result":"ok","time":"2026-11-22T12:00:00.000005Z"}'
    )


def test_the_same_instant_elsewhere_is_the_same_entry() -> None:
    """Time is UTC whatever zone it was given in."""
    there = AT.astimezone(timezone(timedelta(hours=1)))
    assert Entry(**{**fields(), "at": there}).canonical() == GOOD.canonical()


@pytest.mark.parametrize("origin", ["::1", "fe80::1%eth0", "192.0.2.7", "cli", "schedule"])
def test_addresses_of_both_families_are_origins(origin: str) -> None:
    """Where it came from, as the listener or the command line says it."""
    assert origin.encode() in Entry(**{**fields(), "origin": origin}).canonical()


def fields() -> dict[str, object]:
    """The fields of a good entry."""
    return {name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__}


@pytest.mark.parametrize(
    "bad",
    [
        {"object_id": "signalen november.csv"},
        {"actor": "J. de Vries"},
        {"result": ""},
        {"origin": "x" * 81},
        {"detail": {"name": "Jan Jansen"}},
        {"detail": {"a reason": 1}},
        {"node": 'n"1'},
        {"at": datetime(2026, 11, 22)},  # noqa: DTZ001
    ],
)
def test_free_text_and_naive_times_are_refused(bad: dict[str, object]) -> None:
    """What could be a name or a file name does not get in."""
    with pytest.raises(ValueError, match="audit entry"):
        Entry(**{**fields(), **bad}).canonical()


def test_an_entry_lives_and_dies_with_its_transaction(log) -> None:
    """A change that was rolled back left no entry, one that was made did."""

    def entries() -> list[bytes]:
        with log.store.read() as conn:
            return [row.entry for row in conn.execute(select(AuditEntry.__table__))]

    def write() -> None:
        record(
            conn,
            action="delivery.arrived",
            object_id="L1",
            origin="127.0.0.1",
            actor="eneco",
            at=AT,
            node="n1",
            detail={"rows": 3},
        )

    with suppress(RuntimeError), log.store.write() as conn:
        write()
        raise RuntimeError
    assert entries() == []
    with log.store.write() as conn:
        write()
    assert entries() == [GOOD.canonical()]
