"""The command itself: the home folder, the groups of verbs, errors as sentences and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import screen
from gateway.errors import GatewayError
from gateway.settings.home import Home

EXIT_CODES = (
    "Exit codes: 0 done · 1 not done · 2 wrong configuration or command · 11 database · 12 keyring · "
    "13 audit log"
)

#: Verbs, in the order of the help text; each is the function of its name in the module of its name, `-` as `_`.
VERBS = (
    "demo",
    "init",
    "check",
    "serve",
    "status",
    "doctor",
    "scrub",
    "health",
    "wait",
    "publish",
    "reroute",
    "export-keyset",
    "backup",
    "restore",
)
#: Groups of verbs with their help; each is the `app` in the module of its name.
GROUPS: Mapping[str, str] = {
    "deliveries": "What was received, and what became of it.",
    "ledger": "Whether everything that came in is accounted for.",
    "retention": "What goes when, and what went.",
    "audit": "Who did what, and whether the record of it is whole.",
    "requests": "What municipalities asked about persons.",
    "guard": "Which addresses are closed out, after too many refused logins.",
    "partner": "Who exchanges files: creditors, municipalities, auditors.",
    "keys": "What everything is sealed with, and what the gateway proves to be itself with.",
    "municipality": "How a municipality's signals are matched.",
    "match": "What another policy would make of a month, and why a melding is what it is.",
    "reference": "Which municipality an address lies in.",
}


def _show_version(wanted: bool) -> None:
    if wanted:
        screen.out.print(f"gateway {__version__}")
        raise typer.Exit


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


def command_line(words: Collection[str]) -> typer.Typer:
    """The command with those of its verbs that are among `words`, with all of them when none is.

    What a verb works with is imported with it: nobody who asks for one waits for the others.
    """
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
    app.callback()(_choose_home)
    every = (*VERBS, *GROUPS)
    for name in [name for name in every if name in words] or every:
        word = name.replace("-", "_")
        module = import_module(f"gateway.cli.{word}")
        if name in GROUPS:
            app.add_typer(module.app, name=name, help=GROUPS[name])
        else:
            app.command()(getattr(module, word))
    groups = list(_groups(app))
    for verb in chain.from_iterable(each.registered_commands for each in (app, *groups)):
        verb.epilog = EXIT_CODES
    return app


def _groups(app: typer.Typer) -> Iterator[typer.Typer]:
    """Every group of verbs, also those within others."""
    for group in app.registered_groups:
        if group.typer_instance:
            yield group.typer_instance
            yield from _groups(group.typer_instance)


def main() -> None:
    """Run the command line; a GatewayError becomes a sentence on standard error and its exit code."""
    try:
        command_line(sys.argv[1:])()
    except GatewayError as error:
        screen.refuse(error)
        sys.exit(error.exit_code)
