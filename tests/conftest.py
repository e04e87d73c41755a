"""What all tests share: how many of them run at a time, a home without partners, and workbooks."""

from __future__ import annotations

import gc
import io
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import pytest
import xlsxwriter

from gateway.audit.checkpoint import create_signing_key
from gateway.exchange.keys import create_host_key
from gateway.settings import Home
from gateway.store.engine import Store
from gateway.vault.keyring import Keyring


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: tests wait for daemons and clients a good part of their time."""
    return len(os.sched_getaffinity(0)) + 1


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


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported and collected stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
