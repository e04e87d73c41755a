"""`gateway match`: knobs before they are turned, and the reasons of what was decided."""

from __future__ import annotations

import typer

from gateway.cli.match_explain import explain
from gateway.cli.match_preview import preview

app = typer.Typer(no_args_is_help=True)
app.command("preview")(preview)
app.command("explain")(explain)
