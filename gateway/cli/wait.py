"""`gateway wait`: for scripts, until the gateway has done what there is to do."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from gateway.cli import screen
from gateway.cli.opened import opened
from gateway.errors import CommandError, ConfigError
from gateway.gateway import Gateway
from gateway.pipeline.worker import pending
from gateway.running import running
from gateway.store import meldingen, queue, worklists

#: How often is looked, in seconds.
LOOK_EVERY_S = 0.2


def wait(
    context: typer.Context,
    *,
    idle: Annotated[
        bool,
        typer.Option("--idle", help="Until what was received is processed and what is due is published."),
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Seconds to wait at most; if not given: no end.")
    ] = None,
) -> None:
    """Wait until every received file is processed and every melding that is due is published.

    What is published by a cron line waits for its time, and is not waited for. Ends with 1 at the time-out, and at
    once when nothing will change by waiting: no gateway runs, or a file FAILED.
    """
    if not idle:
        raise ConfigError("say what to wait for: gateway wait --idle")
    end = None if timeout is None else time.monotonic() + timeout
    with opened(context.obj) as gateway:
        pipeline = gateway.pipeline()
        while pending(pipeline):
            if running(gateway.home) is None:
                raise CommandError(f"{_left(gateway)}, and no gateway runs here: gateway serve")
            left = LOOK_EVERY_S if end is None else end - time.monotonic()
            if left <= 0:
                raise CommandError(f"{_left(gateway)} after {timeout:g} seconds")
            time.sleep(min(left, LOOK_EVERY_S))
        with gateway.store.read() as conn:
            stuck = queue.held_count(conn)
    if stuck:
        files = screen.counted(stuck, "received file waits", "received files wait")
        raise CommandError(f"{files} for you: gateway deliveries list --state failed")


def _left(gateway: Gateway) -> str:
    """What is still under way, in words."""
    with gateway.store.read() as conn:
        files = queue.waiting_count(conn)
        touched = meldingen.waiting(conn)
        lists = len(worklists.due(conn))
    pipeline = gateway.pipeline()
    count = sum(each.count for each in touched if pipeline.server_of(each.municipality))
    waiting = [
        screen.counted(files, "received file") if files else "",
        screen.counted(count, "melding", "meldingen") if count else "",
        screen.counted(lists, "worklist") if lists else "",
    ]
    return f"{' and '.join(filter(None, waiting)) or 'something'} still to do"
