"""Positive controls of the byte scan: each form, each container and each kind of place, planted and found."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import sqlite3
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary
from sqlmodel import SQLModel

sys.path.append(str(Path(__file__).parent))
from byte_scan import GRAM, MOST_TRIED, RECORDED, STAYS, Needles, children, forms, places  # beside this file
from planted import PERSON, PLANTED

NAME = PERSON["achternaam"]
NEEDLES = sorted({(text, form, needle) for text in PLANTED for form, needle in forms(text)})


@pytest.fixture(scope="module")
def needles():
    """Every planted text in each form."""
    return Needles.of_texts(PLANTED)


def test_every_form_is_found(needles, tmp_path):
    """Each word in each form is found in a file."""
    for number, (_, _, needle) in enumerate(NEEDLES):
        (tmp_path / str(number)).write_bytes(b"\x00\xff" + needle + b"\x00")
    found = {(each.place, each.form, each.what) for each in needles.look(places(tmp_path))}
    for number, (text, form, _) in enumerate(NEEDLES):
        assert (f"{tmp_path.name}/{number}", form, text) in found


@pytest.mark.parametrize("form", sorted({form for _, form, _ in NEEDLES}))
def test_a_form_is_what_it_says(form):
    """An encoder that knows nothing of the scan yields what is looked for."""
    known = {needle for text, name, needle in NEEDLES if (name, text) == (form, NAME)}
    kind, _, codec = form.partition(" of ")
    if not codec:
        written = json.dumps({"naam": NAME}).encode() if form == "json" else f"; {NAME};".encode(form)
    else:
        data = b"." * int(kind[-1] if kind[-1].isdigit() else 0) + NAME.encode(codec) + b"..."
        encoders = {"hex": bytes.hex, "HEX": lambda raw: raw.hex().upper()}
        encoders |= {"base64": base64.b64encode, "base64url": base64.urlsafe_b64encode}
        written = encoders[kind.partition("+")[0]](data)
        written = written.encode() if isinstance(written, str) else written
    assert any(needle in written for needle in known)


def zipped(method):
    """A zip with one member."""

    def pack(data):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as file:
            file.writestr("rijen.csv", data)
        return out.getvalue()

    return pack


def bare(data):
    """Deflate without a header."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "deflate": bare,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zip": zipped(zipfile.ZIP_DEFLATED),
    "zip of bzip2": zipped(zipfile.ZIP_BZIP2),
    "zip of lzma": zipped(zipfile.ZIP_LZMA),
}
#: Long enough that its codes are its own, and short: a single word.
TEXTS = {
    "file": f"voorletters;achternaam;{'kolom;' * 40}\r\n".encode()
    + f"Q.;{NAME};{'x;' * 40}\r\n".encode() * 30,
    "word": f"naam={NAME}".encode(),
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", PACKED)
def test_each_container_is_looked_into(needles, kind, text):
    """Wherever it begins, between bytes of chance; and its plain neighbour is none."""
    packed = PACKED[kind](TEXTS[text])
    assert text == "word" or NAME.encode() not in packed, "a word may be merely stored"
    outer = kind.partition(" ")[0]
    around = os.urandom(5_003) + packed + os.urandom(3_001)
    found = {(each.packed, each.form, each.what) for each in needles.look([("x", around)])}
    assert (outer, "utf-8", NAME) in found
    assert not needles.look([("x", os.urandom(5_003) + packed[: GRAM + 2] + os.urandom(3_001))])


@pytest.mark.parametrize(
    ("outer", "inner"), [("gzip", kind) for kind in PACKED] + [(kind, "zip") for kind in PACKED]
)
def test_containers_in_containers_are_looked_into(needles, outer, inner):
    """As a workbook in a backup is: each kind within another, and around another."""
    packed = PACKED[outer](b"\n" * 700 + PACKED[inner](TEXTS["file"]))
    found = needles.look([("x", packed)])
    assert any(NAME in each.what and " > " in each.packed for each in found)


def test_a_stream_that_is_cut_off_is_read_as_far_as_it_goes(needles):
    """As a row of a database that goes on in another page; without a header too, and behind much else."""
    start = f"{NAME};".encode() + os.urandom(9_000)
    for packed in (zlib.compress(start), bare(start)):
        assert needles.look([("x", packed[:4_000] + os.urandom(5_000))])
    behind = os.urandom(MOST_TRIED)
    assert {each.packed for each in needles.look([("x", behind + zlib.compress(TEXTS["file"]))])} == {"zlib"}


def test_what_is_clean_is_not_looked_at_twice_and_what_is_not_is(needles):
    """The memory of what was clean hides nothing."""
    for _ in range(2):
        assert not needles.look([("x", b"niets hier")])
        assert needles.look([("x", NAME.encode())])


def test_needles_too_short_to_be_told_from_chance_are_refused():
    """Rather than not looked for."""
    with pytest.raises(ValueError, match="too short"):
        Needles.of_texts(["Bos"])


# -- places ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_deleted", [True, False])
def test_what_a_database_lets_go_of_and_its_journal(needles, tmp_path, is_deleted):
    """Rows in the WAL, and deleted rows in free pages of the file."""
    db = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "secure_delete=OFF", "wal_autocheckpoint=0"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE t (v TEXT)")
    db.execute("INSERT INTO t VALUES (?)", (NAME,))
    if is_deleted:
        db.execute("DELETE FROM t")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found = {each.place.rpartition("/")[2] for each in needles.look(places(tmp_path))}
    db.close()
    assert found == {"gateway.db" if is_deleted else "gateway.db-wal"}


def test_names_of_files_and_folders(needles, tmp_path):
    """A name is on disk too."""
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "file").touch()
    assert {each.place for each in needles.look(places(tmp_path))} == {
        f"name of {tmp_path.name}/{NAME}",
        f"name of {tmp_path.name}/{NAME}/file",
    }


HOLDS = """
import sys, tempfile
with tempfile.TemporaryFile(dir=sys.argv[1]) as unnamed, open(sys.argv[1] + "/elsewhere", "w") as named:
    for file, text in ((unnamed, sys.argv[2].encode()), (named, sys.argv[2])):
        file.write(text)
        file.flush()
    print(flush=True)
    sys.stdin.read()
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
child.wait()
"""


@pytest.mark.parametrize("is_child", [False, True])
def test_files_that_a_process_holds_open(needles, tmp_path, is_child):
    """Deleted ones, and ones it writes outside of every folder that is looked at; its own and those of its children."""
    command = [sys.executable, "-c", *([PARENT] if is_child else []), HOLDS, str(tmp_path), NAME]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        found = {each.place for each in needles.look(places(pids=[process.pid]))}
        assert len(children(process.pid)) == is_child
        process.communicate()
    assert len(found) == 2
    assert {"(deleted), open" in each for each in found} == {True, False}


def test_files_in_memory(tmp_path):
    """What is written in /dev/shm, while it is open: a name of this test's own, as others may run beside it."""
    word = f"Zwanendreef-{os.urandom(8).hex()}"
    path = Path("/dev/shm") / f"remains-{os.getpid()}-{tmp_path.name}"
    with path.open("w") as file:
        file.write(word)
        file.flush()
        found = Needles.of_texts([word]).look(places(pids=[os.getpid()]))
        path.unlink()
    assert {each.place for each in found} == {f"{path}, open in a process"}


def test_every_column_of_bytes_is_recorded_or_stays_for_a_reason():
    """A new one must be put in its place."""
    columns = {
        (table.name, column.name)
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    assert columns - {*RECORDED, *STAYS} == set()
    assert set(RECORDED) <= columns
