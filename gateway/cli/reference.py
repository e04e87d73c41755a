"""`gateway reference`: from an address to its municipality."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import IO, Annotated, BinaryIO, cast

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.audit.log import record
from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.clock import local_day
from gateway.domain.signal import SignalState
from gateway.errors import ConfigError
from gateway.gateway import Gateway
from gateway.matching.municipality import read_reference
from gateway.settings.gemeenten import PC4_SOURCE, gemeente_names, pc4_gemeenten
from gateway.store import reference, signals
from gateway.store.reference import Loaded, Source

app = typer.Typer(no_args_is_help=True)

#: Bytes read at a time.
_BLOCK = 1 << 20
#: What the table is called within CBS's zip, beside lists of names.
_TABLE = "pc6hnr*.csv"


@app.command("load")
def load(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CBS: PC6;Huisnummer;…;Gemeente<year>, as a CSV or in its zip."),
    ],
) -> None:
    """Load the table of Statistics Netherlands; it replaces the one loaded before, when it was read to its end."""
    with opened(context.obj) as gateway, reference.loading(gateway.home.reference):
        loaded = _make(gateway, file)
        _place(gateway, loaded)
        with gateway.store.read() as conn:
            waiting = signals.not_routable_count(conn, local_day(gateway.clock.now()))
    addresses = screen.counted(loaded.addresses, "address", "addresses")
    municipalities = screen.counted(len(loaded.municipalities), "municipality", "municipalities")
    screen.done(f"{addresses} in {municipalities}, from {escape(file.name)}")
    if unknown := _unknown(loaded):
        screen.out.print(f"[yellow]![/] {unknown}", soft_wrap=True)
    if waiting.held:
        found = screen.counted(waiting.held, "signal waits", "signals wait")
        screen.out.print(f"[yellow]![/] {found} for a municipality (D40): gateway reroute", soft_wrap=True)


@app.command("status")
def status(context: typer.Context) -> None:
    """Show which table is loaded, what is looked at without it, and how many signals found no municipality."""
    with opened(context.obj) as gateway:
        loaded = reference.describe(gateway.home.reference)
        with gateway.store.read() as conn:
            waiting = signals.not_routable_count(conn, local_day(gateway.clock.now()))
            unserved = signals.counts_by_state(conn).get(SignalState.NOT_CONNECTED, 0)
    shown = screen.pairs()
    for name, told in _table(loaded):
        shown.add_row(name, told)
    pc4 = pc4_gemeenten()
    twice = sum(len(codes) > 1 for codes in pc4.values())
    shown.add_row("without it", f"{len(pc4):,} four-digit postcodes, {twice} of them in two municipalities")
    shown.add_row("", f"[dim]{escape(PC4_SOURCE)}[/]")
    shown.add_row("D40", _not_routable(waiting))
    shown.add_row("D41", f"{screen.counted(unserved, 'signal')} for municipalities that no partner serves")
    screen.out.print(shown)


def _table(loaded: Loaded | None) -> Iterator[tuple[str, str]]:
    if loaded is None:
        yield "table", "[yellow]none[/]: gateway reference load FILE"
        return
    municipalities = screen.counted(len(loaded.municipalities), "municipality", "municipalities")
    yield "table", f"CBS {loaded.source.year}" if loaded.source else "of the demo"
    yield "addresses", f"{loaded.addresses:,} in {municipalities}"
    if loaded.source:
        yield "loaded", screen.moment(loaded.source.loaded_at)
        yield "sha256", loaded.source.sha256
    if unknown := _unknown(loaded):
        yield "", f"[yellow]![/] {unknown}"


def _not_routable(waiting: signals.NotRoutable) -> str:
    told = f"{screen.counted(waiting.held, 'signal')} without a municipality"
    if waiting.held:
        told += ": [cyan]gateway reroute[/] looks again"
    if waiting.gone:
        told += f"; of {waiting.gone:,} more the contents are gone, they must be sent again"
    return told


def _unknown(loaded: Loaded) -> str:
    """What is said of codes that the list does not have; empty when there are none."""
    codes = [code for code in loaded.municipalities if code not in gemeente_names()]
    if not codes:
        return ""
    more = " …" if len(codes) > 10 else ""
    count = screen.counted(len(codes), "code")
    return f"{count} not in the list of CBS: {', '.join(codes[:10])}{more}; is there a newer table?"


def _make(gateway: Gateway, file: Path) -> Loaded:
    """Read the file into a new table.

    Raises:
        ConfigError: the file can't be read, or is something else; nothing was changed.
    """
    now = gateway.clock.now()
    try:
        with file.open("rb") as raw:
            sha256 = file_digest(raw, "sha256").hexdigest()
            raw.seek(0)
            with _lines(raw, file.name) as lines:
                table = read_reference(lines)
                source = Source(year=table.year, sha256=sha256, loaded_at=now)
                return reference.make(gateway.home.reference, table.rows, source)
    except OSError as exc:
        raise ConfigError(f"can't be read: {exc.strerror or exc}", file=str(file)) from exc
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as exc:
        raise ConfigError(f"{exc}; nothing was changed", file=str(file)) from exc


@contextmanager
def _lines(raw: IO[bytes], name: str) -> Iterator[io.BufferedReader]:
    """The lines of the table, out of its zip or as they are, with a bar that shows how far they were read."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=screen.err,
        transient=True,
        disable=not screen.err.is_terminal,
    )
    with progress:
        if zipfile.is_zipfile(raw):
            with zipfile.ZipFile(raw) as packed:
                member = _member(packed)
                with packed.open(member) as table:
                    yield _watched(progress, table, member.file_size, member.filename)
        else:
            size = raw.seek(0, io.SEEK_END)
            raw.seek(0)
            yield _watched(progress, raw, size, name)


def _watched(progress: Progress, file: IO[bytes], size: int, name: str) -> io.BufferedReader:
    watched = progress.wrap_file(cast(BinaryIO, file), total=size, description=f"Reading {escape(name)}")
    return io.BufferedReader(cast(io.RawIOBase, watched), _BLOCK)


def _member(packed: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The table in the zip.

    Raises:
        ValueError: there is none, or several might be meant.
    """
    found = [each for each in packed.infolist() if Path(each.filename.lower()).match(_TABLE)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} files in this zip are called {_TABLE}: unpack it and load the CSV")
    return found[0]


def _place(gateway: Gateway, loaded: Loaded) -> None:
    """Put the new table in the place of the old one, with the audit entry of it."""
    if loaded.source is None:
        raise AssertionError("a file has a year")
    with gateway.store.write() as conn:
        record(
            conn,
            action="reference.loaded",
            object_id=loaded.source.sha256,
            origin="cli",
            actor=actor(),
            at=loaded.source.loaded_at,
            node=gateway.node,
            detail={
                "year": loaded.source.year,
                "addresses": loaded.addresses,
                "municipalities": len(loaded.municipalities),
            },
        )
        reference.place(gateway.home.reference)
