"""A virus scanner beside the gateway: Debian's clamd, with one signature of our own, the harmless EICAR text."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.domain.delivery import DeliveryState
from gateway.errors import DeliveryError, ScannerError
from gateway.pipeline.scanner import answers, scan
from gateway.store.tables import Delivery

CLAMD = "/usr/sbin/clamd"
#: https://www.eicar.org/download-anti-malware-testfile/, in two parts: this file is to be stored by everybody.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + rb"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@dataclass
class Scanner:
    """A clamd that can be stopped and started."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "clamd.ctl"

    def start(self) -> None:
        config = self.folder / "clamd.conf"
        config.write_text(
            f"LocalSocket {self.socket}\nDatabaseDirectory {self.folder}/db\nTemporaryDirectory {self.folder}\n"
            f"Foreground yes\nLogFile {self.folder}/clamd.log\nStreamMaxLength 1M\nMaxThreads 2\n"
        )
        self.process = subprocess.Popen([CLAMD, f"--config-file={config}"], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not answers(self.socket):
            assert self.process.poll() is None, (self.folder / "clamd.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(30)
        self.process = None


@pytest.fixture
def scanner(tmp_path_factory):
    """A running clamd; under CI it must be there."""
    if shutil.which(CLAMD) is None:
        if os.environ.get("CI"):
            pytest.fail("clamd is not installed: apt-get install clamav-daemon")
        pytest.skip("clamd is not installed")
    # a socket's path may not be long
    made = Scanner(tmp_path_factory.mktemp("clam"))
    (made.folder / "db").mkdir()
    (made.folder / "db" / "gateway.ndb").write_text(f"Gateway.Eicar:0:*:{EICAR.hex()}\n")
    made.start()
    yield made
    made.stop()


async def test_a_virus_is_found(closed_town, scanner, signal, csv_file):
    """F10 for the file that holds it, wherever it stands; what came before and after it counts."""
    town = closed_town
    town.edit("gateway.toml", '#clamd = "/run/clamav/clamd.ctl"', f'clamd = "{scanner.socket}"')
    await town.start()
    await town.put("woonservice", "voor.csv", csv_file(signal("w1")))
    bad = csv_file(*(signal(f"v{n}", huisnummer=26) for n in range(2_000))) + EICAR
    await town.put("woonservice", "ziek.csv", bad)
    await town.put("woonservice", "na.csv", csv_file(signal("w2", huisnummer=30)))
    await town.settle()
    boxes = await town.collect("woonservice")
    assert [each["weigering"] and each["weigering"]["code"] for each in boxes.receipts] == [None, "F10", None]
    assert set(boxes.receipts[1]["sommen"].values()) == {0}
    assert boxes.statuses == [("w1", "D10"), ("w2", "D10")]


async def test_files_wait_for_the_scanner(closed_town, scanner, signal, csv_file):
    """While it doesn't answer no file is read, none is lost, and it is told once; then all goes on."""
    town = closed_town
    town.edit("gateway.toml", '#clamd = "/run/clamav/clamd.ctl"', f'clamd = "{scanner.socket}"')
    scanner.stop()
    await town.start()
    await town.put("woonservice", "een.csv", csv_file(signal("w1")))
    await town.until(lambda: "scanner.missed" in town.log.getvalue())
    await town.put("woonservice", "twee.csv", csv_file(signal("w2", huisnummer=26)))
    for _ in range(20):  # it looks again and again
        town.daemon.worker.wake()
    waiting = [(row["state"], row["attempts"]) for row in town.rows(Delivery)]
    assert waiting == [(DeliveryState.ARRIVED, 0)] * 2
    scanner.start()
    await town.settle()
    assert (await town.collect("woonservice")).statuses == [("w1", "D10"), ("w2", "D10")]
    log = town.log.getvalue()
    assert [log.count(event) for event in ('"scanner.missed"', '"scanner.returned"')] == [1, 1]


def test_only_a_clean_file_is_clean(scanner, tmp_path):
    """Too much for it, no answer and no scanner are no clean file."""
    scan(scanner.socket, [b"signaal_id;sector\r\n", b"w1;Huur\r\n"])
    with pytest.raises(DeliveryError, match="F10"):
        scan(scanner.socket, [EICAR[:20], EICAR[20:]])
    with pytest.raises(ScannerError, match=r"StreamMaxLength|broke off"):
        scan(scanner.socket, (bytes(65_536) for _ in range(40)))
    with pytest.raises(ScannerError, match="broke off: No such file"):
        scan(tmp_path / "nobody", [b"x"])
    assert answers(scanner.socket)
    assert not answers(tmp_path / "nobody")
