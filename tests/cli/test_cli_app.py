"""The command line as a whole: every verb is there, and nobody who asks for one waits for the others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.cli.app import GROUPS, VERBS


def run_process(*args: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a shell runs it."""
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )


def test_the_help_has_every_verb_and_what_exit_codes_mean(gateway):
    """`gateway --help` names them all, in their order."""
    ran = gateway("--help")
    assert ran.code == 0
    places = [ran.out.index(f"│ {name} ") for name in (*VERBS, *GROUPS)]
    assert places == sorted(places)
    assert "Exit codes: 0 done" in ran.out


@pytest.mark.parametrize("name", [*VERBS, *GROUPS])
def test_every_verb_has_a_help_of_its_own(gateway, name):
    """Named alone, it is there with its own text and the exit codes."""
    ran = gateway(name, "--help")
    assert ran.code == 0
    assert f"gateway {name} " in ran.out


def test_a_home_may_be_called_like_a_verb(gateway, home):
    """A word that is a verb's name too takes no verb away."""
    ran = gateway("--home", home / "partner", "init", home / "partner" / "status")
    assert ran.code == 0, ran.err
    assert gateway("--home", home / "partner" / "status", "partner", "list").code == 0


def test_an_unknown_verb_is_refused(gateway):
    """Exit 2, and what was not understood."""
    ran = gateway("frobnicate")
    assert ran.code == 2
    assert "frobnicate" in ran.err


def test_a_verb_does_not_import_what_only_others_need():
    """`gateway partner list` answers in the time of its own imports, without database and daemon."""
    asked = "import sys; from gateway.cli.app import command_line; command_line(['partner', 'list']); print(*sys.modules)"
    imported = run_process("-c", asked).stdout.split()
    assert "gateway.cli.partner" in imported
    assert {"gateway.daemon", "gateway.cli.demo", "sqlalchemy"}.isdisjoint(imported)


def test_a_refusal_ends_the_process_with_its_code(tmp_path):
    """What a script sees of `python -m gateway`: a sentence on standard error and exit code 2."""
    ran = run_process("-m", "gateway", "--home", str(tmp_path), "check")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "gateway init DIR" in ran.stderr
