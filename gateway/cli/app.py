"""The command itself: the home folder, the groups of verbs, errors as sentences and exit codes."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import (
    audit,
    check,
    deliveries,
    demo,
    doctor,
    health,
    init,
    ledger,
    municipality,
    partner,
    publish,
    reference,
    retention,
    screen,
    serve,
    status,
    wait,
)
from gateway.errors import GatewayError
from gateway.settings import Home

EXIT_CODES = (
    "Exit codes: 0 done · 1 not done · 2 wrong configuration or command · 11 database · 12 keyring · "
    "13 audit log"
)

app = typer.Typer(
    name="gateway",
    help="The exchange for early debt signals.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        screen.out.print(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def _choose_home(
    context: typer.Context,
    home: Annotated[
        Path,
        typer.Option(
            envvar="GATEWAY_HOME", metavar="DIR", help="The folder with config/, keys/, data/ and log/."
        ),
    ] = Path(),
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = Home(root=home)


app.command()(demo.demo)
app.command()(init.init)
app.command()(check.check)
app.command()(serve.serve)
app.command()(status.status)
app.command()(doctor.doctor)
app.command()(health.health)
app.command()(wait.wait)
app.command()(publish.publish)
app.add_typer(deliveries.app, name="deliveries", help="What was received, and what became of it.")
app.add_typer(ledger.app, name="ledger", help="Whether everything that came in is accounted for.")
app.add_typer(retention.app, name="retention", help="What goes when, and what went.")
app.add_typer(audit.app, name="audit", help="Who did what, and whether the record of it is whole.")
app.add_typer(partner.app, name="partner", help="Who exchanges files: creditors, municipalities, auditors.")
app.add_typer(municipality.app, name="municipality", help="How a municipality's signals are matched.")
app.add_typer(reference.app, name="reference", help="Which municipality an address lies in.")
_groups = [group.typer_instance for group in app.registered_groups if group.typer_instance]
for _verb in chain.from_iterable(each.registered_commands for each in (app, *_groups)):
    _verb.epilog = EXIT_CODES


def main() -> None:
    """Run the command line; a GatewayError becomes a sentence on standard error and its exit code."""
    try:
        app()
    except GatewayError as error:
        screen.refuse(error)
        sys.exit(error.exit_code)
