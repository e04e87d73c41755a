"""`gateway municipality`: the policy of each municipality."""

from __future__ import annotations

import tomllib
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.change import add_file, say_when
from gateway.errors import ConfigError
from gateway.settings import Home, Settings, load_settings, read_files
from gateway.settings.gemeenten import gemeente_names
from gateway.settings.service import PARTNERS
from gateway.settings.shipped import PRESETS, preset

#: What stands in a preset for the partner of the municipality itself, and the partner that its routes name.
OWN, SERVICE = '"gemeente"', "sdd"

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
    text, own = render(code, preset_name), ""
    if OWN in text:
        own = _own_partner(home, code)
        text = _with_own(text, own)
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
    if not own and settings.policies[code].routes:
        screen.out.print(
            f"[yellow]![/] The route to the municipality's own partner is commented out: {code} has none yet.\n"
            f"  [cyan]gateway partner add ID --role municipality --serves {code} …[/], then put its id there.",
            soft_wrap=True,
        )
    say_when(home, settings)


def _own_partner(home: Home, code: str) -> str:
    """The partner of a municipality that no route of its preset names; empty when there is none.

    The configuration need not be usable yet: it may be this policy that is missing.
    """
    for name, content in read_files(home.root).items():
        folder, _, stem = name.removesuffix(".toml").rpartition("/")
        if folder == PARTNERS and stem != SERVICE and code in _served(content):
            return stem
    return ""


def _served(content: bytes) -> list[str]:
    try:
        served = tomllib.loads(content.decode("utf-8")).get("serves", [])
    except ValueError:
        return []  # what is wrong with it is told when all is checked
    return served if isinstance(served, list) else []


def _with_own(text: str, own: str) -> str:
    """A preset with the id of the municipality's own partner; without one its route is commented out."""
    if own:
        return text.replace(OWN, f'"{own}"')
    blocks = text.split("\n\n")
    return "\n\n".join(
        "\n".join(f"# {line}" for line in block.splitlines()) if OWN in block else block for block in blocks
    )


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
            _served_by(settings, code),
            str(policy.matching.key),
            f"{policy.matching.min_distinct} {policy.matching.distinct_by}s",
            "at arrival" if policy.publish.when == "arrival" else escape(policy.publish.when),
        )
    screen.out.print(shown)


def _served_by(settings: Settings, code: str) -> str:
    """Its partner; and those of its routes, in their order."""
    if (after := settings.successors.get(code)) is not None:
        return f"{after.code} from {after.starts_on}"
    server = settings.served_by.get(code)
    if server is None:
        return "[yellow]nobody[/]"
    return ", ".join(dict.fromkeys([*(route.to for route in settings.policies[code].routes), server]))
