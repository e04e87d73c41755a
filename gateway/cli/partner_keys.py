"""`gateway partner keys | rotate | disable | leave`: what lets a partner in, and until when (spec 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.change import change_partner, say_when
from gateway.clock import add_months, end_of_day, local_day
from gateway.domain.certificate import Kind
from gateway.domain.delivery import DeliveryState
from gateway.domain.partner import Partner, PartnerKey
from gateway.errors import CommandError, ConfigError
from gateway.exchange.keys import parse_public_key
from gateway.settings import edit
from gateway.settings.fields import LongSpan

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.store.going import Going
    from gateway.store.partner_keys import Use

#: What of a partner is held, in words.
_HELD: Mapping[Kind, str] = {
    Kind.FILE: "received files",
    Kind.ROWS: "signals",
    Kind.ANSWERS: "answers",
    Kind.EXCLUSIONS: "exclusions",
    Kind.KNOWN_RESIDENTS: "known residents",
    Kind.CONTENTS: "contents of signals",
    Kind.DISPATCH: "outgoing files",
}
#: Longer than anything is held (spec 4: signals six months, at most twelve; exclusions fourteen), in months.
_ALL_OF_IT = 14

_Id = Annotated[str, typer.Argument(metavar="ID", help="Which partner.")]


def keys(
    context: typer.Context,
    partner_id: Annotated[str, typer.Argument(metavar="[ID]", help="Of one partner; all if not given.")] = "",
) -> None:
    """List partners' keys: kind, window, last use, and how long each still lets its partner in."""
    from gateway.cli.opened import opened
    from gateway.store import partner_keys

    with opened(context.obj) as gateway:
        chosen = [_partner(gateway, partner_id)] if partner_id else list(gateway.settings.partners.values())
        with gateway.store.read() as conn:
            used = partner_keys.uses(conn)
        now = gateway.clock.now()
    shown = screen.table("partner")
    shown.add_column("key", no_wrap=True)
    shown.add_column("from, until", no_wrap=True)
    shown.add_column("last used, days left", no_wrap=True)
    shown.add_column("")
    for partner in chosen:
        for key in partner.keys:
            shown.add_row(
                partner.id,
                f"{key.kind} {escape(key.comment)}\n[dim]{key.fingerprint}[/]",
                f"{screen.moment(key.valid_from)}\n{screen.moment(key.valid_until)}",
                f"{_last_use(used.get((partner.id, key.fingerprint)))}\n{_days_left(key, now)}",
                _remark(partner, key, now),
            )
        if not partner.keys:
            shown.add_row(partner.id, "[red]none[/]", "", "", "[red]can't log in[/]")
    screen.out.print(shown)


def rotate(
    context: typer.Context,
    partner_id: _Id,
    *,
    key: Annotated[Path, typer.Option(metavar="FILE.pub", help="Its new public key.")],
    overlap: Annotated[
        str, typer.Option(metavar="SPAN", help="How long the old keys still let it in.")
    ] = "30 days",
) -> None:
    """Give a partner a new key, valid from now; its old ones end after the overlap."""
    from gateway.cli.opened import opened

    span = _span(overlap)
    new = read_key(key)
    with opened(context.obj) as gateway:
        partner = _partner(gateway, partner_id)
        # whole seconds, as the file has them
        now = gateway.clock.now().replace(microsecond=0)
        end = now + span
        old = [
            each.fingerprint
            for each in partner.keys
            if each.is_valid(now) and (each.valid_until is None or each.valid_until > end)
        ]
        settings = change_partner(
            gateway,
            partner_id,
            lambda text: edit.end_keys(edit.add_key(text, replace(new, valid_from=now)), old, end),
            action="partner.key_rotated",
            detail={"key": new.fingerprint, "ended": len(old)},
        )
    screen.done(f"[bold]{partner_id}[/] has a new key, from now: {new.fingerprint}")
    for each in settings.partners[partner_id].keys:
        if each.fingerprint != new.fingerprint and each.is_valid(now):
            screen.out.print(f"  until {screen.moment(each.valid_until)} also {each.fingerprint}")
    say_when(context.obj, settings)


def disable(context: typer.Context, partner_id: _Id) -> None:
    """Let a partner in no more, with none of its keys; what is due to it goes on being made."""
    from gateway.cli.opened import opened

    with opened(context.obj) as gateway:
        if _partner(gateway, partner_id).is_disabled:
            raise CommandError(f"{partner_id} is disabled already, and nothing was changed")
        settings = change_partner(gateway, partner_id, edit.disable, action="partner.disabled")
    screen.done(f"[bold]{partner_id}[/] is let in no more")
    screen.out.print(
        f"  To let it in again take `disabled = true` out of config/partners/{partner_id}.toml",
        soft_wrap=True,
    )
    say_when(context.obj, settings)


def leave(
    context: typer.Context,
    partner_id: _Id,
    *,
    last_day: Annotated[
        str,
        typer.Option(
            metavar="DAY", help="Until the end of which it can come and collect; if not given: now."
        ),
    ] = "",
) -> None:
    """End a partner's keys, deliver what is due to it, and list what of it will be destroyed when."""
    from gateway.cli.opened import actor, opened
    from gateway.pipeline.worker import publish_now

    with opened(context.obj) as gateway:
        partner = _partner(gateway, partner_id)
        now = gateway.clock.now().replace(microsecond=0)
        end = _end(last_day, now)
        if codes := _publishing_to(gateway, partner):
            with screen.err.status("Publishing …"):
                publish_now(gateway.pipeline(), codes, actor=actor(), origin="cli")
        unused = [each.fingerprint for each in partner.keys if each.valid_from and each.valid_from >= end]
        open_ended = [
            each.fingerprint
            for each in partner.keys
            if each.fingerprint not in unused and (each.valid_until is None or each.valid_until > end)
        ]
        settings = change_partner(
            gateway,
            partner_id,
            lambda text: edit.drop_keys(edit.end_keys(text, open_ended, end), unused),
            action="partner.left",
            detail={"last_day": local_day(end - timedelta(seconds=1)).isoformat(), "ended": len(open_ended)},
        )
        screen.done(f"[bold]{partner_id}[/] is let in until {screen.moment(end)}, and no more")
        _show_rest(gateway, partner, now)
    say_when(context.obj, settings)


def _publishing_to(gateway: Gateway, partner: Partner) -> list[str]:
    """The municipalities whose meldingen may go to a partner: it serves them, or one of their routes names it."""
    pipeline = gateway.pipeline()
    return [
        code
        for code in gateway.settings.policies
        if pipeline.server_of(code) and partner.id in pipeline.recipients(code)
    ]


def read_key(path: Path) -> PartnerKey:
    """The public key in a file, with its comment.

    Raises:
        ConfigError: it can't be read, or is no key that is accepted.
    """
    try:
        text = path.read_text("utf-8").strip()
        line, fingerprint = parse_public_key(text)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise ConfigError(f"{reason}", file=str(path)) from exc
    words = text.split(maxsplit=2) if "\n" not in text else []
    return PartnerKey(public_key=line, fingerprint=fingerprint, comment=words[2] if len(words) > 2 else "")


def _show_rest(gateway: Gateway, partner: Partner, now: datetime) -> None:
    """What lies ready for who leaves, what is held of it and when that goes, and what is still to be done."""
    from gateway.store import going, status

    with gateway.store.read() as conn:
        left = status.uncollected(conn).get(partner.id)
        waiting = len(status.deliveries(conn, partner_id=partner.id, state=DeliveryState.ARRIVED))
        held = [
            each
            for each in going.going(conn, add_months(local_day(now), _ALL_OF_IT))
            if each.partner_id == partner.id
        ]
    if left is not None:
        files = screen.counted(left.count, "file lies", "files lie")
        screen.out.print(
            f"  {files} ready that it did not collect, the oldest since {screen.moment(left.oldest_at)}"
        )
    if waiting:
        files = screen.counted(waiting, "received file is", "received files are")
        screen.out.print(f"  {files} still to be processed, and not counted below")
    for code in partner.serves:
        screen.out.print(
            f"  {code} is still its to serve: name another partner's `serves` before anything more is published"
        )
    if not held:
        screen.out.print("  Nothing of it is held.")
        return
    shown = screen.table("goes after")
    for name in _HELD.values():
        shown.add_column(name, justify="right")
    for day, counts in _by_day(held):
        shown.add_row(
            "[dim]the next purge[/]" if day is None else day.isoformat(),
            *(screen.number(counts[kind]) for kind in _HELD),
        )
    screen.out.print(shown)


def _by_day(held: list[Going]) -> Iterator[tuple[date | None, Counter[Kind]]]:
    days: dict[date | None, Counter[Kind]] = {}
    for each in held:
        days.setdefault(each.due_on, Counter())[each.kind] += each.rows or 1
    yield from sorted(days.items(), key=lambda day: day[0] or date.min)


def _partner(gateway: Gateway, partner_id: str) -> Partner:
    partner = gateway.settings.partners.get(partner_id)
    if partner is None:
        raise ConfigError(f"there is no partner {partner_id!r}: `gateway partner list` names all")
    return partner


def _span(text: str) -> timedelta:
    try:
        return TypeAdapter[timedelta](LongSpan).validate_python(text)
    except ValidationError as exc:
        raise ConfigError(f"--overlap: {exc.errors()[0]['ctx']['error']}") from exc


def _end(last_day: str, now: datetime) -> datetime:
    """The first instant at which a partner that leaves is let in no more."""
    if not last_day:
        return now
    try:
        end = end_of_day(date.fromisoformat(last_day))
    except ValueError as exc:
        raise ConfigError(f"--last-day: write a day, such as {local_day(now)}") from exc
    if end <= now:
        raise ConfigError(f"--last-day: {last_day} is over: name {local_day(now)} or a later day")
    return end


def _last_use(use: Use | None) -> str:
    return "[dim]never[/]" if use is None else screen.moment(use.last_used_at)


def _days_left(key: PartnerKey, now: datetime) -> str:
    return "[dim]·[/]" if key.valid_until is None else f"{max((key.valid_until - now).days, 0)}"


def _remark(partner: Partner, key: PartnerKey, now: datetime) -> str:
    if partner.is_disabled:
        return "[red]disabled[/]"
    if key.is_ending(now):
        return "[yellow]ends soon[/]"
    if key.is_valid(now):
        return "[green]valid[/]"
    return "not yet" if key.valid_from is not None and now < key.valid_from else "[red]ended[/]"
