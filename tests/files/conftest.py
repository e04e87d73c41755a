"""A creditor, a good row, and a way to read a file made of such rows."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from gateway.domain.partner import Partner, Role
from gateway.domain.signal import RowError, RowWarning, Signal
from gateway.files.signalfile import read_signals
from gateway.files.signalrow import ParsedRow
from gateway.files.table import Limits

RECEIVED_ON = date(2026, 11, 22)

GOOD = {
    "signaal_id": "HV-1",
    "sector": "Huur",
    "klantnummer": "K1",
    "achternaam": "Jansen",
    "postcode": "1234 AB",
    "huisnummer": "12",
    "bedrag": "850,00",
    "ontstaansdatum": "2026-08-01",
    "sociaal_incasso": "J",
}

Result = tuple[list[ParsedRow], list[RowWarning]]
ReadFile = Callable[..., Result]


@pytest.fixture(scope="session")
def creditor() -> Partner:
    """A creditor of two sectors."""
    return Partner(id="dewoning", name="De Woning", role=Role.CREDITOR, sectors=("Huur", "Energie"))


@pytest.fixture(scope="session")
def good() -> dict[str, str]:
    """The columns and values of a row that is accepted."""
    return dict(GOOD)


@pytest.fixture(scope="session")
def as_csv() -> Callable[..., str]:
    """Makes a CSV text of rows that are dicts."""

    def make(*rows: dict[str, str], delimiter: str = ";", end: str = "\r\n") -> str:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
        return "".join(delimiter.join(line) + end for line in lines)

    return make


@pytest.fixture(scope="session")
def read_file(creditor: Partner) -> ReadFile:
    """Reads bytes (or text, as UTF-8, or chunks) as a signal file: all rows and all warnings."""

    def read(
        data: bytes | str | Iterable[bytes],
        *,
        limits: Limits | None = None,
        received_on: date = RECEIVED_ON,
        **partner: Any,
    ) -> Result:
        chunks = (
            [data.encode()] if isinstance(data, str) else [data] if isinstance(data, bytes) else list(data)
        )
        found = read_signals(lambda: iter(chunks), replace(creditor, **partner), received_on, limits)
        rows: list[ParsedRow] = []
        warnings = list(found.warnings)
        for batch in found.batches:
            rows += batch.rows
            warnings += batch.warnings
        return rows, warnings

    return read


@pytest.fixture(scope="session")
def read_row(read_file: ReadFile, as_csv: Callable[..., str]) -> Callable[..., ParsedRow]:
    """Reads the good row with some columns changed; None drops a column."""

    def read(changes: dict[str, str | None] | None = None, **partner: Any) -> ParsedRow:
        row = {name: value for name, value in {**GOOD, **(changes or {})}.items() if value is not None}
        rows, _ = read_file(as_csv(row), **partner)
        assert len(rows) == 1
        return rows[0]

    return read


@pytest.fixture(scope="session")
def read_signal(read_row: Callable[..., ParsedRow]) -> Callable[..., Signal]:
    """Reads the good row with changes, which must give a signal."""

    def read(changes: dict[str, str | None] | None = None, **partner: Any) -> Signal:
        row = read_row(changes, **partner)
        assert isinstance(row, Signal), row
        return row

    return read


@pytest.fixture(scope="session")
def faults_of(read_row: Callable[..., ParsedRow]) -> Callable[..., dict[str, str]]:
    """Reads the good row with changes, which must be rejected: column -> code."""

    def read(changes: dict[str, str | None], **partner: Any) -> dict[str, str]:
        row = read_row(changes, **partner)
        assert isinstance(row, tuple), row
        assert all(isinstance(error, RowError) and error.line == 2 for error in row)
        return {error.column: error.code for error in row}

    return read
