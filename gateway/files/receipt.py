"""`ontvangst_<delivery_id>.csv` and `.json`: what became of an upload (spec 2, For a creditor).

The CSV is one table, so that a spreadsheet filters it and a program reads it without a special case. Every line has a
`soort`:

    bestand       a fact of the file: `kolom` names it, `gegeven` holds it (naam, bytes, sha256, ontvangen_op, resultaat;
                  of a signature also goedkeuring, the request that it is under)
    geweigerd     why the whole file is refused: F code, sentence, and in `gegeven` the columns or limit concerned
    som           a count: `kolom` names it, `gegeven` holds it
    afgekeurd     a column of a row that is rejected; a row has as many lines as columns that are wrong
    waarschuwing  a remark; without `regel` it is about the file
    dubbel        a row that was received before and changes nothing
    sleutel       an SSH key of the sender that ends within 30 days: `gegeven` holds its last day, then its fingerprint

The first lines tell of the file, then come the rows in line order. `regel` is the line as an editor counts, the header
being 1. Of a worklist, which has two sheets, `kolom` names the sheet too: `Signalen!datum`. What a cell held is in no line: only its column, by the wire's name.

The JSON has the same facts:

    {"versie": 1, "delivery_id": str,
     "bestand": {"naam": str, "bytes": int, "sha256": str, "ontvangen_op": str},
                of a signature also "goedkeuring": str, the request that it is under
     "resultaat": "verwerkt" | "geweigerd",
     "weigering": null | {"code": str, "omschrijving": str, "toelichting": str},
     "sommen": {"regels": int, "signalen": int, "wijzigingen": int, "intrekkingen": int, "afgekeurd": int, "dubbel": int},
                of a feedback file: {"regels": int, "terugkoppelingen": int, "afgekeurd": int},
                of a worklist that was filled in also "overgeslagen": int, lines without an answer, which are in no
                other sum
                of an exclusion file: {"regels": int, "uitsluitingen": int, "beeindigingen": int, "afgekeurd": int},
                of a known-residents file: {"regels": int, "bekende_inwoners": int, "afgekeurd": int},
                of a request file: {"regels": int, "verzoeken": int, "afgekeurd": int},
     "afgekeurd": [{"regel": int, "signaal_id": str, "kolom": str, "code": str, "omschrijving": str}],
     "waarschuwingen": [the same, and "toelichting": str], "dubbel": [the same as afgekeurd],
     "sleutels": [{"vingerafdruk": str, "laatste_dag": str}]}    only when a key of the sender ends within 30 days

Each entry stands on a line of its own. Times have the offset of the Netherlands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeVar

from gateway.clock import AMSTERDAM
from gateway.domain.codes import FILE_ERRORS, ROW_ERRORS, STATUS_TEXTS, WARNINGS, StatusCode
from gateway.domain.signal import RowError, RowWarning
from gateway.files.cells import render_csv
from gateway.files.columns import RECEIPT_COLUMNS

#: Of the JSON's shape; rises when a reader of the old one could stumble.
VERSION = 1

_FACTS: Mapping[str, str] = {
    "naam": "naam van het bestand",
    "bytes": "grootte in bytes",
    "sha256": "SHA-256 van de inhoud",
    "ontvangen_op": "tijdstip van ontvangst",
    "goedkeuring": "verzoek om goedkeuring waaronder deze handtekening staat",
}
_KEY_ENDS = "uw SSH-sleutel verloopt; geef op tijd een nieuwe op"
_SUMS: Mapping[str, str] = {
    "regels": "gegevensregels in het bestand",
    "terugkoppelingen": "aangenomen terugkoppelingen",
    "uitsluitingen": "nieuwe of gewijzigde uitsluitingen",
    "beeindigingen": "beëindigde uitsluitingen",
    "bekende_inwoners": "bekende inwoners",
    "verzoeken": "aangenomen verzoeken",
    "signalen": "nieuwe signalen",
    "wijzigingen": "wijzigingen",
    "intrekkingen": "intrekkingen",
    "afgekeurd": "afgekeurde regels",
    "overgeslagen": "regels van de werklijst zonder antwoord",
    "dubbel": "ongewijzigd opnieuw aangeleverde regels",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Rows of a file by what became of them (spec 1, Conservation). A rejected row counts once."""

    signals: int = 0
    changes: int = 0
    withdrawals: int = 0
    rejected: int = 0
    duplicates: int = 0
    #: rows of a feedback file; None: it is another
    feedback: int | None = None
    #: lines without an answer; None: it is no worklist
    skipped: int | None = None
    #: rows of an exclusion file, and those of its rows that end one; None: it is another
    exclusions: int | None = None
    ended: int = 0
    #: rows of a known-residents file; None: it is another
    known_residents: int | None = None
    #: rows of a request file
    requests: int | None = None

    @property
    def rows(self) -> int:
        """All data rows."""
        accepted = self.signals + self.changes + self.withdrawals + (self.feedback or 0)
        others = (self.requests or 0) + (self.exclusions or 0) + self.ended + (self.known_residents or 0)
        return accepted + others + self.rejected + self.duplicates


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A row that was received before and changes nothing (D50)."""

    line: int
    signal_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of one upload. `file_code` is an F code when the whole file is refused: then all sums are 0.

    `sha256` is of the bytes received, in hex; `received_at` is aware.
    """

    delivery_id: str
    name: str
    size: int
    sha256: str
    received_at: datetime
    sums: Sums = field(default_factory=Sums)
    rejected: Sequence[RowError] = ()
    warnings: Sequence[RowWarning] = ()
    duplicates: Sequence[Duplicate] = ()
    file_code: str = ""
    file_detail: str = ""
    #: the request for approval that the file is a signature under
    approval: str = ""
    #: last day and fingerprint of the sender's keys that end soon
    ending_keys: Sequence[tuple[date, str]] = ()

    def __post_init__(self) -> None:
        """A refused file counts no rows and tells of none."""
        if self.file_code and (self.sums.rows or self.rejected or self.warnings or self.duplicates):
            raise ValueError("a refused file has no rows")


def render_receipt_csv(receipt: Receipt) -> Iterator[bytes]:
    """The receipt for people and spreadsheets, in chunks."""
    return render_csv(RECEIPT_COLUMNS, _csv_lines(receipt))


def render_receipt_json(receipt: Receipt) -> Iterator[bytes]:
    """The receipt for programs, in chunks."""
    head = {
        "versie": VERSION,
        "delivery_id": receipt.delivery_id,
        "bestand": _facts(receipt),
        "resultaat": _result(receipt),
        "weigering": _refusal(receipt),
        "sommen": _sums(receipt.sums),
    }
    for key, value in head.items():
        yield f"{'{' if key == 'versie' else ','}\n{_json(key)}: {_json(value)}".encode()
    yield from _json_list("afgekeurd", (_rejected(error) for error in _by_line(receipt.rejected)))
    yield from _json_list("waarschuwingen", (_warning(remark) for remark in _by_line(receipt.warnings)))
    yield from _json_list("dubbel", (_duplicate(row) for row in _by_line(receipt.duplicates)))
    if receipt.ending_keys:
        yield from _json_list("sleutels", (_ending(*key) for key in receipt.ending_keys))
    yield b"\n}\n"


def _csv_lines(receipt: Receipt) -> Iterator[tuple[str, ...]]:
    for name, value in _facts(receipt).items():
        yield "bestand", "", "", name, "", _FACTS[name], str(value)
    yield "bestand", "", "", "resultaat", "", "wat er met het bestand gebeurde", _result(receipt)
    if receipt.file_code:
        yield "geweigerd", "", "", "", receipt.file_code, FILE_ERRORS[receipt.file_code], receipt.file_detail
    for name, count in _sums(receipt.sums).items():
        yield "som", "", "", name, "", _SUMS[name], str(count)
    for last_day, fingerprint in receipt.ending_keys:
        yield "sleutel", "", "", "", "", _KEY_ENDS, f"{last_day.isoformat()} {fingerprint}"
    entries = [
        *(("afgekeurd", _rejected(error)) for error in receipt.rejected),
        *(("waarschuwing", _warning(remark)) for remark in receipt.warnings),
        *(("dubbel", _duplicate(row)) for row in receipt.duplicates),
    ]
    for kind, entry in sorted(entries, key=lambda item: int(item[1]["regel"])):
        yield (
            kind,
            str(entry["regel"] or ""),
            str(entry["signaal_id"]),
            str(entry["kolom"]),
            str(entry["code"]),
            str(entry["omschrijving"]),
            str(entry.get("toelichting", "")),
        )


_Entry = dict[str, str | int]
_Row = TypeVar("_Row", RowError, RowWarning, Duplicate)


def _entry(line: int, signal_id: str, column: str, code: str, sentence: str) -> _Entry:
    return {"regel": line, "signaal_id": signal_id, "kolom": column, "code": code, "omschrijving": sentence}


def _rejected(error: RowError) -> _Entry:
    return _entry(error.line, error.signal_id, error.column, error.code, ROW_ERRORS[error.code])


def _warning(remark: RowWarning) -> _Entry:
    entry = _entry(remark.line, remark.signal_id, remark.column, remark.code, WARNINGS[remark.code])
    return {**entry, "toelichting": remark.detail}


def _duplicate(row: Duplicate) -> _Entry:
    code = StatusCode.UNCHANGED
    return _entry(row.line, row.signal_id, "", code.value, STATUS_TEXTS[code])


def _ending(last_day: date, fingerprint: str) -> _Entry:
    return {"vingerafdruk": fingerprint, "laatste_dag": last_day.isoformat()}


def _facts(receipt: Receipt) -> dict[str, str | int]:
    received = receipt.received_at.astimezone(AMSTERDAM).isoformat(timespec="seconds")
    return {
        "naam": receipt.name,
        "bytes": receipt.size,
        "sha256": receipt.sha256,
        "ontvangen_op": received,
        **({"goedkeuring": receipt.approval} if receipt.approval else {}),
    }


def _result(receipt: Receipt) -> str:
    return "geweigerd" if receipt.file_code else "verwerkt"


def _refusal(receipt: Receipt) -> dict[str, str] | None:
    if not receipt.file_code:
        return None
    return {
        "code": receipt.file_code,
        "omschrijving": FILE_ERRORS[receipt.file_code],
        "toelichting": receipt.file_detail,
    }


def _sums(sums: Sums) -> dict[str, int]:
    if sums.feedback is not None:
        skipped = {} if sums.skipped is None else {"overgeslagen": sums.skipped}
        return {
            "regels": sums.rows,
            "terugkoppelingen": sums.feedback,
            "afgekeurd": sums.rejected,
            **skipped,
        }
    if sums.exclusions is not None:
        return {
            "regels": sums.rows,
            "uitsluitingen": sums.exclusions,
            "beeindigingen": sums.ended,
            "afgekeurd": sums.rejected,
        }
    if sums.known_residents is not None:
        return {"regels": sums.rows, "bekende_inwoners": sums.known_residents, "afgekeurd": sums.rejected}
    if sums.requests is not None:
        return {"regels": sums.rows, "verzoeken": sums.requests, "afgekeurd": sums.rejected}
    return {
        "regels": sums.rows,
        "signalen": sums.signals,
        "wijzigingen": sums.changes,
        "intrekkingen": sums.withdrawals,
        "afgekeurd": sums.rejected,
        "dubbel": sums.duplicates,
    }


def _by_line(entries: Sequence[_Row]) -> list[_Row]:
    return sorted(entries, key=lambda entry: entry.line)


def _json_list(key: str, entries: Iterable[_Entry]) -> Iterator[bytes]:
    yield f",\n{_json(key)}: [".encode()
    mark = "\n  "
    for entry in entries:
        yield (mark + _json(entry)).encode()
        mark = ",\n  "
    yield b"]"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
