"""`gateway retention due | run | log`, on a real home."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.clock import add_months, local_day
from gateway.domain.delivery import DeliveryState
from gateway.store.tables import Delivery

#: The class of `conftest.py`.
World = Any
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(make_world: Callable[[str, datetime], World]) -> World:
    """A home in which a delivery of seven months ago is due, and one of today is not."""
    now = datetime.now(UTC)
    world = make_world("home", now - timedelta(days=215))
    (world.home / "config").mkdir()
    (world.home / "config" / "gateway.toml").touch()
    world.deliver()
    world.clock.set(now)
    world.ensure_keys()
    world.deliver()
    return world


@pytest.fixture
def retention(home: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `gateway retention ARGS`: exit code, standard output, standard error."""

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gateway", "--home", str(home.home), "retention", *args])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_due_lists_the_days_to_come(home: World, retention: Run) -> None:
    """What is overdue, what goes within two weeks, and further when asked."""
    today = local_day(home.now)
    code, out, _ = retention("due")
    assert (code, "overdue" in out) == (0, True)
    _, out, _ = retention("due", "--json")
    days = {line["day"]: line for line in json.loads(out)}
    assert days[str(today + timedelta(days=14))]["raws"] == 1
    assert str(add_months(today, 6)) not in days
    _, out, _ = retention("due", "--json", "--until", str(add_months(today, 6)))
    assert json.loads(out)[-1]["signals"] == 2


def test_run_lets_go_of_what_is_due_and_the_log_tells_of_it(home: World, retention: Run) -> None:
    """A dry run says the same and changes nothing; standard output holds the result alone."""
    code, out, _ = retention("run", "--dry-run", "--json")
    said = json.loads(out)
    assert (code, said["run"], said["dry_run"], said["counts"]["signals"]) == (0, None, True, 2)
    assert json.loads(retention("log", "--json")[1]) == []
    assert "No purge has run yet" in retention("log")[1]

    code, out, err = retention("run", "--json")
    done = json.loads(out)
    assert (code, err, done["counts"], done["keys"]) == (0, "", said["counts"], said["keys"])
    assert [row["state"] for row in home.rows(Delivery)] == [DeliveryState.PURGED, DeliveryState.PROCESSED]
    assert '"origin":"cli"' in home.audit("purge.finished")[0]

    (logged,) = json.loads(retention("log", "--json")[1])
    assert (logged["run"], logged["counts"]) == (done["run"], done["counts"])
    assert "is gone" in retention("run")[1]
    assert len(json.loads(retention("log", "--json")[1])) == 2


def test_what_could_not_be_purged_is_said_and_the_exit_code_is_1(home: World, retention: Run) -> None:
    """On standard error, with step, object and reason."""
    stuck = home.rows(Delivery)[0]
    path: Path = home.home / "data" / "vault" / stuck["blob"]
    path.unlink()
    path.mkdir()
    code, out, err = retention("run")
    assert code == 1
    assert "signals" in out
    assert "1 record could not be purged" in err
    assert stuck["id"] in err
    code, out, _ = retention("run", "--json")
    assert (code, json.loads(out)["errors"][0]["object"]) == (1, stuck["id"])


def test_certificates_are_listed_and_shown_as_they_were_signed(home: World, retention: Run) -> None:
    """All of them, one in Dutch, one as JSON byte for byte; a number that there is not is told."""
    assert "Nothing was destroyed yet" in retention("certificate")[1]
    retention("run")
    code, out, _ = retention("certificate", "--json")
    listed = json.loads(out)
    assert (code, {one["complete"] for one in listed}) == (0, {True})
    number = next(one["number"] for one in listed if one["party"] == "GM1731")
    assert number in retention("certificate")[1]
    code, out, _ = retention("certificate", number)
    assert (code, out.startswith("VERKLARING VAN VERNIETIGING\n")) == (0, True)
    signed = {row["number"]: row["as_json"] for row in home.certificates()}
    assert retention("certificate", number, "--json")[1].encode() == signed[number]
    code, _, err = retention("certificate", "2020-000001")
    assert (code != 0, "there is no certificate 2020-000001" in err) == (True, True)
