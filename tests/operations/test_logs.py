"""The log: one vocabulary, documented, and nothing in it that was not meant for it."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import gateway
from gateway import logs

PACKAGE = Path(gateway.__file__).parent
GUIDE = Path(__file__).parents[2] / "docs/operations.md"


@pytest.fixture(params=["json", "console"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """A log in one of its two forms."""
    stream = io.StringIO()
    logs.set_up(json=request.param == "json", stream=stream)
    yield stream
    structlog.reset_defaults()


def calls() -> dict[str, tuple[set[str], set[str]]]:
    """Every event that the code logs: event -> levels, fields."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and ast.unparse(node.func.value) == "_log"
            ):
                event = ast.literal_eval(node.args[0])
                levels, fields = found.setdefault(event, (set(), set()))
                levels.add(node.func.attr)
                fields.update(str(word.arg) for word in node.keywords)
    return found


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """The same from the guide."""
    table = GUIDE.read_text().partition("<!-- events")[2]
    rows = re.findall(r"^\| `(\S+)` \| (.*?) \| (.*?)\| ", table, re.MULTILINE)
    return {
        event: (set(levels.split(", ")), {each.strip() for each in fields.split(",")} - {""})
        for event, levels, fields in rows
    }


def test_the_guide_lists_every_event_with_its_fields():
    """docs/operations.md and the code name the same events, levels and fields."""
    told = documented()
    assert told.pop("library.warned")
    assert told == calls()
    assert len(told) > 15


def test_events_are_a_noun_and_what_happened_to_it():
    """`noun.past_participle` (and `gateway.ready`, which scripts wait for), and only fields that may be written."""
    for event, (_, fields) in calls().items():
        assert re.fullmatch(r"[a-z]+\.([a-z]+ed|left|read|ready|withdrawn)", event), event
        assert fields <= logs.FIELDS, event


def test_every_field_is_used():
    """What no call bears needs no permission."""
    used = {field for _, fields in calls().values() for field in fields}
    assert used | {"event", "level", "part", "timestamp"} == logs.FIELDS


def test_a_field_that_is_not_listed_is_not_written(log):
    """A careless call writes a mark instead of a name; what is listed is there."""
    logs.get("test").info("person.seen", partner_id="woonservice", surname="Quispelzwaan")
    assert "woonservice" in log.getvalue()
    assert "Quispelzwaan" not in log.getvalue()
    assert "[not written]" in log.getvalue()


def test_an_error_does_not_bring_its_text_along(log):
    """Neither does a traceback: it quotes what the code worked on."""
    try:
        raise ValueError("Quispelzwaan")
    except ValueError:
        logs.get("test").exception("row.dropped")
    assert "row.dropped" in log.getvalue()
    assert "Quispelzwaan" not in log.getvalue()


def test_libraries_say_where_and_not_what(log):
    """A library's lines and Python's warnings become lines of this log, without their text."""
    try:
        raise RuntimeError("Quispelzwaan")
    except RuntimeError:
        logging.getLogger("asyncio").exception("Task of %s", "Quispelzwaan")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("Quispelzwaan", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert all("library.warned" in line for line in lines)
    assert "asyncio" in lines[0]
    assert "RuntimeError" in lines[0]
    assert "test_logs.py:" in lines[0]
    assert "py.warnings" in lines[1]
    assert "Quispelzwaan" not in log.getvalue()


def test_one_line_an_event(log):
    """Nothing that a client says of itself makes a second line or moves a terminal's cursor."""
    logs.get("test").info("session.ended", client="SSH-2.0-evil\n\x1b[2Kgateway.stopped")
    assert log.getvalue().count("\n") == 1
    assert "\x1b[2K" not in log.getvalue()


def test_a_pipe_gets_json(capsys):
    """Where nobody watches, each line is an object with event, level, part and time in UTC."""
    logs.set_up()
    logs.get("test").warning("login.failed", attempts=3)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "login.failed", "level": "warning", "part": "test", "attempts": 3}
    structlog.reset_defaults()
