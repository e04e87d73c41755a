"""Claims of `gateway demo --keep`: who pastes what it prints, line by line, sees what it promises."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

import pytest

GATEWAY = [sys.executable, "-m", "gateway"]
#: Seconds that a visitor's upload may take until it is on its way to the municipality, on a busy machine.
PATIENCE = 60

pytestmark = pytest.mark.timeout(400)


@dataclass
class Demo:
    folder: Path
    process: subprocess.Popen[str]
    screen: str
    #: head of a block, such as `A creditor` -> its lines, without the margin
    blocks: dict[str, list[str]]

    def received(self, partner: str) -> Path:
        return self.folder / "partners" / partner / "received"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo as its own process, from the moment at which it has told all."""
    folder = tmp_path_factory.mktemp("keep") / "demo"
    with subprocess.Popen([*GATEWAY, "demo", "--keep", folder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = list(takewhile(lambda line: not line.startswith("  rm -r"), process.stdout))
        yield Demo(folder=folder, process=process, screen="".join(lines), blocks=_blocks(lines))
        process.kill()


def test_a_visitor_sees_what_the_screen_promises(demo: Demo) -> None:
    """Each printed line does what it says as each of the four users; Ctrl-C ends it well, and it can go on."""
    assert list(demo.blocks) == [
        "A creditor",
        "A municipality",
        "An auditor",
        "The administrator",
        "Ctrl-C stops it",
    ]

    # a creditor
    told = _paste(demo.blocks["A creditor"])
    sample = next(demo.folder.glob("partners/veenrand/proef_*.csv"))
    assert "ontvangst_" in told
    assert sample.name in told
    again = [line for line in demo.blocks["A creditor"] if not line.startswith("sftp> put")]
    receipt = _until(lambda: _paste(again) and _receipt(demo.received("veenrand"), sample.name))
    assert (receipt["sommen"]["signalen"], receipt["sommen"]["afgekeurd"]) == (3, 1)
    ids = {line["signaal_id"] for line in _csv(sample)}
    # the crisis is passed on at once, the others a little later
    _until(lambda: _paste(again) and _statuses(demo.received("veenrand"), ids) == ["D10", "D10", "D10"])

    # its municipality
    assert "meldingen_GM1731_" in _paste(demo.blocks["A municipality"])
    found = [
        line
        for path in demo.received("gemeente-midden-drenthe").glob("meldingen_*.csv")
        for line in _csv(path)
        if line["partner"] == "veenrand" and line["signaaldatum"] == _today(sample)
    ]
    assert len({line["signaalnummer"] for line in found}) == 3
    assert any("CRISIS" in line["matchregels"] for line in found)

    # an auditor
    assert "The log is whole" in _paste(demo.blocks["An auditor"])
    audit = demo.received("toezicht") / "audit"
    assert {path.name for path in audit.iterdir()} == {"goedkeuringen", "log", "registers", "verklaringen"}
    assert all(any(folder.iterdir()) for folder in audit.iterdir())

    # the administrator
    told = _paste(demo.blocks["The administrator"])
    assert f"process {demo.process.pid}" in told
    assert told.count("✓ The audit log is whole") == told.count("✓ Everything adds up") == 1
    port = json.loads((demo.folder / "home/data/run/gateway.json").read_text())["port"]
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(30) == 0
    _goes_on(demo, port)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """Exit 2 and what to do; nothing is changed."""
    (tmp_path / "letter.txt").write_text("mine")
    done = subprocess.run([*GATEWAY, "demo", "--keep", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "name a new or empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def _goes_on(demo: Demo, port: int) -> None:
    """The command for afterwards, as printed: the same port, and nothing that came in is lost."""
    command = demo.blocks["Ctrl-C stops it"][0]
    assert command.split("#")[0].split()[-3:] == ["--home", str(demo.folder / "home"), "serve"]
    status = demo.folder / "home/data/run/gateway.json"
    with subprocess.Popen(["bash", "-c", f"exec {command}"], stderr=subprocess.DEVNULL) as serving:
        assert _until(lambda: status.exists() and json.loads(status.read_text()))["port"] == port
        _paste(demo.blocks["A creditor"][:4])
        serving.terminate()
        assert serving.wait(30) == 0


def _blocks(lines: list[str]) -> dict[str, list[str]]:
    """The indented lines below each head."""
    found: dict[str, list[str]] = {}
    head = ""
    for is_indented, group in groupby((line for line in lines if line.strip()), lambda line: line[0] == " "):
        text = list(group)
        if is_indented:
            found[head] = [line.removeprefix("  ").rstrip("\n") for line in text]
        else:
            head = re.split("[:;]", text[-1])[0].strip()
    return found


def _paste(lines: list[str]) -> str:
    """Run the lines as they were printed, those for sftp's prompt as its batch; what all of it said."""
    script = ["set -e"]
    for is_typed, group in groupby(lines, lambda line: line.startswith("sftp> ")):
        if is_typed:
            script += [line.removeprefix("sftp> ") for line in group] + ["END"]
        else:
            for line in group:
                is_last = line.strip().endswith("@127.0.0.1")
                script.append(line.replace("sftp ", "sftp -b - ", 1) + (" <<'END'" if is_last else ""))
    if script[-1].endswith("<<'END'"):
        script.append("END")
    done = subprocess.run(["bash", "-c", "\n".join(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _receipt(received: Path, name: str) -> Any:
    receipts = (json.loads(path.read_text("utf-8")) for path in received.glob("ontvangst_*.json"))
    return next((receipt for receipt in receipts if receipt["bestand"]["naam"] == name), None)


def _statuses(received: Path, ids: set[str]) -> list[str]:
    lines = [line for path in received.glob("signaalstatus_*.csv") for line in _csv(path)]
    return [line["code"] for line in lines if line["signaal_id"] in ids]


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8-sig").splitlines(), delimiter=";"))


def _today(sample: Path) -> str:
    day = sample.stem.removeprefix("proef_")
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def _until(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found
