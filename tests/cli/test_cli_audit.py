"""`gateway audit`: a whole log is told from one that was rewritten."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import supervisor


@pytest.fixture
def gateway_on(house, gateway, monkeypatch):
    """Run `gateway ARGS` on a home whose log has entries and a checkpoint."""
    monkeypatch.setenv("GATEWAY_HOME", str(house.home))
    with house.opened() as opened:
        opened.make_keys()
        opened.sign()
    return gateway


def _tamper(house, entry: bytes) -> None:
    with sqlite3.connect(house.home / "data/gateway.db") as db:
        (newest,) = db.execute("SELECT max(id) FROM audit_entry").fetchone()
        db.execute("UPDATE audit_entry SET entry = ? WHERE id = ?", (entry, newest))
    db.close()


def test_a_whole_log(gateway_on):
    """Exit 0, and how much was verified."""
    told = json.loads(gateway_on("audit", "verify", "--json").out)
    assert (told["ok"], told["checkpoints"], told["unsequenced"], told["problems"]) == (True, 1, 0, [])
    seen = gateway_on("audit", "verify")
    assert (seen.code, seen.err) == (0, "")
    assert seen.out == f"✓ The audit log is whole: {told['entries']} entries, 1 signed checkpoint\n"


def test_a_rewritten_entry(house, gateway_on):
    """Exit 13, and each thing that does not fit, for people and for programs."""
    _tamper(house, b'{"action":"nothing.happened"}')
    seen = gateway_on("audit", "verify")
    assert (seen.code, seen.out) == (13, "")
    assert "was altered" in seen.err
    told = gateway_on("audit", "verify", "--json")
    assert told.code == 13
    assert json.loads(told.out)["ok"] is False


def test_the_newest_entries(gateway_on):
    """Oldest first, as they were written."""
    two = json.loads(gateway_on("audit", "show", "--last", "2", "--json").out)
    three = json.loads(gateway_on("audit", "show", "--last", "3", "--json").out)
    assert three[1:] == two
    assert {each["action"] for each in three} == {"key.made"}
    shown = gateway_on("audit", "show", "--last", "3").out
    assert [three[n]["object"] in line for n, line in enumerate(shown.splitlines()[2:])] == [True] * 3


def test_an_altered_entry_is_shown_as_such(house, gateway_on):
    """Whatever a tamperer wrote, the others are still shown."""
    _tamper(house, b"\xff[bold]")
    shown = gateway_on("audit", "show", "--last", "2")
    assert shown.code == 0
    assert "key.made" in shown.out
    assert "unreadable" in shown.out


@pytest.fixture
def kept(house, gateway_on, tmp_path):
    """The checkpoint that an auditor kept, of a log that went on since."""
    path = tmp_path / "kept"
    path.write_bytes((house.home / "log/checkpoint").read_bytes())
    assert gateway_on("keys", "host", "rotate").code == 0
    with house.opened() as opened:
        opened.sign()
    assert path.read_bytes() != (house.home / "log/checkpoint").read_bytes()
    return path


def test_a_kept_checkpoint_is_continued(gateway_on, kept):
    """What was seen then is a beginning of the log of now."""
    seen = gateway_on("audit", "verify", "--from", kept)
    assert seen.code == 0, seen.err
    assert f"continues {kept}" in seen.out


def test_a_history_rewritten_by_its_operator_does_not_continue_what_was_kept(house, gateway_on, kept):
    """All that is the operator's agrees with itself, and exits 0; beside what an auditor kept, 13."""
    _forget(house, "UPDATE audit_entry SET leaf_index = NULL, leaf_hash = NULL, entry = x'7b7d'")
    with house.opened() as opened:
        opened.sign()
    assert gateway_on("audit", "verify").code == 0
    seen = gateway_on("audit", "verify", "--from", kept)
    assert seen.code == 13
    assert "the kept checkpoint: the first" in seen.err


def test_what_is_no_checkpoint_continues_nothing(gateway_on, kept):
    """A file of another kind is a problem of the log that it should be of; no file is one of the command."""
    kept.write_text("nonsense")
    assert gateway_on("audit", "verify", "--from", kept).code == 13
    kept.unlink()
    assert gateway_on("audit", "verify", "--from", kept).code == 1


def _forget(house, statement: str) -> None:
    with sqlite3.connect(house.home / "data/gateway.db") as db:
        db.execute("DELETE FROM audit_checkpoint")
        db.execute(statement)
    db.close()
    shutil.rmtree(house.home / "log")
    (house.home / "log").mkdir()


def test_an_export_is_checked_without_the_gateway(gateway_on, kept, tmp_path):
    """By its own verifier, and its checkpoint by `openssl` with the lines that the documents tell."""
    folder = tmp_path / "out" / "log"
    assert gateway_on("audit", "export", folder).code == 0
    checked = subprocess.run(
        [sys.executable, "-I", "-S", folder / "verify_log.py", "--kept", kept],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    document = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    (lines,) = [block for block in document.split("```")[1::2] if "openssl pkeyutl" in block]
    command = ["sh", "-e", "-c", lines.removeprefix("sh\n")]
    good = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "Signature Verified Successfully\n"), good.stderr
    checkpoint = folder / "checkpoint"
    origin, size, rest = checkpoint.read_text().split("\n", 2)
    checkpoint.write_text(f"{origin}\n{int(size) + 1}\n{rest}")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode != 0
    assert gateway_on("audit", "export", folder).code == 1, "a folder that is there is not written into"


def test_a_lost_log_begins_again_only_when_told_to(house, gateway_on, kept, monkeypatch):
    """Without log/ the gateway does not start; with --accept-loss it does, and both logs' names are on record."""
    served = []

    def serve(gateway, *, host, port):
        served.append(gateway.home.root)

    monkeypatch.setattr(supervisor, "serve", serve)
    refused = gateway_on("serve", "--accept-loss")
    assert (refused.code, served) == (1, []), "nothing was lost"
    shutil.rmtree(house.home / "log")
    (house.home / "log").mkdir()
    refused = gateway_on("serve")
    assert (refused.code, served) == (13, [])
    assert "--accept-loss" in refused.err
    assert gateway_on("serve", "--accept-loss").code == 0
    assert gateway_on("serve").code == 0
    assert len(served) == 2
    told = json.loads(gateway_on("audit", "verify", "--from", kept, "--json").out)
    entry = json.loads(gateway_on("audit", "show", "--last", "1", "--json").out)[0]
    assert (told["ok"], told["restored"]) == (True, [told["entries"] - 1])
    assert entry["action"] == "log.restored"
    assert entry["detail"]["old"] == kept.read_text().split("\n")[0]
    assert entry["object"] == (house.home / "log/checkpoint").read_text().split("\n")[0]
    assert "began again" in gateway_on("audit", "verify").out
