"""`gateway doctor`: each thing that can be wrong on a host is found, named, and told how to mend."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from gateway.cli.init import make_home
from gateway.clock import AMSTERDAM, SteppedClock
from gateway.doctor import door, host
from gateway.doctor.examine import examine
from gateway.doctor.finding import Finding, Verdict
from gateway.exchange import host_keys
from gateway.exchange.keys import create_key
from gateway.gateway import Gateway, open_gateway
from gateway.running import Running
from gateway.settings import Home, load_settings
from gateway.store import heartbeat
from gateway.vault.reserve import Reserve

NOW = datetime(2026, 11, 3, 9, 0, tzinfo=AMSTERDAM)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that was served once: it has its keys, entries and a signed checkpoint."""
    path = tmp_path_factory.mktemp("made") / "home"
    make_home(Home(root=path))
    gateway = open_gateway(path, SteppedClock(NOW), guards_clock=True)
    gateway.make_keys()
    gateway.beat()
    gateway.sign()
    gateway.close()
    return path


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Home:
    """A healthy home."""
    return Home(root=shutil.copytree(made, tmp_path / "home"))


def look(home: Home, now: datetime = NOW, backups: Sequence[Path] = ()) -> dict[str, Finding]:
    """All findings, by subject."""
    return {found.subject: found for found in examine(home, now, backups)}


def bad(home: Home, now: datetime = NOW, backups: Sequence[Path] = ()) -> dict[str, Verdict]:
    """What is wrong with the home, the host it lies on left aside."""
    hosts = {"disk", "swap", "core dumps", "open files", "memory", "gateway"}
    found = look(home, now, backups)
    assert all(each.remedy for each in found.values() if each.verdict is not Verdict.OK)
    return {name: each.verdict for name, each in found.items() if each.verdict != "ok" and name not in hosts}


def test_nothing_is_wrong_with_a_healthy_home(home):
    """Every subject is looked at, and is as it should be; nothing is changed by looking."""
    before = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
    assert bad(home) == {}
    found = look(home)
    assert len(found) == 21
    assert found["gateway"].what == "does not run"
    after = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
    assert {path: data for path, data in after.items() if path in before} == before
    assert {path.name for path in after.keys() - before.keys()} <= {"gateway.db-wal", "gateway.db-shm"}


def _break_modes(home: Home) -> None:
    home.data.chmod(0o755)


def _break_ring_mode(home: Home) -> None:
    next((home.keys / "ring").glob("until-*")).chmod(0o640)


def _break_owner(home: Home) -> None:
    if os.getuid():
        pytest.skip("only root can give files away")
    os.chown(home.log / "checkpoint", 12345, -1)


def _break_layout(home: Home) -> None:
    home.keys.rename(home.data / "keys")
    home.keys.symlink_to(home.data / "keys")


def _break_tag(home: Home) -> None:
    (home.keys / "CACHEDIR.TAG").unlink()


def _break_key(home: Home) -> None:
    path = next((home.keys / "ring").glob("until-*"))
    path.write_bytes(path.read_bytes()[::-1])


def _break_root(home: Home) -> None:
    (home.keys / "root.key").unlink()


def _break_ahead(home: Home) -> None:
    next((home.keys / "ring").glob("until-2027-05-1*")).unlink()


def _break_database(home: Home) -> None:
    with home.db.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)


def _break_header(home: Home) -> None:
    home.db.write_bytes(b"no database at all" * 100)


def _break_vault(home: Home) -> None:
    home.vault.rmdir()


def _break_checkpoint(home: Home) -> None:
    (home.log / "checkpoint").unlink()


def _break_entry(home: Home) -> None:
    conn = sqlite3.connect(home.db)
    conn.execute("UPDATE audit_entry SET entry = replace(entry, 'key.made', 'key.lost') WHERE id = 5")
    conn.commit()
    conn.close()


def _break_config(home: Home) -> None:
    home.gateway_file.write_text("[retention]\nsignals = 'six'\n")


@pytest.mark.parametrize(
    ("damage", "subject", "verdict"),
    [
        (_break_modes, "modes", "fail"),
        (_break_ring_mode, "modes", "fail"),
        (_break_owner, "owner", "fail"),
        (_break_layout, "layout", "fail"),
        (_break_tag, "backup tag", "warn"),
        (_break_key, "keyring", "fail"),
        (_break_root, "keyring", "fail"),
        (_break_ahead, "keys ahead", "warn"),
        (_break_database, "database", "fail"),
        (_break_header, "database", "fail"),
        (_break_vault, "vault", "fail"),
        (_break_checkpoint, "audit log", "fail"),
        (_break_entry, "audit log", "fail"),
        (_break_config, "configuration", "fail"),
    ],
)
def test_what_is_wrong_is_found(home, damage: Callable[[Home], None], subject, verdict):
    """One thing is damaged, that one is told with a remedy, and the rest is looked at all the same."""
    damage(home)
    assert bad(home) == {subject: verdict}


def _add_blob(gateway: Gateway) -> str:
    blob = gateway.blobs.create()
    blob.write(b"x")
    blob.commit()
    return blob.name


def test_a_sealed_file_without_a_row_and_a_row_without_its_file(home):
    """An orphan of a crash is a warning; a file that is not there is what a backup is for."""
    gateway = open_gateway(home.root, SteppedClock(NOW))
    name = _add_blob(gateway)
    gateway.close()
    found = look(home)["vault"]
    assert (found.verdict, "1 besides that no row knows" in found.what) == ("warn", True)
    conn = sqlite3.connect(home.db)
    columns = {row[1]: row for row in conn.execute("PRAGMA table_info(delivery)")}
    values = {name: _value(row) for name, row in columns.items() if row[3]} | {
        "blob": name,
        "state": "arrived",
    }
    conn.execute(
        f"INSERT INTO delivery ({','.join(values)}) VALUES ({','.join('?' * len(values))})",
        list(values.values()),
    )
    conn.commit()
    conn.close()
    assert look(home)["vault"].verdict == "ok"
    (home.vault / name).unlink()
    found = look(home)["vault"]
    assert (found.verdict, found.what) == ("fail", "1 of 1 sealed files are not there")


def _value(column: tuple[object, ...]) -> object:
    """Something that a column of this type takes."""
    return 0 if str(column[2]).upper() in {"INTEGER", "BOOLEAN", "BIGINT"} else "2026-11-03 09:00:00.000000"


def test_a_clock_that_went_back_or_jumped(home):
    """As the purge judges it: 5 minutes before the last heartbeat, 26 hours after it."""
    for step, verdict in (
        (-timedelta(minutes=5), "ok"),
        (-timedelta(minutes=6), "fail"),
        (timedelta(hours=26), "ok"),
        (timedelta(hours=27), "fail"),
    ):
        assert look(home, NOW + step)["clock"].verdict == verdict
    assert "gateway retention approve" in look(home, NOW + timedelta(hours=27))["clock"].what


def test_a_gateway_that_never_ran_has_no_clock_to_compare_with(home):
    """There is no heartbeat before the first purge or the first minute."""
    gateway = open_gateway(home.root)
    with gateway.store.write() as conn:
        heartbeat.forget(conn)
    gateway.close()
    assert look(home, NOW - timedelta(days=400))["clock"].verdict == "ok"


@pytest.fixture
def backup(home: Home, tmp_path: Path) -> Path:
    """A backup of the data only."""
    path = tmp_path / "backup"
    shutil.copytree(home.data, path / "data")
    shutil.copytree(home.log, path / "log")
    return path


def packed(folder: Path, kind: str) -> Path:
    """The folder as it is, or as an archive."""
    if kind == "folder":
        return folder
    path = folder.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.rglob("*"):
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w:gz") as tar:
            tar.add(folder, "backup")
    return path


@pytest.mark.parametrize("kind", ["folder", "tgz", "zip"])
@pytest.mark.parametrize(
    "name",
    ["root.key", "ring/until-2026-11-30.key", "ring/index-2026-11.key", "host_ed25519", "host_ecdsa-12"],
)
def test_a_backup_with_a_key_in_it(home, backup, kind, name):
    """One key is enough, wherever it lies in the backup; without it the backup is as it should be."""
    if not (home.keys / name).exists():
        create_key(home.keys / name, comment="")
    assert bad(home, backups=[packed(backup, kind)]) == {}
    hidden = backup / "data/somewhere" / Path(name).name
    hidden.parent.mkdir()
    shutil.copy(home.keys / name, hidden)
    assert bad(home, backups=[packed(backup, kind)]) == {"backup": "fail"}
    assert f"data/somewhere/{hidden.name}" in look(home, backups=[packed(backup, kind)])["backup"].what


def test_a_backup_made_with_exclude_caches(home, tmp_path):
    """The tag alone, without what it kept out, is no key."""
    archive = tmp_path / "home.tar"
    subprocess.run(
        ["tar", "--exclude-caches", "-cf", archive, "-C", home.root, "."], check=True, capture_output=True
    )
    found = look(home, backups=[archive])["backup"]
    assert (found.verdict, found.what) == ("ok", f"{archive} holds the database and none of the keys")


def test_a_backup_that_can_t_be_looked_into(home, tmp_path):
    """What is no folder and no archive is not called good."""
    opaque = tmp_path / "repository.img"
    opaque.write_bytes(b"\0" * 5_000)
    assert bad(home, backups=[opaque]) == {"backup": "warn"}
    assert bad(home, backups=[tmp_path / "nowhere"]) == {"backup": "fail"}
    (tmp_path / "empty").mkdir()
    assert bad(home, backups=[tmp_path / "empty"]) == {"backup": "warn"}


def test_a_stranger_at_the_port(home, tmp_path):
    """Another server at the gateway's port is told from the gateway by its key, and nobody from somebody."""
    create_key(tmp_path / "other", comment="")
    settings = load_settings(home.root)

    async def knock() -> tuple[Finding, int]:
        async with await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[str(tmp_path / "other")]
        ) as server:
            daemon = Running(port=server.get_port(), pid=1, host_key="SHA256:ours")
            return await asyncio.to_thread(door.look, settings, daemon, NOW), server.get_port()

    found, port = asyncio.run(knock())
    assert found.verdict == "fail"
    assert "see who else listens" in found.remedy
    found = door.look(settings, Running(port=port, pid=1, host_key="SHA256:ours"), NOW)
    assert found.verdict == "fail"
    assert f"at 127.0.0.1 port {port}" in found.what


def test_host_keys(home):
    """A turn that is to come is told with its day; a key that is gone or is another one fails."""
    assert look(home)["host keys"].verdict == "ok"
    host_keys.rotate(home.keys, NOW, NOW + timedelta(days=30), told=lambda _: None)
    found = look(home)["host keys"]
    new = host_keys.calendar(home.keys)[1]
    assert (found.verdict, f"on 2026-12-03 {new.fingerprint} comes into use" in found.what) == ("warn", True)
    assert look(home)["modes"].verdict == "ok"
    (home.keys / new.file).chmod(0o640)
    assert look(home)["modes"].verdict == "fail"
    (home.keys / new.file).unlink()
    assert look(home)["host keys"].verdict == "fail"


def test_a_turn_of_host_keys_at_the_door(home):
    """In the minute of a turn the key of before may still answer, and it is the gateway that does."""
    before = host_keys.calendar(home.keys)[0]
    host_keys.rotate(home.keys, NOW, NOW, told=lambda _: None)
    settings = load_settings(home.root)

    async def knock(told: str) -> Finding:
        async with await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[str(home.keys / before.file)]
        ) as server:
            daemon = Running(port=server.get_port(), pid=1, host_key=told)
            return await asyncio.to_thread(door.look, settings, daemon, NOW)

    assert asyncio.run(knock(host_keys.calendar(home.keys)[1].fingerprint)).verdict == "ok"
    host_keys.retire(home.keys, before.fingerprint, NOW, told=lambda _: None)
    found = asyncio.run(knock(before.fingerprint))
    assert (found.verdict, "in keys/ lies" in found.what) == ("fail", True)


def test_the_reserve_of_a_gateway_that_runs(home):
    """Held, let go, or held without room for a file of the largest size."""
    runs = Running(port=1, pid=os.getpid(), host_key="")

    def found(file_bytes):
        return {each.subject: each for each in host.look(home, runs, file_bytes)}["reserve"]

    assert (found(1).verdict, "let go" in found(1).what) == ("fail", True)
    Reserve(home.reserve).hold()
    assert found(1).verdict == "ok"
    assert (found(10**18).verdict, "none is received" in found(10**18).what) == ("fail", True)


def test_limits_are_those_of_the_gateway_s_process(home):
    """A process that may dump its memory, and has few files to open, is told of; not the one that asks."""
    script = "ulimit -c 1000 2>/dev/null; ulimit -S -n 512; echo ready; exec sleep 60"
    with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        found = {
            each.subject: each for each in host.look(home, Running(port=1, pid=process.pid, host_key=""), 1)
        }
        process.kill()
    assert found["open files"].what == "512 at a time"
    assert [found[name].verdict for name in ("open files", "core dumps")] == ["warn", "warn"]


def test_a_full_disk(home, monkeypatch):
    """Little room is a warning, hardly any an error."""
    for free, verdict in ((10**12, "ok"), (10**9, "warn"), (10**8, "fail")):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(10**12, 0, free)
        )
        assert look(home)["disk"].verdict == verdict


def _run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_beside_a_running_gateway(tmp_path):
    """`health` and `doctor` say that it answers; when something fails doctor ends with 1, and JSON says the same."""
    home = Home(root=tmp_path / "home")
    make_home(home)
    assert _run("--home", home.root, "health").returncode == 1
    command = [
        sys.executable,
        "-m",
        "gateway",
        "--home",
        home.root,
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:
        end = time.monotonic() + 60
        while not home.status_file.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        health = _run("--home", home.root, "health")
        assert (health.returncode, "It answers at port" in health.stdout) == (0, True)
        whole = _run("--home", home.root, "doctor", "--json")
        told = json.loads(whole.stdout)
        assert (whole.returncode, told["ok"]) == (0, True)
        assert {"verdict": "ok", "subject": "gateway"}.items() <= told["findings"][-1].items()
        broken = _run("--home", home.root, "doctor", "--backup", home.root)
        assert broken.returncode == 1
        assert "1 thing to mend" in broken.stdout
        assert broken.stderr == ""
        daemon.send_signal(signal.SIGTERM)


def test_a_folder_that_is_no_home(tmp_path):
    """Says so, and how to make one."""
    refused = _run("--home", tmp_path, "doctor")
    assert refused.returncode == 2
    assert "gateway init" in refused.stderr
