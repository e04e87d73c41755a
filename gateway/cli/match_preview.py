"""`gateway match preview`: a month under the policy in force and under another, side by side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.clock import local_day, month_of
from gateway.domain.melding import Klasse, Rule
from gateway.errors import CommandError, ConfigError
from gateway.files.cells import euros
from gateway.matching.compare import Comparison, Fate, Month, differences
from gateway.pipeline.policies import policy_hash
from gateway.pipeline.preview import Preview
from gateway.pipeline.preview import preview as look
from gateway.settings import Home, other_policy

#: So many ranks and changed meldingen are shown; --json tells all.
_SHOWN = 20
#: The longest bar, in characters.
_BAR = 20


def preview(
    context: typer.Context,
    *,
    municipality: Annotated[str, typer.Option(metavar="GM1731", help="Whose signals.")],
    policy: Annotated[
        Path, typer.Option(metavar="FILE", help="A municipality's file with the other policy.")
    ],
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="If not given: this month.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the fields above.")] = False,
) -> None:
    """Show what another policy would have made of the same month, beside the policy in force. Publishes nothing.

    Both are given the signals of the month that are active now, published or not, as if all were published at this
    moment. Nothing sealed is opened; the audit log tells who looked.

    [bold]--json[/] gives one object; amounts are euro cents, own is the policy in force, other that of the file:

    [cyan]municipality, month[/] · [cyan]differences[/] {setting: {own, other}}
    [cyan]own, other[/] {policy (its hash), key, meldingen, signals, klassen, rules, signals_in_matches, total,
    total_in_matches, visits, actions}
    [cyan]merged, split[/] meldingen that are made of several, and that are parted, by another key
    [cyan]meldingen[/] [{melding_id, before: [id], own, other}]; own and other {klasse, matchregels, rang,
    voorstel_actie}, matches of other by rank; own is null unless before is the melding itself
    """
    home: Home = context.obj
    if month and not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", month):
        raise CommandError(f"{month!r} is no month: write it as 2026-11")
    with opened(home) as gateway:
        if municipality not in gateway.settings.policies:
            raise ConfigError(
                f"{municipality} is no municipality of this gateway; see: gateway municipality list"
            )
        other = other_policy(home.root, municipality, policy)
        month = month or month_of(local_day(gateway.clock.now()))
        with screen.err.status("Comparing …"):
            found = look(gateway.pipeline(), municipality, month, other, actor=actor(), origin="cli")
    if as_json:
        screen.print_json(_json(found, municipality, month))
    else:
        _show(found, month, policy.name)


# -- for people ------------------------------------------------------------------------------------


def _show(found: Preview, month: str, file: str) -> None:
    own, other = found.comparison.own, found.comparison.other
    name = f"{own.policy.code} {own.policy.name}".strip()
    screen.out.print(
        f"[bold]{escape(name)}[/], {month}: {screen.counted(own.counts.signals, 'active signal')}, "
        "published or not\n"
    )
    _show_differences(found, file)
    if not own.counts.signals:
        screen.out.print(f"No signal of {month} is active: both policies make nothing of it.")
        return
    _show_counts(own, other, file)
    if found.own_key is not found.other_key:
        screen.out.print(
            f"\n{screen.counted(found.comparison.merged, 'melding is', 'meldingen are')} made of several by "
            f"[cyan]{found.other_key}[/], {found.comparison.split:,} of those in force parted."
        )
    _show_ranks(found.comparison, file)
    _show_changed(found.comparison, file)


def _show_differences(found: Preview, file: str) -> None:
    changed = differences(found.comparison.own.policy, found.comparison.other.policy)
    if found.own_key is not found.other_key:
        changed["matching.key"] = found.own_key, found.other_key
    if not changed:
        screen.out.print(f"{escape(file)} matches, ranks and proposes as the policy in force does.\n")
        return
    shown = screen.table("setting", "in force", escape(file))
    shown.columns[0].no_wrap = True
    for name, values in changed.items():
        shown.add_row(name, *(escape(_setting(name, value)) for value in values))
    screen.out.print(shown)
    if found.own_key is not found.other_key:
        screen.out.print("[dim]In force, another key would take effect with the next month.[/]")
    screen.out.print()


def _setting(name: str, value: Any) -> str:
    """A setting as it stands in the file."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return ", ".join(f"{sector} {euros(cents)}" for sector, cents in value.items()) or "none"
        case tuple():
            return ", ".join(value) or "none"
        case int() if name == "actions.visit_over":
            return euros(value)
        case _:
            return str(value)


def _show_counts(own: Month, other: Month, file: str) -> None:
    mine, theirs = own.counts, other.counts
    rows = [("meldingen", mine.meldingen, theirs.meldingen)]
    rows += [
        (f"  {each}", mine.klassen[each], theirs.klassen[each]) for each in (Klasse.MATCH, Klasse.SINGLE)
    ]
    rows += [(f"  {rule}", mine.rules[rule], theirs.rules[rule]) for rule in Rule]
    rows.append(("signals in matches", mine.signals_in_matches, theirs.signals_in_matches))
    rows.append(("visits", mine.visits, theirs.visits))
    actions = [(of.visit, of.match, of.single) for of in (own.policy.actions, other.policy.actions)]
    rows += [
        (f"  {escape(action)}", mine.actions[action], theirs.actions[action])
        for action in dict.fromkeys(chain.from_iterable(zip(*actions, strict=True)))
    ]
    most = max(max(row[1:]) for row in rows)
    shown = screen.table("")
    shown.columns[0].no_wrap = True
    for title in ("in force", escape(file), ""):
        shown.add_column(title, justify="right", overflow="fold")
    shown.add_column("", no_wrap=True)
    for name, before, after in rows:
        if before or after:
            shown.add_row(
                name,
                screen.number(before),
                screen.number(after),
                _more(before, after),
                _bar(before, after, most),
            )
    for name, before, after in (
        ("totaalbedrag, euro", mine.total_cents, theirs.total_cents),
        ("  of matches", mine.total_in_matches_cents, theirs.total_in_matches_cents),
    ):
        shown.add_row(name, euros(before), euros(after), "")
    screen.out.print(shown)
    screen.out.print(
        "[dim]█ under both, [/][green]▓[/][dim] more, [/][yellow]░[/][dim] fewer under the file[/]"
    )


def _more(before: int, after: int) -> str:
    return f"{after - before:+,}" if after != before else "[dim]·[/]"


def _bar(before: int, after: int, most: int) -> str:
    """What both have, then what one has more; at least one character for anything."""
    both = _cells(min(before, after), most)
    longest = max(_cells(max(before, after), most), both + (before != after))
    rest = longest - both
    colour, mark = ("green", "▓") if after > before else ("yellow", "░")
    return f"[cyan]{'█' * both}[/][{colour}]{mark * rest}[/]"


def _cells(count: int, most: int) -> int:
    return max(round(_BAR * count / most), 1) if count else 0


def _show_ranks(comparison: Comparison, file: str) -> None:
    other = comparison.other
    matches = [fate for fate in comparison.fates if other.places[fate.name].rank is not None]
    if not matches:
        screen.out.print(f"\n{escape(file)} makes no match.")
        return
    screen.out.print(f"\n[bold]Ranks[/] under {escape(file)}, and where each stands in force")
    shown = screen.table("rang", "in force", "melding", "totaal-\nbedrag", "voorstel_\nactie", "matchregels")
    for at in (0, 1, 3):
        shown.columns[at].justify = "right"
    for column in shown.columns[:-1]:
        column.no_wrap = True
    for fate in matches[:_SHOWN]:
        melding, place = other.meldingen[fate.name], other.places[fate.name]
        shown.add_row(
            str(place.rank),
            _was(comparison.own, fate, place.rank),
            _name(fate),
            euros(melding.total_cents),
            escape(place.action),
            " ".join(melding.rules),
        )
    screen.out.print(shown)
    _say_rest(len(matches), "match", "matches")


def _was(own: Month, fate: Fate, rank: int | None) -> str:
    """The rank of each melding in force that it has signals of."""
    ranks = [own.places[before].rank for before in fate.before]
    if len(ranks) > 1:
        return " ".join(str(each or "none") for each in ranks)
    (before,) = ranks
    if before is None or rank is None:
        return "[green]none[/]"
    if before == rank:
        return f"{before} [dim]=[/]"
    return (
        f"{before} [green]▲{before - rank}[/]" if before > rank else f"{before} [yellow]▼{rank - before}[/]"
    )


def _name(fate: Fate) -> str:
    return "\n".join(fate.before) if len(fate.before) > 1 else fate.name


def _show_changed(comparison: Comparison, file: str) -> None:
    changed = comparison.changed
    if not changed:
        screen.out.print("\nNo melding gets another klasse or voorstel_actie.")
        return
    kinds = Counter(
        (_states(comparison.own, fate.before), _states(comparison.other, (fate.name,))) for fate in changed
    )
    screen.out.print(
        f"\n[bold]Changes[/] of klasse, voorstel_actie or make-up: {screen.counted(len(changed), 'melding', 'meldingen')}"
    )
    shown = screen.table("meldingen", "in force", escape(file))
    shown.columns[0].justify = "right"
    for (before, after), count in kinds.most_common():
        shown.add_row(f"{count:,}", escape(before), escape(after))
    screen.out.print(shown)
    screen.out.print()
    listed = screen.table("melding", "in force", escape(file))
    listed.columns[0].no_wrap = True
    # another klasse tells more than another action
    for fate in sorted(changed, key=lambda fate: _keeps_klasse(comparison, fate))[:_SHOWN]:
        before = _states(comparison.own, fate.before)
        listed.add_row(_name(fate), escape(before), escape(_states(comparison.other, (fate.name,))))
    screen.out.print(listed)
    _say_rest(len(changed), "melding", "meldingen")


def _keeps_klasse(comparison: Comparison, fate: Fate) -> bool:
    klasse = comparison.other.meldingen[fate.name].klasse
    return {comparison.own.meldingen[each].klasse for each in fate.before} == {klasse}


def _states(month: Month, names: Iterable[str]) -> str:
    """Klasse and action of meldingen of a month."""
    return " + ".join(sorted(f"{month.meldingen[each].klasse} {month.places[each].action}" for each in names))


def _say_rest(count: int, one: str, many: str) -> None:
    if count > _SHOWN:
        screen.out.print(
            f"[dim]and {screen.counted(count - _SHOWN, f'more {one}', f'more {many}')}: --json[/]"
        )


# -- for programs ----------------------------------------------------------------------------------


def _json(found: Preview, municipality: str, month: str) -> dict[str, object]:
    comparison = found.comparison
    own, other = comparison.own, comparison.other
    return {
        "municipality": municipality,
        "month": month,
        "differences": {
            name: {"own": values[0], "other": values[1]}
            for name, values in differences(own.policy, other.policy).items()
        },
        "own": _side(own, found.own_key),
        "other": _side(other, found.other_key),
        "merged": comparison.merged,
        "split": comparison.split,
        "meldingen": [
            {
                "melding_id": fate.name,
                "before": list(fate.before),
                "own": _line(own, fate.name) if fate.before == (fate.name,) else None,
                "other": _line(other, fate.name),
            }
            for fate in comparison.fates
        ],
    }


def _side(month: Month, key: str) -> dict[str, object]:
    counts = month.counts
    return {
        "policy": policy_hash(month.policy),
        "key": key,
        "meldingen": counts.meldingen,
        "signals": counts.signals,
        "klassen": {klasse: counts.klassen[klasse] for klasse in (Klasse.MATCH, Klasse.SINGLE)},
        "rules": {rule: counts.rules[rule] for rule in Rule},
        "signals_in_matches": counts.signals_in_matches,
        "total": counts.total_cents,
        "total_in_matches": counts.total_in_matches_cents,
        "visits": counts.visits,
        "actions": dict(counts.actions),
    }


def _line(month: Month, name: str) -> dict[str, object]:
    melding, place = month.meldingen[name], month.places[name]
    return {
        "klasse": melding.klasse,
        "matchregels": "+".join(melding.rules),
        "rang": place.rank,
        "voorstel_actie": place.action,
    }
