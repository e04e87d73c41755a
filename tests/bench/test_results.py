"""What the benchmark makes of what it measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import report
from bench.measure import Failed, Row, Used, alternate, held, in_turn, row

FAST = row("upload", "sshd", [4.0, 6.0, 9.0], [2.0, 2.0, 2.0], goal=2.5, unit="MiB/s", at_least=True)
SLOW = row("cpu", "sshd", [3.0], [2.0], goal=1.0, unit="s/GiB", at_least=False)
LIMIT = held("memory", [150.0, 90.0, 120.0], limit=300, unit="MiB")


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """With its spread and its goal."""
    assert (FAST.ratio, FAST.min, FAST.max, FAST.value, FAST.rounds) == (3.0, 2.0, 4.5, 6.0, 3)
    assert (FAST.is_met, SLOW.is_met, LIMIT.is_met) == (True, False, True)
    assert (LIMIT.peer, LIMIT.ratio, LIMIT.goal, LIMIT.peer_value) == ("", 0.4, 1.0, 300)


def test_rounds_must_be_pairs() -> None:
    """A ratio needs both values of a round."""
    with pytest.raises(ValueError, match="shorter"):
        row("upload", "sshd", [1.0, 2.0], [1.0], goal=1, unit="", at_least=True)


def test_results_are_as_they_were_promised() -> None:
    """The names that others read results by."""
    told = json.loads(json.dumps(FAST.as_json()))
    assert {"figure", "peer", "ratio", "min", "max", "goal"} <= told.keys()
    assert told["met"] is True
    assert Row.from_json(told) == FAST


def test_peers_take_turns_after_one_round_that_does_not_count() -> None:
    """A B A B, not A A B B."""
    order: list[str] = []

    def run(name: str) -> Used:
        order.append(name)
        return Used(wall_s=len(order))

    found = alternate({"a": lambda: run("a"), "b": lambda: run("b")}, 2, lambda _: None)
    assert order == ["a", "b"] * 3
    assert [used.wall_s for used in found["a"]] == [3, 5]


def test_a_figure_that_fails_stops_no_other() -> None:
    """It is told by name, with what it had found."""

    def fails() -> Iterator[Row]:
        yield SLOW
        raise RuntimeError("no disk")

    found = list(
        in_turn({"first": fails, "left": fails, "last": lambda: [FAST]}, ["first", "last"], lambda _: None)
    )
    assert found == [SLOW, Failed(figure="first", reason="RuntimeError: no disk"), FAST]


def _found() -> dict[str, object]:
    machine = {
        "processors": 2,
        "model": "m",
        "memory_mib": 4096,
        "kernel": "6",
        "python": "3.11",
        "sqlite": "3",
    }
    return {
        "machine": {**machine, "versions": {}, "load_before": 0.1, "noise_before": 0.02, "noise_after": 0.03},
        "rows": [each.as_json() for each in (FAST, SLOW, LIMIT)],
        "left_out": [{"figure": "sftpgo", "reason": "no Go"}],
        "failed": [{"figure": "logins", "reason": "no port"}],
        "seconds": {"transfers": 12.2},
        "series": {
            "listed-after-ok": {"gateway": [0.2, 0.3], "bare pipeline": [0.1, 0.2]},
            "growth": {"series": [{"month": 1, "seconds": 2.0}, {"month": 2, "seconds": 2.1}]},
            "peak-day": {
                "busy_from_s": 1.0,
                "purge_s": [2.0, 3.0],
                "uploads": [["quiet", 0.5, 0.2, 0.01], ["busy", 2.5, 0.2, 0.02], ["busy", 2.6, 0.2, 0.03]],
                "memory": [[0.5, "exchange", 60.0, 1.0], [2.5, "exchange", 61.0, 2.0]],
            },
        },
    }


def test_the_table_tells_misses_and_omissions() -> None:
    """Each by name, with how far off it is."""
    far = row("far", "quiet", [8.0], [1.0], goal=2.0, unit="ms", at_least=False)
    text = report.render(_found(), [FAST, SLOW, LIMIT, far], {"more-is-better.svg": "Ratios"})
    assert "| upload | sshd | 3.00 (2.00 to 4.50) | ≥ 2.5 | 6 | 2 | MiB/s | 3 | met |" in text
    # the furthest first
    assert "| far | quiet | 4.00 |\n| cpu | sshd | 1.50 |" in text
    assert "Left out: sftpgo (no Go)." in text
    assert "Failed: logins (no port)." in text
    assert "![Ratios](performance/more-is-better.svg)" in text


def test_results_stand_between_the_marks() -> None:
    """The rest of the document stays."""
    document = f"before\n{report.BEGINS}\nold\n{report.ENDS}\nafter\n"
    assert report.put_in(document, "new\n") == f"before\n{report.BEGINS}\n\nnew\n\n{report.ENDS}\nafter\n"


def test_the_document_is_written_with_its_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, from the results of a run."""
    pytest.importorskip("matplotlib")  # of the extra `bench`
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    (tmp_path / "full.json").write_text(json.dumps(_found()))
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{report.BEGINS}\nold\n{report.ENDS}\nafter\n")
    report.write("full", document)
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| cpu | sshd | 1.50 |" in text
    for name in ("more-is-better", "less-is-better", "listed-after-ok", "peak-day", "growth"):
        assert f"(performance/{name}.svg)" in text
        assert (tmp_path / "performance" / f"{name}.svg").read_text().startswith("<?xml")


def test_a_document_without_marks_is_left_alone() -> None:
    """Nothing is overwritten."""
    with pytest.raises(ValueError, match="must have"):
        report.put_in("text", "results")


def test_nothing_is_drawn_of_what_was_not_measured(tmp_path: Path) -> None:
    """Only what there is."""
    plots = pytest.importorskip("bench.plots", exc_type=ImportError)
    assert plots.draw([FAST], {}, tmp_path).keys() == {"more-is-better.svg"}
    assert [path.name for path in tmp_path.iterdir()] == ["more-is-better.svg"]
