"""What all tests share: how many of them run at a time, a home without partners, and workbooks."""

from __future__ import annotations

import gc
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

import pkcs11
import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from gateway.audit.checkpoint import create_signing_key
from gateway.exchange.keys import create_host_key
from gateway.settings import Home
from gateway.store.engine import Store
from gateway.vault.keyring import Keyring
from gateway.vault.pkcs11 import Token

sys.path.append(str(Path(__file__).parent))
from compiled_once import compile_once  # beside this file, as for a driver of kills

#: The library of a hardware security module in software (Debian: softhsm2).
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "493716"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: tests wait for daemons and clients a good part of their time."""
    return len(os.sched_getaffinity(0)) + 1


#: A file system in memory, and what must be free of it, in bytes.
MEMORY, ENOUGH = Path("/dev/shm"), 4 * 1024**3


def pytest_configure(config: pytest.Config) -> None:
    """Homes lie in memory where there is enough: a sync waits for no disk there, and says as much.

    What comes of a disk that is full, fails or is slow is tested on disks of its own. `--basetemp`, or
    PYTEST_DEBUG_TEMPROOT in the environment, names another place.
    """
    # processes of the gateway are started by the hundred: each would compile all of it where nothing may be kept
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture
def bare_home(tmp_path: Path) -> Home:
    """A home without partners."""
    home = Home(root=tmp_path)
    for folder in (home.config, home.keys, home.vault, home.run, home.log):
        folder.mkdir(parents=True)
    home.gateway_file.touch()
    Keyring.create(home.keys)
    create_signing_key(home.keys)
    create_host_key(home.host_key)
    Store.create(home.db).close()
    return home


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., None]]:
    """SoftHSM2 with tokens of its own: a call runs softhsm2-util. Under CI it must be there."""
    if shutil.which("softhsm2-util") is None:
        if os.environ.get("CI"):
            pytest.fail("SoftHSM2 is not installed: apt-get install softhsm2")
        pytest.skip("SoftHSM2 is not installed")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))

        def run(*words: str) -> None:
            subprocess.run(["softhsm2-util", *words], check=True, capture_output=True, timeout=60)

        yield run


@pytest.fixture
def token(
    softhsm: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _numbers: Iterator[int]
) -> Token:
    """A new token; its PIN is handed over as a credential."""
    label = f"gateway-{next(_numbers)}"
    softhsm("--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", PIN)
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "gateway-pin").write_text(f"{PIN}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return Token(library=Path(SOFTHSM), label=label)


@pytest.fixture
def taken_out() -> Callable[[Token], AbstractContextManager[None]]:
    """Takes a token out of its slot for a while: SoftHSM keeps each in a folder."""

    @contextmanager
    def take(token: Token) -> Iterator[None]:
        serial = pkcs11.lib(str(token.library)).get_token(token_label=token.label).serial.decode()
        tokens = Path(os.environ["SOFTHSM2_CONF"]).with_name("tokens")
        (folder,) = (path for path in tokens.iterdir() if path.name.replace("-", "").endswith(serial))
        aside = folder.rename(tokens.with_name(folder.name))
        try:
            yield
        finally:
            aside.rename(folder)

    return take


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture(scope="session")
def workbook() -> Callable[..., bytes]:
    """Makes an XLSX of one sheet from rows: text, numbers, days, and None for an empty cell that is coloured."""

    def make(rows: Sequence[Sequence[object]], **options: object) -> bytes:
        buffer = io.BytesIO()
        book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False, **options})
        sheet = book.add_worksheet()
        day, coloured = book.add_format({"num_format": "dd-mm-yyyy"}), book.add_format({"bg_color": "yellow"})
        for at, row in enumerate(rows):
            for column, value in enumerate(row):
                if value is None:
                    sheet.write_blank(at, column, None, coloured)
                else:
                    sheet.write(at, column, value, *([day] if isinstance(value, date) else []))
        book.close()
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def repack() -> Callable[[bytes, Mapping[str, bytes]], bytes]:
    """Packs a zip anew with other or further parts."""

    def pack(data: bytes, parts: Mapping[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(data)) as old,
            zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for name in [name for name in old.namelist() if name not in parts]:
                new.writestr(name, old.read(name))
            for name, content in parts.items():
                new.writestr(name, content)
        return buffer.getvalue()

    return pack


_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def read_sheet(data: bytes, name: str) -> list[dict[str, object]]:
    """A sheet of a workbook as rows by column, header names with `_`; without empty cells."""
    header, *rows = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_name(name).to_python()
    columns = [str(each).replace("- ", "").replace(" ", "_") for each in header]
    return [
        {column: value for column, value in zip(columns, row, strict=True) if value != ""} for row in rows
    ]


@pytest.fixture(scope="session")
def fill_in(
    repack: Callable[[bytes, Mapping[str, bytes]], bytes],
) -> Callable[[bytes, str, Mapping[int, Mapping[str, str]]], bytes]:
    """Types text into cells of a worklist: sheet, row of the sheet, column by name."""

    def fill(data: bytes, name: str, cells: Mapping[int, Mapping[str, str]]) -> bytes:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        part = f"xl/worksheets/sheet{book.sheet_names.index(name) + 1}.xml"
        header = [str(each).replace(" ", "_") for each in book.get_sheet_by_name(name).to_python()[0]]
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            root = ElementTree.fromstring(package.read(part))
        rows = {int(row.get("r", "0")): row for row in root.iter(f"{{{_MAIN}}}row")}
        for number, typed in cells.items():
            for column, text in typed.items():
                place = xlsxwriter.utility.xl_rowcol_to_cell(number - 1, header.index(column))
                cell = ElementTree.SubElement(rows[number], f"{{{_MAIN}}}c", {"r": place, "t": "inlineStr"})
                inner = ElementTree.SubElement(cell, f"{{{_MAIN}}}is")
                ElementTree.SubElement(inner, f"{{{_MAIN}}}t").text = text
            rows[number][:] = sorted(rows[number], key=_column_of)
        return repack(data, {part: ElementTree.tostring(root)})

    return fill


def _column_of(cell: ElementTree.Element) -> int:
    return int(xlsxwriter.utility.xl_cell_to_rowcol(cell.get("r"))[1])


@pytest.fixture(scope="session")
def sheet() -> Callable[[bytes, str], list[dict[str, object]]]:
    """Reads a sheet of a worklist."""
    return read_sheet


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """Every test opens databases of its own."""
    with pytest.MonkeyPatch.context() as patch:
        compile_once(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def tables_are_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every further new database of this process is a copy of the first, which `Store.create` made and left empty."""
    plain, empty = Store.create, tmp_path_factory.mktemp("empty") / "gateway.db"
    plain(empty).close()

    def create(path: Path) -> Store:
        if path.exists():
            return plain(path)
        shutil.copy(empty, path)
        return Store(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "create", create)
        yield


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported and collected stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
