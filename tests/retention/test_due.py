"""What is listed as falling due, and the log of what went."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchState
from gateway.domain.signal import SignalState
from gateway.retention.due import DueDay, due, past_runs
from gateway.store.tables import Dispatch

#: The class of `conftest.py`.
World = Any

TODAY = date(2026, 11, 22)


def listed(world: World, days: int) -> dict[date, DueDay]:
    """What falls due within days from now."""
    found = due(world.store, world.now, world.today + timedelta(days=days), world.terms)
    assert [line.day for line in found] == sorted(line.day for line in found)
    return {line.day: line for line in found}


def test_each_day_lists_what_goes_at_its_end(world: World) -> None:
    """Files, rows, contents and dispatches on their days, with the keys that go with them."""
    delivery_id = world.deliver()
    world.signal(delivery_id, state=SignalState.EXCLUDED)
    world.dispatch()
    found = listed(world, 200)
    assert found == {
        date(2026, 11, 23): DueDay(day=date(2026, 11, 23), contents=1, keys=("until-2026-11-23",)),
        date(2026, 12, 6): DueDay(day=date(2026, 12, 6), raws=1, keys=("until-2026-12-06",)),
        date(2027, 5, 22): DueDay(
            day=date(2027, 5, 22), signals=3, dispatches=1, uncollected=1, keys=("until-2027-05-22",)
        ),
        date(2027, 5, 30): DueDay(day=date(2027, 5, 30), keys=("index-2026-11", "until-2027-05-30")),
    }
    assert listed(world, 14).keys() == {date(2026, 11, 23), date(2026, 12, 6)}


def test_what_goes_at_the_next_purge_is_listed_for_today(world: World) -> None:
    """Refused files and replaced ones wait for no day; what is still to be processed goes on none."""
    world.deliver(DeliveryState.REJECTED)
    world.deliver(DeliveryState.FAILED)
    world.change(Dispatch, world.dispatch(), state=DispatchState.REPLACED)
    found = listed(world, 200)
    assert (found[TODAY].raws, found[TODAY].dispatches) == (1, 1)
    assert sum(line.raws for line in found.values()) == 1


def test_what_was_listed_goes_and_is_listed_no_more(world: World) -> None:
    """Overdue days show before the purge and are gone after it."""
    world.deliver()
    world.go_to(date(2027, 5, 23))
    overdue = [day for day in listed(world, 0) if day < world.today]
    assert overdue[0] == TODAY
    assert overdue[-1] == date(2027, 5, 22)
    world.purge()
    assert not [day for day in listed(world, 0) if day < world.today]


def test_the_log_tells_every_run_newest_first(world: World) -> None:
    """With its step, its times and what it counted."""
    world.deliver(DeliveryState.REJECTED)
    world.purge()
    world.go_to(date(2026, 11, 23))
    world.purge()
    newest, oldest = past_runs(world.store)
    assert (newest.due_before, oldest.due_before) == (date(2026, 11, 23), TODAY)
    assert (oldest.counts["deliveries"], newest.counts["deliveries"]) == (1, 0)
    assert (newest.step, newest.finished_at) == ("finished", world.now)
