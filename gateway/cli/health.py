"""`gateway health`: for a supervisor, whether the gateway that should run here answers."""

from __future__ import annotations

import typer

from gateway.cli import screen
from gateway.clock import SystemClock
from gateway.doctor import door
from gateway.doctor.finding import Verdict
from gateway.errors import CommandError
from gateway.running import running
from gateway.settings import load_settings


def health(context: typer.Context) -> None:
    """Knock at the gateway's port; ends with 0 when it answers as itself and with 1 when it does not.

    For a container's health check. `gateway doctor` looks at everything.
    """
    settings = load_settings(context.obj.root)
    found = door.look(settings, running(settings.home), SystemClock().now())
    if found.verdict is not Verdict.OK:
        raise CommandError(f"{found.subject} {found.what}: {found.remedy}")
    screen.done(f"It {found.what}")
