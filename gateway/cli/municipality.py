"""`gateway municipality`: the policy of each municipality."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.change import add_file, say_when
from gateway.errors import ConfigError
from gateway.settings import Home, load_settings
from gateway.settings.gemeenten import gemeente_names
from gateway.settings.shipped import PRESETS, preset

app = typer.Typer(no_args_is_help=True)


@app.command("add")
def add(
    context: typer.Context,
    code: Annotated[str, typer.Argument(metavar="GM1731", help="Its code at CBS.")],
    preset_name: Annotated[
        str, typer.Option("--preset", metavar="|".join(PRESETS), help="The policy to begin with.")
    ] = "ris",
) -> None:
    """Give a municipality a policy of its own: writes config/municipalities/GM1731.toml."""
    home: Home = context.obj
    text = render(code, preset_name)
    settings = add_file(home, f"config/municipalities/{code}.toml", text, action="municipality.added")
    screen.done(
        f"[bold]{code} {escape(gemeente_names()[code])}[/] has a policy: the preset {preset_name}, yours to edit"
    )
    screen.out.print(f"  config/municipalities/{code}.toml")
    if code not in settings.served_by:
        screen.out.print(
            f"  No partner serves it yet: [cyan]gateway partner add ID --role municipality --serves {code} …[/]",
            soft_wrap=True,
        )
    say_when(home, settings)


def render(code: str, preset_name: str) -> str:
    """A municipality's file: a preset, and whose it is.

    Raises:
        ConfigError: there is no such municipality, or no such preset.
    """
    name = gemeente_names().get(code)
    if name is None:
        raise ConfigError(
            f"{code} is no municipality in the list of CBS: write GM and four digits, such as GM1731"
        )
    return f"# {name} ({code}), from the preset {preset_name}.\n#\n{preset(preset_name)}"


@app.command("list")
def show_all(context: typer.Context) -> None:
    """List all municipalities that have a policy or a partner."""
    settings = load_settings(context.obj.root)
    if not settings.policies:
        screen.out.print("No municipalities yet: `gateway municipality add --help`")
        return
    shown = screen.table("code", "name", "served by", "groups by", "a match from", "publishes")
    for code, policy in settings.policies.items():
        shown.add_row(
            code,
            escape(policy.name),
            settings.served_by.get(code, "[yellow]nobody[/]"),
            str(policy.matching.key),
            f"{policy.matching.min_distinct} {policy.matching.distinct_by}s",
            "at arrival" if policy.publish.when == "arrival" else escape(policy.publish.when),
        )
    screen.out.print(shown)
