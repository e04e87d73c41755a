"""No planted word can be read on disk at any moment, and nothing remains after the purge (spec 4, promises 1 and 2).

A weakened gateway goes through the same life, and must be seen: by the place and the moment that it is weak in.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import structlog

sys.path.append(str(Path(__file__).parent))
from byte_scan import Found, Needles, keys_of, places, recorded  # beside this file
from life import LATER, back_up, exchange, let_go
from old_copy import openable
from planted import FILE_NAME, PLANTED

from gateway import logs
from gateway.backup.make import make
from gateway.clock import SteppedClock
from gateway.gateway import open_gateway
from gateway.pipeline import workbook
from gateway.pipeline.sealing import SIGNAL
from gateway.retention import figures, purge
from gateway.store import compaction, engine
from gateway.store.tables import SignalRow
from gateway.vault import objects
from gateway.vault.blobs import BlobFolder
from gateway.vault.keyring import Keyring
from gateway.vault.rows import RowSealer
from gateway.vault.stream import SealedReader, Sealer

NAMES = Needles.of_texts(PLANTED)


class Seen(Exception):
    """The scan found something: when, and what."""

    def __init__(self, moment: str, found: set[Found]) -> None:
        super().__init__(f"{moment}: {sorted(found)[:10]}")
        self.moment, self.found = moment, found


@dataclass
class Eye:
    """Looks at everything that a town leaves on its host."""

    town: Any
    moments: list[str] = field(default_factory=list)

    @property
    def backup(self) -> Path:
        """Where its copy is put."""
        return self.town.path / "backup"

    def look(self, moment: str, needles: Needles = NAMES, *roots: Path) -> None:
        """Raises Seen when one of the needles is anywhere; `roots`: only below these."""
        self.moments.append(moment)
        town, log = self.town, ("log", self.town.log.getvalue().encode())
        every = [town.home, town.path / "temporary", *([self.backup] if self.backup.exists() else [])]
        found = needles.look([*places(*(roots or every), pids=[os.getpid()]), log])
        if found:
            raise Seen(moment, found)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder of its own for the temporary files of this process."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


async def test_at_no_moment(temporary, town, signal, csv_file, workbook):
    """In flight, received, read, processed, published, collected, backed up, purged: not one planted word in any form."""
    eye = Eye(town)
    await exchange(town, signal, csv_file, workbook, eye.look)
    with town.gateway.store.no_writers(within_s=10) as alone:
        assert alone
        back_up(town.home, eye.backup)
    await asyncio.to_thread(make, town.gateway, eye.backup / "made", with_keys=False, actor="beheer")
    eye.look("backed up")
    eye.look("keys", Needles.of_bytes(keys_of(town.home)), eye.backup)
    before = Needles.of_bytes(recorded(town.home, LATER.date()))
    with pytest.raises(Seen):
        eye.look("before the purge", before, town.home / "keys")
    await let_go(town)
    assert town.rows(SignalRow) == []
    eye.look("purged")
    eye.look("remains", before, town.home, town.path / "temporary")
    for number, data in enumerate((eye.backup / "data", eye.backup / "made" / "data")):
        opened, count = openable(data, town.home / "keys", town.clock, town.path / "now" / str(number))
        assert (opened, count > 10) == ([], True)
    assert eye.moments == [
        *("in flight", "received", "processed", "a workbook is read", "published", "collected"),
        *("backed up", "keys", "before the purge", "purged", "remains"),
    ]


# -- what a weakened gateway shows ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Weakness:
    """A way to be weak, and where the scan must see it: the moment, and patterns of the place, the packing and the thing.

    `opens`: whether an old backup opens then.
    """

    weaken: Callable[[pytest.MonkeyPatch, Path], None]
    place: str
    what: str
    moment: str = "remains"
    packed: str = ""
    opens: bool = False

    def explains(self, seen: Seen) -> bool:
        """Whether this is what was seen, and nothing else."""
        return seen.moment == self.moment and all(
            re.fullmatch(pattern, value)
            for each in seen.found
            for pattern, value in (
                (self.place, each.place),
                (self.packed, each.packed),
                (self.what, each.what),
            )
        )


def around(patch: pytest.MonkeyPatch, owner: Any, name: str, before: Callable[..., None]) -> None:
    """Do something with what a function is given, and then what it does."""
    whole = getattr(owner, name)

    def weakened(*args: Any, **kwargs: Any) -> Any:
        before(*args, **kwargs)
        return whole(*args, **kwargs)

    patch.setattr(owner, name, weakened)


def blobs_in_the_clear(patch: pytest.MonkeyPatch, _home: Path) -> None:
    """What comes in goes to the disk as it is, beside its sealed form."""
    around(patch, Sealer, "write", lambda self, data: self._sink(memoryview(data)))


def rows_in_the_clear(patch: pytest.MonkeyPatch, _home: Path) -> None:
    """A signal's row is stored as it was read."""
    whole = RowSealer.seal

    def seal(self: RowSealer, contents: Mapping[str, Any], *, table: str, **place: Any) -> bytes:
        if table != SIGNAL:
            return whole(self, contents, table=table, **place)
        return json.dumps(dict(contents), ensure_ascii=False).encode()

    patch.setattr(RowSealer, "seal", seal)


def workbook_in_a_file(kind: Callable[[], Any]) -> Callable[[pytest.MonkeyPatch, Path], None]:
    """A workbook waits in a temporary file while it is read."""

    def weaken(patch: pytest.MonkeyPatch, _home: Path) -> None:
        whole = workbook._rows

        def rows(open_stream: Any, limits: Any, *, is_worklist: bool) -> Any:
            with kind() as file:
                file.writelines(open_stream())
                file.flush()
                yield from whole(open_stream, limits, is_worklist=is_worklist)

        patch.setattr(workbook, "_rows", rows)

    return weaken


def compressed_copy(patch: pytest.MonkeyPatch, home: Path) -> None:
    """What was received is kept for debugging, compressed."""

    def keep(reader: Any) -> None:
        (home / "data" / "debug").write_bytes(b"last: " + zlib.compress(b"".join(reader.chunks())))

    around(patch, SealedReader, "digests", keep)


def name_in_the_log(patch: pytest.MonkeyPatch, _home: Path) -> None:
    """A line of the log tells which file is processed."""
    whole = objects.open_name

    def opened(*args: Any) -> str:
        name = whole(*args)
        logs.get("intake").info("delivery.opened", file=name)
        return name

    patch.setattr(objects, "open_name", opened)


def blobs_under_their_names(patch: pytest.MonkeyPatch, home: Path) -> None:
    """An empty file, of the name that the partner gave, says what is under way."""
    whole = objects.open_name

    def opened(*args: Any) -> str:
        name = whole(*args)
        (home / "data" / "run" / name).touch()
        return name

    patch.setattr(objects, "open_name", opened)


_NAMES = "|".join(map(re.escape, PLANTED))
#: Weak while files come and go.
IN_USE = {
    "blobs in the clear": Weakness(
        weaken=blobs_in_the_clear, moment="in flight", place=r"home/data/vault/\w+\.part", what=_NAMES
    ),
    "rows in the clear": Weakness(
        weaken=rows_in_the_clear, moment="processed", place=r"home/data/gateway\.db(-wal)?", what=_NAMES
    ),
    "a workbook in a temporary file": Weakness(
        weaken=workbook_in_a_file(tempfile.NamedTemporaryFile),
        moment="a workbook is read",
        place=r"(.*/)?temporary/tmp\w+(, open in a process)?",
        packed="zip|deflate",
        what=_NAMES,
    ),
    "a workbook in a file without a name": Weakness(
        weaken=workbook_in_a_file(tempfile.TemporaryFile),
        moment="a workbook is read",
        place=r".*/temporary/.* \(deleted\), open in a process",
        packed="zip|deflate",
        what=_NAMES,
    ),
    "a compressed copy": Weakness(
        weaken=compressed_copy,
        moment="processed",
        place="home/data/debug",
        packed="zlib|deflate",
        what=_NAMES,
    ),
    "a name in the log": Weakness(
        weaken=name_in_the_log, moment="processed", place="log", what=re.escape(FILE_NAME)
    ),
    "a file under its name": Weakness(
        weaken=blobs_under_their_names,
        moment="processed",
        place=f"name of home/data/run/{FILE_NAME}",
        what=re.escape(FILE_NAME),
    ),
}


@pytest.fixture
async def weak_town(temporary, new_town, tmp_path):
    """A town that is yet to be started; its ledger is nobody's concern."""
    town = new_town(tmp_path)
    yield town
    await town.stop()
    structlog.reset_defaults()


@pytest.mark.parametrize("name", IN_USE)
async def test_a_weakened_gateway_is_found_out(weak_town, monkeypatch, signal, csv_file, workbook, name):
    """At the moment, in the place and in the packing that it is weak in; nowhere else."""
    weakness = IN_USE[name]
    weakness.weaken(monkeypatch, weak_town.home)
    await weak_town.start()
    with pytest.raises(Seen) as seen:
        await exchange(weak_town, signal, csv_file, workbook, Eye(weak_town).look)
    assert weakness.explains(seen.value), seen.value


def no_compaction(patch: pytest.MonkeyPatch, _home: Path) -> None:
    """Deleted rows stay where they were in the database, and nobody says so."""
    patch.setattr(engine, "_PRAGMAS", [*engine._PRAGMAS, "secure_delete=OFF"])
    patch.setattr(figures, "compact", lambda store: compaction._outcome(store.path, 0, 0))


def step_left_out(name: str) -> Callable[[pytest.MonkeyPatch, Path], None]:
    """A purge without one of its steps."""

    def weaken(patch: pytest.MonkeyPatch, _home: Path) -> None:
        steps = [(each, step if each != name else lambda run: None) for each, step in purge.STEPS]
        assert steps != list(purge.STEPS)
        patch.setattr(purge, "STEPS", steps)

    return weaken


def keys_stay(kind: str) -> Callable[[pytest.MonkeyPatch, Path], None]:
    """Keys of a kind are said to be destroyed, and are not."""

    def weaken(patch: pytest.MonkeyPatch, _home: Path) -> None:
        whole = Keyring.destroy
        patch.setattr(Keyring, "destroy", lambda self, key: key.startswith(kind) or whole(self, key))

    return weaken


def keys_put_aside(patch: pytest.MonkeyPatch, home: Path) -> None:
    """A key that is destroyed lies in another folder."""

    def keep(_self: Keyring, key_id: str) -> None:
        (home / "data" / "old").mkdir(exist_ok=True)
        shutil.copy(home / f"keys/ring/{key_id}.key", home / "data" / "old" / "1")

    around(patch, Keyring, "destroy", keep)


def blobs_stay(patch: pytest.MonkeyPatch, _home: Path) -> None:
    """Blobs are said to be removed, and are not."""
    patch.setattr(BlobFolder, "remove", lambda self, *names: None)


def journal_not_emptied(patch: pytest.MonkeyPatch, _home: Path) -> None:
    """The database is written anew into its journal, and the file stays as it was."""
    never = "wal_autocheckpoint=0"
    patch.setattr(engine, "_PRAGMAS", [*engine._PRAGMAS, never])
    around(patch, compaction, "_in_window", lambda store, conn, *times: conn.execute(f"PRAGMA {never}"))
    patch.setattr(compaction, "_checkpoint", lambda conn: False)


_DATABASE = r"home/data/gateway\.db(-wal)?"
#: Weak when files are let go of.
LETTING_GO = {
    "no compaction": Weakness(
        weaken=no_compaction, place=_DATABASE, what=r"(signal|data_key|delivery|index_token|exclusion)\..*"
    ),
    "a journal that is not emptied": Weakness(weaken=journal_not_emptied, place=_DATABASE, what=r"\w+\.\w+"),
    "tokens stay": Weakness(weaken=step_left_out("tokens"), place=_DATABASE, what=r"index_token\.token"),
    "wrapped keys stay": Weakness(
        weaken=step_left_out("data_keys"),
        place=r"home/(data/gateway\.db(-wal)?|keys/ring/until-.*)",
        what=r"data_key\.wrapped|file of until-.*",
        opens=True,
    ),
    "day keys stay": Weakness(
        weaken=keys_stay("until-"), place=r"home/keys/ring/until-.*", what="file of until-.*", opens=True
    ),
    "the month's index key stays": Weakness(
        weaken=keys_stay("index-"), place=r"home/keys/ring/index-.*", what="file of index-.*", opens=True
    ),
    "keys put aside": Weakness(weaken=keys_put_aside, place="home/data/old/1", what="file of .*"),
    "blobs stay": Weakness(weaken=blobs_stay, place=r"home/data/vault/\w+", what="blob"),
}


@dataclass(frozen=True, kw_only=True)
class Lived:
    """A shut town in which everything was exchanged, a backup of it, and what must not remain of either."""

    town: Any
    backup: Path
    before: Needles


@pytest.fixture(scope="module")
def lived(new_town, tmp_path_factory, signal, csv_file, workbook):
    """Made once: the purges below work on copies."""
    path = tmp_path_factory.mktemp("lived")
    town = new_town(path)

    async def live() -> None:
        await town.start()
        await exchange(town, signal, csv_file, workbook, lambda moment: None)
        await town.stop()

    asyncio.run(live())
    structlog.reset_defaults()
    back_up(town.home, path / "backup")
    return Lived(
        town=town, backup=path / "backup", before=Needles.of_bytes(recorded(town.home, LATER.date()))
    )


@pytest.fixture
def later_town(lived, temporary, tmp_path, monkeypatch):
    """A copy of the town, to be let go of six calendar months later; nobody cuts the power, so the disk need not wait."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(engine, "_PRAGMAS", [*engine._PRAGMAS, "synchronous=OFF"])
    shutil.copytree(lived.town.home, tmp_path / "home")
    return replace(lived.town, path=tmp_path, home=tmp_path / "home", clock=SteppedClock(LATER))


def look_after_purge(town: Any, lived: Lived) -> None:
    """Raises Seen when something remains."""
    gateway = open_gateway(town.home, town.clock)
    try:
        gateway.make_keys()
        gateway.purge()
        # while it is open: its journal is there
        Eye(town).look("remains", lived.before, town.home, town.path / "temporary")
    finally:
        gateway.close()


def opens(town: Any, lived: Lived) -> bool:
    """Whether anything of the backup opens with the keys of now."""
    opened, _ = openable(lived.backup / "data", town.home / "keys", town.clock, town.path / "now")
    return bool(opened)


def test_a_whole_purge_leaves_nothing(later_town, lived):
    """The measure of those below: nothing is seen, and the backup stays shut."""
    look_after_purge(later_town, lived)
    assert not opens(later_town, lived)


@pytest.mark.parametrize("name", LETTING_GO)
def test_a_weakened_purge_is_found_out(later_town, lived, monkeypatch, name):
    """By what remains, and by the backup that opens with the keys that should be gone."""
    weakness = LETTING_GO[name]
    weakness.weaken(monkeypatch, later_town.home)
    with pytest.raises(Seen) as seen:
        look_after_purge(later_town, lived)
    assert weakness.explains(seen.value), seen.value
    assert opens(later_town, lived) == weakness.opens


def test_a_backup_that_holds_keys_is_found_out(lived, tmp_path):
    """By the keys in it, each of them; a backup that holds none is not."""
    keys = Needles.of_bytes(keys_of(lived.town.home))
    gateway = open_gateway(lived.town.home, lived.town.clock)
    for name, with_keys in (("without", False), ("with", True)):
        make(gateway, tmp_path / name, with_keys=with_keys, actor="beheer")
    gateway.close()
    assert keys.look(places(lived.backup, tmp_path / "without")) == set()
    found = keys.look(places(tmp_path / "with"))
    ring = (tmp_path / "with/keys/ring").glob("*.key")
    assert {each.place for each in found} == {f"with/keys/ring/{path.name}" for path in ring}
