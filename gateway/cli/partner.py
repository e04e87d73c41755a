"""`gateway partner`: who exchanges files with the gateway."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import partner_keys, partner_try, screen
from gateway.cli.change import add_file, say_when
from gateway.cli.partner_keys import read_key
from gateway.clock import AMSTERDAM, SystemClock
from gateway.domain.partner import BOXES, Partner, PartnerKey, PartnerLimits, Role
from gateway.errors import ConfigError
from gateway.settings import Home, load_settings
from gateway.settings.gemeenten import gemeente_names

app = typer.Typer(no_args_is_help=True)


@app.command("add")
def add(
    context: typer.Context,
    partner_id: Annotated[
        str, typer.Argument(metavar="ID", help="Its SSH user name: 2 to 32 of a-z, 0-9 and -.")
    ],
    *,
    role: Annotated[Role, typer.Option(help="What it is to the exchange.")],
    key: Annotated[
        list[Path], typer.Option(metavar="FILE.pub", help="A public key; give several by repeating it.")
    ],
    sector: Annotated[
        list[str], typer.Option(metavar="SECTOR", help="Of a creditor: Huur, Energie, Water, Zorg.")
    ] = [],  # noqa: B006  # typer's way to say none
    serves: Annotated[
        list[str], typer.Option(metavar="GM1731", help="Of a municipality: what it acts for.")
    ] = [],  # noqa: B006
    scope: Annotated[
        list[str], typer.Option(metavar="all|GM1731", help="Of an auditor: what it may see.")
    ] = [],  # noqa: B006
    name: Annotated[str, typer.Option(metavar="TEXT", help="As people know it.")] = "",
    contact: Annotated[str, typer.Option(metavar="MAIL", help="Where its mail goes.")] = "",
    language: Annotated[str, typer.Option(metavar="nl|en", help="Of its mail.")] = "nl",
) -> None:
    """Add a partner: writes config/partners/ID.toml."""
    home: Home = context.obj
    keys = [read_key(path) for path in key]
    text = render(
        partner_id,
        role,
        name=name,
        contact=contact,
        language=language,
        own=[("sectors", sector), ("serves", serves), ("scope", scope)],
        keys=keys,
    )
    settings = add_file(home, f"config/partners/{partner_id}.toml", text, action="partner.added")
    partner = settings.partners[partner_id]
    screen.done(f"[bold]{partner_id}[/] is a partner: {role}, {_extent(partner)}")
    for known in partner.keys:
        screen.out.print(f"  key {known.fingerprint} {escape(known.comment)}", soft_wrap=True)
    screen.out.print(f"  config/partners/{partner_id}.toml")
    say_when(home, settings)


@app.command("list")
def show_all(context: typer.Context) -> None:
    """List all partners."""
    settings = load_settings(context.obj.root)
    if not settings.partners:
        screen.out.print("No partners yet: `gateway partner add --help`")
        return
    shown = screen.table("id", "role", "name", "sectors, municipalities or scope", "keys")
    for partner in settings.partners.values():
        shown.add_row(
            partner.id, str(partner.role), escape(partner.name), _extent(partner), _valid_count(partner)
        )
    screen.out.print(shown)


@app.command("show")
def show(
    context: typer.Context, partner_id: Annotated[str, typer.Argument(metavar="ID", help="Which one.")]
) -> None:
    """Show one partner: what it may do, its keys and their windows."""
    partner = load_settings(context.obj.root).partners.get(partner_id)
    if partner is None:
        raise ConfigError(f"there is no partner {partner_id!r}: `gateway partner list` names all")
    rows = [
        ("id", partner.id),
        ("name", escape(partner.name)),
        ("role", f"{partner.role}: {_extent(partner)}"),
        ("boxes", " ".join(f"/{box}" for box in BOXES[partner.role])),
        ("contact", escape(partner.contact) or "[dim]none[/]"),
        ("language", partner.language),
        ("comes from", ", ".join(map(str, partner.allowed_networks)) or "anywhere"),
        ("limits", _limits(partner.limits)),
    ]
    if partner.is_disabled:
        rows.append(("disabled", "[red]it is let in with none of its keys[/]"))
    if partner.expected_by is not None:
        rows.append(("expected by", f"day {partner.expected_by} of the month"))
    rows += [("column", escape(f"{own} → {ours}")) for own, ours in partner.columns.items()]
    rows += [("default", escape(f"{column} = {value}")) for column, value in partner.defaults.items()]
    screen.out.print(screen.pairs(*rows))
    keys = screen.table("key", "from", "until", "now", "comment")
    for key in partner.keys:
        state = "[green]valid[/]" if key.is_valid(SystemClock().now()) else "[red]not valid[/]"
        keys.add_row(
            key.fingerprint, _moment(key.valid_from), _moment(key.valid_until), state, escape(key.comment)
        )
    screen.out.print()
    screen.out.print(keys)


app.command("keys")(partner_keys.keys)
app.command("rotate")(partner_keys.rotate)
app.command("disable")(partner_keys.disable)
app.command("leave")(partner_keys.leave)
app.command("try")(partner_try.try_file)


def render(
    partner_id: str,
    role: Role,
    *,
    name: str,
    contact: str,
    language: str,
    own: list[tuple[str, list[str]]],
    keys: list[PartnerKey],
) -> str:
    """The partner's file, with what may be added to it in comments."""
    lines = [
        "# One partner of the exchange; the name of this file is its SSH user name.",
        f"id = {_quoted(partner_id)}",
        f"name = {_quoted(name or partner_id)}",
        f"role = {_quoted(role)}",
        f"contact = {_quoted(contact)}" if contact else '# contact = "beheer@example.nl"',
        f"language = {_quoted(language)}",
    ]
    for setting, values in own:
        if setting == "scope" and values == ["all"]:
            lines.append('scope = "all"')
        elif values:
            lines.append(f"{setting} = [{', '.join(map(_quoted, values))}]")
    lines.append('# temporary_names = ["*.filepart", "*.part", "*.partial", "*.tmp", ".*"]')
    lines.append('# allowed_networks = ["203.0.113.0/24"]     # it may connect from here only')
    if role is Role.CREDITOR:
        lines.append(
            "# expected_by = 10                      # day of the month by which its signals are expected"
        )
    for key in keys:
        lines += [
            "",
            "[[keys]]",
            f"public_key = {_quoted(key.public_key)}",
            f"comment = {_quoted(key.comment)}",
            "# valid_from = 2026-01-01      # a whole day, or a moment with its offset",
            "# valid_until = 2027-12-31",
        ]
    if role is Role.CREDITOR:
        lines += [
            "",
            "[columns]                       # its own header -> our column",
            '# "Debiteurnummer" = "klantnummer"',
            "",
            "[defaults]                      # our column -> constant, for a column that its files lack",
            '# sociaal_incasso = "J"',
            '# signaal_id = "auto"',
        ]
    lines += [
        "",
        "[limits]",
        "# sessions = 32                # at a time",
        '# bytes_per_day = "10 GiB"      # days of the Netherlands',
        "# files_per_day = 10_000",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string: its escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)


def _extent(partner: Partner) -> str:
    """What the partner's role covers, in words."""
    if partner.role is Role.CREDITOR:
        return ", ".join(partner.sectors)
    codes = partner.serves if partner.role is Role.MUNICIPALITY else partner.scope
    return "all" if codes is None else ", ".join(f"{code} {gemeente_names()[code]}" for code in codes)


def _limits(limits: PartnerLimits) -> str:
    a_day = f"{screen.size(limits.bytes_per_day)} and {screen.counted(limits.files_per_day, 'file')} a day"
    return f"{screen.counted(limits.sessions, 'session')}, {a_day}"


def _valid_count(partner: Partner) -> str:
    valid = sum(key.is_valid(SystemClock().now()) for key in partner.keys)
    others = len(partner.keys) - valid
    text = f"{valid} valid" if valid else "[red]none valid[/]"
    return f"{text}, {others} not" if valid and others else text


def _moment(at: datetime | None) -> str:
    return "[dim]always[/]" if at is None else f"{at.astimezone(AMSTERDAM):%Y-%m-%d %H:%M}"
