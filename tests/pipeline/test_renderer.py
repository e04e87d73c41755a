"""Worklists are rendered beside intake, by a process of its own that may die, and listed only when they still hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from gateway.domain.policy import Grouping, Policy, Publish
from gateway.errors import RenderError
from gateway.files.worklist import Worklist, render_worklist
from gateway.pipeline import publish as publication
from gateway.pipeline import renderer as renderers
from gateway.pipeline.renderer import Renderer
from gateway.pipeline.worker import Worker, pending
from gateway.pipeline.worklist import due_worklists, list_worklist, make_worklist, render_month
from gateway.store import meldingen
from gateway.store.tables import Delivery, SignalRow, WorklistRow

EMPTY = Worklist(
    policy=Policy(code="GM1731", name="Midden-Drenthe"),
    partner_name="Gemeente",
    month="2026-11",
    version=3,
    made_at=datetime(2026, 11, 3, 8, 5, tzinfo=UTC),
    expires_on=date(2027, 5, 3),
    level=Grouping.ADDRESS,
    meldingen=(),
)


@pytest.fixture
def renderer():
    """A renderer whose process ends with the test."""
    made = Renderer()
    yield made
    made.close()


def until(is_so, within_s=60):
    """Wait for a condition."""
    last = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < last
        time.sleep(0.01)


def children():
    """The processes that this one has started and not waited for."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


def test_it_is_the_same_workbook_from_one_process(renderer):
    """One after the other, as rendered here; the process stays."""
    before = children()
    assert renderer.render(EMPTY) == render_worklist(EMPTY)
    (pid,) = children() - before
    assert renderer.render(EMPTY) == render_worklist(EMPTY)
    assert children() - before == {pid}
    renderer.close()
    assert children() == before


def test_after_a_large_one_its_memory_is_given_back(renderer, monkeypatch):
    """The process ends; the next worklist starts another."""
    monkeypatch.setattr(renderers, "_MOST_SIGNALS", -1)
    before = children()
    assert renderer.render(EMPTY)
    assert children() == before
    assert renderer.render(EMPTY)


def test_a_process_that_dies_is_told(renderer):
    """Killed between two: the next fails, the one after has a process again."""
    before = children()
    renderer.render(EMPTY)
    (pid,) = children() - before
    os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(RenderError, match="died"):
        renderer.render(EMPTY)
    assert renderer.render(EMPTY)


def test_a_process_that_is_silent_is_killed(renderer, monkeypatch):
    """Stopped, it says nothing: it is given up, and goes."""
    before = children()
    renderer.render(EMPTY)
    (pid,) = children() - before
    os.kill(int(pid), signal.SIGSTOP)
    monkeypatch.setattr(renderers, "_SILENCE_S", 0.05)
    with pytest.raises(RenderError, match="silent"):
        renderer.render(EMPTY)
    assert children() == before


def test_its_process_writes_no_file_and_leaves_no_core():
    """Limits that it sets on itself before it reads the first worklist."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "gateway.pipeline.worklist_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        proc = Path(f"/proc/{process.pid}")
        until(lambda: (proc / "oom_score_adj").read_text() == "1000\n")
        until(lambda: _limit(proc, "Max file size") == _limit(proc, "Max core file size") == "0")
    finally:
        process.communicate()
    assert process.returncode == 0


def _limit(proc, name):
    (line,) = [each for each in (proc / "limits").read_text().splitlines() if each.startswith(name)]
    return line[len(name) :].split()[0]


@pytest.fixture
def made(world, row):
    """A worklist that was rendered and is not listed."""
    world.send("woonservice", row("w1"), row("w2", huisnummer=20))
    publish(world)
    (due,) = due_worklists(world.context)
    return render_month(world.context, due)


def publish(world):
    """Publish what waits, without its worklist."""
    with world.context.store.exclusive():
        publication.publish(world.context, "GM1731")


def _touched(world):
    with world.context.store.read() as conn:
        return meldingen.waiting(conn)


def test_what_was_overtaken_is_not_listed(world, row, made):
    """Published meanwhile: the list would not tell of it. It is still due, and is made of all."""
    world.send("vitens", row("v1", sector="Water", huisnummer=22))
    world.publish_now()
    world.send("vitens", row("v2", sector="Water", huisnummer=22))
    publish(world)
    assert list_worklist(world.context, made) is False
    (due,) = due_worklists(world.context)
    assert make_worklist(world.context, due) is True
    assert not due_worklists(world.context)


def test_a_signal_that_went_does_not_come_back(world, made):
    """Gone for good while its list was rendered: the file is not listed, and the next has no such line."""
    row_id = min(each.id for each in made.month.signals)
    with world.context.store.write() as conn:
        conn.execute(delete(SignalRow.__table__).where(SignalRow.__table__.c.id == row_id))
    world.is_damaged = True
    assert list_worklist(world.context, made) is False
    assert world.dispatches("gemeente", "worklist") == []
    (due,) = due_worklists(world.context)
    again = render_month(world.context, due)
    assert row_id not in {each.id for each in again.month.signals}
    assert list_worklist(world.context, again) is True


def test_what_is_overdue_at_midnight_is_not_listed(world, made):
    """Rendered on its signals' last day, ready the day after: none of them may be shown any more."""
    world.clock.set(world.clock.now() + timedelta(days=250))
    assert list_worklist(world.context, made) is False


def test_intake_goes_on_while_a_worklist_is_rendered(world, row, monkeypatch):
    """A file comes in and is processed and published before the list of the one before it is there; one list in the end."""
    begun, go_on = threading.Event(), threading.Event()
    rendered = []

    def slow(_self, worklist):
        begun.set()
        rendered.append(worklist)
        assert go_on.wait(60)
        return render_worklist(worklist)

    monkeypatch.setattr(Renderer, "render", slow)
    world.policy(publish=Publish(settle_s=0))
    worker = Worker(lambda: world.context)
    worker.start()
    try:
        world.put("woonservice", row("w1"))
        worker.wake()
        assert begun.wait(60)
        delivery_id = world.put("vitens", row("v1", sector="Water", huisnummer=20))
        worker.wake()
        until(lambda: _state(world, delivery_id) == "processed")
        until(lambda: not _touched(world))
        assert world.dispatches("gemeente", "worklist") == []
        go_on.set()
        until(lambda: not pending(world.context))
    finally:
        go_on.set()
        worker.stop()
    # the first was overtaken: nothing of it was listed
    (listed,) = world.dispatches("gemeente", "worklist")
    assert listed["state"] == "ready"
    assert [len(each.meldingen) for each in rendered] == [1, 2]
    assert [each["version"] for each in world.rows(WorklistRow)] == [1]


def _state(world, delivery_id):
    (found,) = [each for each in world.rows(Delivery) if each["id"] == delivery_id]
    return found["state"]


def test_a_renderer_that_fails_leaves_it_due(world, row, monkeypatch, capsys):
    """Told in the log, tried again at the next look, and there in the end."""
    failures = iter((RenderError("the process that renders worklists died"),))
    there = Renderer.render

    def once(self, worklist):
        for failure in failures:
            raise failure
        return there(self, worklist)

    monkeypatch.setattr(Renderer, "render", once)
    world.send("woonservice", row("w1"))
    publish(world)
    worker = Worker(lambda: world.context)
    worker.start()
    try:
        until(lambda: not pending(world.context))
    finally:
        worker.stop()
    assert len(world.dispatches("gemeente", "worklist")) == 1
    assert "worklist.failed" in "".join(capsys.readouterr())
