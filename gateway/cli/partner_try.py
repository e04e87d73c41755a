"""`gateway partner try`: what a file would give, without storing anything of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.clock import SystemClock, local_day
from gateway.domain.codes import FILE_ERRORS, ROW_ERRORS, WARNINGS
from gateway.domain.delivery import Kind
from gateway.domain.exclusion import Listing
from gateway.domain.feedback import Feedback
from gateway.domain.partner import Partner, Role
from gateway.domain.signal import Mutation, RowError, RowWarning, Signal, Withdrawal
from gateway.errors import CommandError, ConfigError, DeliveryError
from gateway.files.exclusionfile import ParsedListing, read_listings
from gateway.files.feedbackfile import ParsedFeedback, on_sheet, read_feedback
from gateway.files.layout import Layout, municipal_kind, recognise_feedback
from gateway.files.municipalfile import read_municipal
from gateway.files.signalfile import SignalFile, read_signals
from gateway.files.signalrow import ParsedRow
from gateway.files.table import Limits, Table
from gateway.pipeline.workbook import read_municipal_table, read_table
from gateway.settings import Home, load_settings

_CHUNK_BYTES = 64 * 1024
#: A row of any file.
_Row = ParsedRow | ParsedFeedback | ParsedListing
#: What is counted, in the order in which it is shown.
_OUTCOMES = ("new", "changed", "withdrawn", "rejected")
_NOT_LOOKED_AT = (
    "What depends on earlier files is not looked at: F08, V09, V13, V14, V16, V18, W02, W03, D50."
)


@dataclass(kw_only=True)
class _Tried:
    """What a file gives; grows while its rows are read."""

    content: Kind | None = None
    table: Table | None = None
    layout: Layout | None = None
    refusal: DeliveryError | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    first: list[RowError | RowWarning | _Row] = field(default_factory=list)


def try_file(
    context: typer.Context,
    partner_id: Annotated[str, typer.Argument(metavar="ID", help="Whose file it would be.")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or XLSX.")],
    *,
    rows: Annotated[int, typer.Option(min=0, max=10_000, help="So many of the first rows are shown.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what a file of a partner would give: kind, columns, counts, codes. Nothing is stored, no value is shown.

    Exit code 1: the whole file would be refused.

    With --json: {content: signals | feedback | exclusions | known_residents, kind, header_line, encoding, delimiter, columns: {read: [name], ignored: [name], from_defaults:
    [name]}, counts: {new, changed, withdrawn, rejected}, codes: {code: count}, refusal: null | {code, text, detail},
    rows: [{line, signaal_id, outcome, column, code, text}]}. kind and header_line are null when the file is refused
    unread.
    """
    home: Home = context.obj
    settings = load_settings(home.root)
    partner = settings.partners.get(partner_id)
    if partner is None:
        raise ConfigError(f"there is no partner {partner_id!r}: `gateway partner list` names all")
    if partner.role is Role.AUDITOR:
        raise CommandError(f"{partner_id} is an auditor: it sends no files")
    tried, today = _Tried(), local_day(SystemClock().now())
    try:
        if partner.role is Role.CREDITOR:
            tried.content = Kind.SIGNALS
            file = read_signals(lambda: _chunks(path), partner, today, settings.limits, read_table)
            tried.table, tried.layout = file.table, file.layout
            _read(tried, file, rows)
        else:
            _read_municipal(tried, path, today, settings.limits, rows)
    except DeliveryError as refusal:
        # of a file that is refused no row counts
        tried = _Tried(content=tried.content, table=tried.table, layout=tried.layout, refusal=refusal)
    except OSError as exc:
        raise CommandError(f"{path}: {exc.strerror}") from exc
    if as_json:
        screen.print_json(_json(tried))
    else:
        _show(tried, partner, path)
    if tried.refusal is not None:
        raise typer.Exit(1)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _read(tried: _Tried, file: SignalFile, rows: int) -> None:
    seen = 0
    for batch in file.batches:
        warnings: dict[int, list[RowWarning]] = {}
        for warning in batch.warnings:
            warnings.setdefault(warning.line, []).append(warning)
            tried.codes[warning.code] += 1
        for row in batch.rows:
            tried.outcomes[_outcome(row)] += 1
            if isinstance(row, tuple):
                tried.codes.update(error.code for error in row)
            if seen < rows:
                tried.first += row if isinstance(row, tuple) else [row, *warnings.get(row.line, ())]
            seen += 1


def _read_municipal(tried: _Tried, path: Path, today: date, limits: Limits, rows: int) -> None:
    kind, table = read_municipal(lambda: _chunks(path), limits, read_municipal_table)
    tried.content, tried.table = kind, table
    if kind is Kind.FEEDBACK:
        tried.layout = recognise_feedback(table.header, of_worklist=bool(table.sheet))
        batches: Iterator[Sequence[_Row]] = _answers(table, today, limits)
    else:
        listings = read_listings(table, kind, today, limits)
        tried.layout, batches = listings.layout, listings.batches
    for seen, row in enumerate(chain.from_iterable(batches)):
        tried.outcomes[_outcome(row)] += 1
        if isinstance(row, tuple):
            tried.codes.update(error.code for error in row)
        if seen < rows:
            tried.first += row if isinstance(row, tuple) else [row]


def _answers(table: Table, today: date, limits: Limits) -> Iterator[Sequence[_Row]]:
    """The rows of a feedback file; of a worklist those of both sheets that somebody filled in."""
    for each in chain((table,), table.more):
        municipal_kind(each.header, each.above)
        for batch in read_feedback(each, today, limits).batches:
            yield [
                tuple(replace(error, column=on_sheet(each.sheet, error.column)) for error in row)
                if isinstance(row, tuple)
                else row
                for row in batch
                if row is not None
            ]


def _outcome(row: _Row | RowError | RowWarning) -> str:
    match row:
        case Feedback() | Listing(mutation=Mutation.NEW):
            return "new"
        case Listing():
            return "withdrawn"
        case Signal(mutation=Mutation.NEW):
            return "new"
        case Signal(mutation=Mutation.CHANGE):
            return "changed"
        case Signal() | Withdrawal():
            return "withdrawn"
        case RowWarning():
            return "warning"
        case _:
            return "rejected"


def _line(row: _Row | RowError | RowWarning) -> dict[str, object]:
    assert not isinstance(row, tuple)
    code = row.code if isinstance(row, RowError | RowWarning) else ""
    return {
        "line": row.line,
        "signaal_id": _named(row),
        "outcome": _outcome(row),
        "column": row.column if isinstance(row, RowError | RowWarning) else "",
        "code": code,
        "text": _text(code),
    }


def _named(row: _Row | RowError | RowWarning) -> str:
    """What a row is called by its sender; a listed resident by its line only."""
    match row:
        case Feedback():
            return row.signal_number or row.melding_id
        case Signal() | Withdrawal() | RowError() | RowWarning():
            return row.signal_id or ""
        case _:
            return ""


def _text(code: str) -> str:
    return ROW_ERRORS.get(code) or WARNINGS.get(code) or FILE_ERRORS.get(code, "")


def _json(tried: _Tried) -> dict[str, object]:
    table, layout, refusal = tried.table, tried.layout, tried.refusal
    return {
        "content": tried.content,
        "kind": table and table.kind,
        "header_line": table and table.header_line,
        "encoding": table and table.encoding,
        "delimiter": table and table.delimiter,
        "columns": {
            "read": [name for name, _ in layout.places] if layout else [],
            "ignored": list(layout.ignored) if layout else [],
            "from_defaults": list(layout.defaults) if layout else [],
        },
        "counts": {name: tried.outcomes[name] for name in _OUTCOMES},
        "codes": dict(sorted(tried.codes.items())),
        "refusal": refusal and {"code": refusal.code, "text": _text(refusal.code), "detail": refusal.detail},
        "rows": [_line(row) for row in tried.first],
    }


def _show(tried: _Tried, partner: Partner, path: Path) -> None:
    found = [("file", f"{escape(path.name)}, as if {partner.id} had sent it today")]
    table, layout = tried.table, tried.layout
    if table is not None and layout is not None:
        kind = table.kind.upper()
        if table.delimiter:
            kind += f", {table.encoding}, delimiter {json.dumps(table.delimiter)}"
        found += [
            ("content", (tried.content or "").replace("_", " ")),
            ("kind", f"{kind}, header on line {table.header_line}"),
            ("columns", escape(", ".join(name for name, _ in layout.places))),
            ("ignored", escape(", ".join(layout.ignored)) or "[dim]none[/]"),
        ]
        if layout.defaults:
            found.append(("defaults", escape(", ".join(layout.defaults))))
        found.append(("rows", ", ".join(f"{tried.outcomes[name]:,} {name}" for name in _OUTCOMES)))
    screen.out.print(screen.pairs(*found))
    if tried.first:
        shown = screen.table("line", "signaal_id", "outcome", "column", "code", "")
        for row in map(_line, tried.first):
            shown.add_row(*(escape(str(value)) for value in row.values()))
        screen.out.print()
        screen.out.print(shown)
    if tried.codes:
        counted = screen.table("code", "times", "")
        for code, count in sorted(tried.codes.items()):
            counted.add_row(code, screen.number(count), _text(code))
        screen.out.print()
        screen.out.print(counted)
    screen.out.print()
    if tried.refusal is not None:
        detail = f": {escape(tried.refusal.detail)}" if tried.refusal.detail else ""
        code = tried.refusal.code
        screen.out.print(f"[red]The whole file would be refused[/]: {code} {_text(code)}{detail}")
    screen.out.print(f"[dim]{_NOT_LOOKED_AT} Nothing was stored.[/]")
