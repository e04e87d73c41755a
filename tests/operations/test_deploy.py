"""What a host is given: the image, the compose file and the systemd unit agree, and their linters are content."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.files.table import Limits
from gateway.pipeline import workbook

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
UNIT = ROOT / "deploy/gateway.service"


def lint(*command: str | Path) -> str:
    """Run a linter, which must be content, and give what it said; skipped by name where it is not installed."""
    if not shutil.which(command[0]):
        pytest.skip(f"{Path(command[0]).name} is not here")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def directives() -> dict[str, list[str]]:
    """The unit's settings, by name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_the_dockerfile_is_linted():
    """Hadolint finds nothing."""
    lint(BIN / "hadolint", "Dockerfile")


def test_the_compose_file_has_its_schema():
    """It is what the compose specification allows."""
    lint(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_unit_is_one_that_systemd_reads(tmp_path):
    """`systemd-analyze verify` finds no setting that it does not know."""
    unit = tmp_path / "gateway.service"
    # the program lies elsewhere here, and verify looks whether it is there
    unit.write_text(UNIT.read_text().replace("/opt/gateway/bin/gateway", str(BIN / "gateway")))
    # of a setting that it does not know it says so, and is content; of other units it may say anything
    assert "gateway.service" not in lint("systemd-analyze", "verify", "--man=no", unit)


def test_the_unit_keeps_memory_off_the_disk():
    """No core dump, no swap, files for nobody else, and nothing writable but its own folder."""
    told = directives()
    expected = {
        "Type": "notify",
        "LimitCORE": "0",
        "MemorySwapMax": "0",
        "UMask": "0077",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "StateDirectory": "gateway",
    }
    assert {name: told[name] for name in expected} == {name: [value] for name, value in expected.items()}
    assert "ReadWritePaths" not in told


def test_memory_is_enough_for_all_at_once():
    """The largest workbook beside the largest file, and as many processes as a gateway takes by itself."""
    (given,), compose = directives()["MemoryMax"], (ROOT / "compose.yaml").read_text()
    assert re.findall(r"^    (mem_limit|memswap_limit): (\w+)$", compose, re.MULTILINE) == [
        ("mem_limit", given.lower()),
        ("memswap_limit", given.lower()),
    ]
    mib = 1024**2
    largest_workbook = workbook._BASE_BYTES + workbook._MEMORY_RATIO * Limits().unpacked_bytes
    # a pipeline process with a file of 100,000 rows (spec 5), and what others take at rest, as measured
    needed = largest_workbook + 332 * mib + 170 * mib
    assert needed < int(given.removesuffix("G")) * 1024 * mib * 0.75, (
        "a quarter is for sessions and worklists"
    )


def test_all_of_them_serve_the_same_home():
    """Unit, image and compose file agree on the folder, the program and the port."""
    image, compose = (ROOT / "Dockerfile").read_text(), (ROOT / "compose.yaml").read_text()
    assert directives()["ExecStart"] == ["/opt/gateway/bin/gateway --home /var/lib/gateway serve"]
    assert "GATEWAY_HOME=/var/lib/gateway" in image
    assert 'ENTRYPOINT ["gateway"]\nCMD ["serve"]' in image
    mounted = re.findall(r"- (\w+):/var/lib/gateway/(\w+)$", compose, re.MULTILINE)
    assert mounted == [(name, name) for name in ("config", "keys", "data", "log")]
    assert "EXPOSE 2222" in image
    assert '"2222:2222"' in compose


def test_the_image_is_given_no_home():
    """What a checkout's own home holds never enters the build."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == {
        "constraints.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "config",
        "gateway",
    }
    assert {"config/gateway.toml", "config/partners", "config/municipalities"} <= set(ignored)


def test_a_container_s_first_start_makes_a_home_on_its_volumes(tmp_path):
    """`gateway init` takes the empty folders that the volumes are mounted on, and no folder with a file in it."""
    for name in ("config", "keys", "data", "log"):
        (tmp_path / name).mkdir()
    command = [sys.executable, "-m", "gateway", "init", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    (tmp_path / "config/gateway.toml").unlink()
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert again.returncode == 2
