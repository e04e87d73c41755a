"""`gateway match explain`: which rule held on which signals, and how a rank came about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.domain.melding import ActiveSignal, Klasse, MeldingContent, Rule
from gateway.domain.policy import ConsecutiveBy, Matching, Policy
from gateway.files.cells import euros
from gateway.matching.deadline import CRISIS_WORKING_DAYS, OFFER_DAYS, OfferDeadline
from gateway.matching.explain import Compared, Ground, Ranking
from gateway.pipeline.explain import Explained
from gateway.pipeline.explain import explain as look
from gateway.pipeline.policies import policy_hash

#: The wire's names of what can change in a melding.
_FIELDS = {
    "klasse": "klasse",
    "rules": "matchregels",
    "refs": "signals",
    "creditor_count": "aantal_partners",
    "total_cents": "totaalbedrag",
    "consecutive": "opeenvolgend",
    "bridging": "gaten_dichten",
    "several_addresses": "meerdere_adressen",
    "repeated": "herhaald",
    "sectors": "sectors",
}


def explain(
    context: typer.Context,
    melding_id: Annotated[
        str, typer.Argument(metavar="MELDING_ID", help="As in the column melding_id of an outbox file.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the fields above.")] = False,
) -> None:
    """Explain a melding: which rule held on which signals, how its rank, action and deadline came about.

    It is told as it stands now under the policy in force, with what changed since its last publication. Its rank is
    the one among what is published. No name, no address: nothing sealed is opened; the audit log tells who looked.

    [bold]--json[/] gives one object; amounts are euro cents, times UTC, signals are named by signaalnummer:

    [cyan]melding_id, municipality, month, key, policy[/] (the hash of the one in force)
    [cyan]klasse, matchregels, aantal_partners, sectors, totaalbedrag[/] · [cyan]opeenvolgend[/] [month] ·
    [cyan]gaten_dichten, meerdere_adressen[/] · [cyan]addresses[/] (how many); klasse is null when it was never published
    and is empty
    [cyan]signals[/] [{signaalnummer, partner, sector, month, signaaldatum, bedrag, crisis, counts, before}]; counts:
    reaches the least amount; before: highest amount of the same debt in the look-back months, or null
    [cyan]ended[/] [{signaalnummer, state}] that were in it
    [cyan]rules[/] [{rule, is_asked, holds, signals, seen: {month: [creditor or sector]}}]
    [cyan]ranking[/] {rang, matches, above, own, below: {melding_id, rang, values, decided_by}, visit_place, is_visited}
    [cyan]voorstel_actie[/] · [cyan]uiterlijk_aanbod[/] {by, reason, since}
    [cyan]published[/] {versie, klasse, first_at, at, policy, partner}, null before the first · [cyan]changed[/] [field]
    since · [cyan]waiting[/] whether the next publication looks at it
    """
    with opened(context.obj) as gateway:
        found = look(gateway.pipeline(), melding_id, actor=actor(), origin="cli")
    if as_json:
        screen.print_json(_json(found))
    else:
        _show(found)


# -- for people ------------------------------------------------------------------------------------


def _show(found: Explained) -> None:
    melding, content = found.melding, found.content
    name = f"{melding.municipality} {found.policy.name}".strip()
    screen.out.print(f"[bold]{melding.id}[/] of {escape(name)}, {melding.month}, by {melding.level}\n")
    facts = [("klasse", _class_of(found)), ("published", _published(found))]
    if melding.version:
        facts.append(("since then", _since(found)))
    if content:
        facts += [
            ("totaalbedrag", f"{euros(content.total_cents)} of {_made_of(content)}"),
            ("opeenvolgend", _flag(content.consecutive, _list(found.months_before))),
            ("gaten_dichten", _flag(content.bridging, _bridging(found.grounds))),
            ("meerdere_adressen", _flag(content.several_addresses, f"{found.addresses} addresses")),
        ]
    if found.deadline:
        facts.append(("uiterlijk_aanbod", _deadline(found.deadline)))
    screen.out.print(screen.pairs(*facts))
    _show_signals(found)
    if content:
        _show_rules(found)
    if found.ranking:
        _show_ranking(found.ranking, found.policy, found.action)


def _klasse(found: Explained) -> str | None:
    if found.content:
        return found.content.klasse
    return Klasse.LAPSED if found.melding.version else None


def _class_of(found: Explained) -> str:
    if found.content is None:
        return f"[bold]{_klasse(found) or 'none'}[/]: no active signal is left in it"
    rules = " ".join(found.content.rules) or "no rule holds"
    return f"[bold]{found.content.klasse}[/] {rules}"


def _published(found: Explained) -> str:
    melding = found.melding
    if not melding.version:
        return "[yellow]not yet[/]"
    told = f"versie {melding.version}, {melding.klasse}, {screen.moment(melding.published_at)}"
    if melding.version > 1:
        told += f"; first {screen.moment(melding.first_published_at)}"
    if found.published_under:
        same = found.published_under == policy_hash(found.policy)
        in_force = "in force" if same else f"[yellow]now another is in force: {policy_hash(found.policy)}[/]"
        told += f"; policy {found.published_under}, {in_force}"
    return told


def _since(found: Explained) -> str:
    if found.content is None and found.published is None:
        return "unchanged"
    if found.content is None:
        changed = "all its signals ended"
    elif found.published is None:
        changed = "signals came again"
    elif found.changed:
        changed = f"other {_list(_FIELDS[name] for name in found.changed)}"
    elif found.is_waiting:
        return "looked at again at the next publication"
    else:
        return "unchanged"
    if found.is_waiting:
        return f"[yellow]{changed}[/]: in the next publication"
    # purging and another policy touch nothing (spec 3, Rules)
    return f"{changed}, by what was purged or another policy: not published for that"


def _made_of(content: MeldingContent) -> str:
    return (
        f"{screen.counted(content.signal_count, 'signal')}, {screen.counted(content.creditor_count, 'creditor')}, "
        f"{screen.counted(len(content.sectors), 'sector')}"
    )


def _flag(holds: bool, reason: str) -> str:  # a value to show
    return f"J [dim]{escape(reason)}[/]" if holds else "N"


def _bridging(grounds: Iterable[Ground]) -> str:
    (seen,) = (ground.seen for ground in grounds if ground.rule is Rule.BRIDGING)
    return _seen(seen)


def _deadline(deadline: OfferDeadline) -> str:
    reasons = {
        "receipt": f"{OFFER_DAYS} days from the earliest receipt, {deadline.since}",
        "publication": f"{OFFER_DAYS} days from its first publication, {deadline.since}",
        "crisis": f"{CRISIS_WORKING_DAYS} working days from the publication of the crisis, {deadline.since}",
        "datum_einde_levering": "supply ends then, before three working days are over",
    }
    return f"{deadline.by} [dim]{reasons[deadline.reason]}[/]"


def _show_signals(found: Explained) -> None:
    shown = screen.table("signaalnummer", "creditor", "sector", "signaaldatum", "bedrag", "herhaald")
    shown.columns[0].no_wrap = shown.columns[3].no_wrap = True
    shown.columns[4].justify = "right"
    notes = {signal.ref: _note(signal, found) for signal in found.signals}
    if any(notes.values()):
        shown.add_column("", overflow="fold")
    for signal in found.signals:
        before = found.amounts_before.get(signal.ref)
        repeated = before is not None and before >= signal.amount_cents
        shown.add_row(
            found.numbers[signal.ref],
            escape(signal.creditor),
            escape(signal.sector),
            signal.signalled_on.isoformat(),
            euros(signal.amount_cents),
            f"J [dim]was {euros(before or 0)}[/]" if repeated else "N",
            *filter(None, (notes[signal.ref],)),
        )
    if found.signals:
        screen.out.print()
        screen.out.print(shown)
    if found.ended:
        ended = _list(f"{known.number} {known.state.replace('_', ' ')}" for known in found.ended)
        screen.out.print(f"\n[dim]In it no more: {ended}[/]")


def _note(signal: ActiveSignal, found: Explained) -> str:
    notes = ["[bold]crisis[/]"] if signal.is_crisis else []
    if signal.ref in found.left_out:
        least = euros(found.matching.min_amount_cents[signal.sector])
        notes.append(f"below {least}: for CRISIS only")
    return "; ".join(notes)


def _show_rules(found: Explained) -> None:
    shown = screen.table("rule", "", "needs", "finds", "on the signals")
    shown.columns[0].no_wrap = True
    for ground in found.grounds:
        mark = "[bold green]✓[/]" if ground.holds else "[dim]✗[/]"
        shown.add_row(
            ground.rule,
            mark if ground.is_asked else "[dim]off[/]",
            escape(_needs(ground.rule, found.matching)) if ground.is_asked else "",
            escape(_seen(ground.seen)) if ground.is_asked else "",
            "\n".join(_on(signal, found) for signal in ground.signals),
            style="" if ground.holds else "dim",
        )
    screen.out.print()
    screen.out.print(shown)


def _needs(rule: Rule, matching: Matching) -> str:
    match rule:
        case Rule.MULTIPLE:
            return f"{matching.min_distinct} or more {matching.distinct_by}s"
        case Rule.CONSECUTIVE_MONTHS:
            months = f"in each of {matching.consecutive_months} months"
            return {
                ConsecutiveBy.SAME_CREDITOR: f"the same creditor {months}",
                ConsecutiveBy.DIFFERENT_SECTOR: f"signals {months}, of 2 sectors together",
                ConsecutiveBy.ANY: f"signals {months}",
            }[matching.consecutive_by]
        case Rule.BRIDGING:
            return "a creditor of last month stopped, another began"
        case Rule.ALWAYS:
            return f"a signal of {_list(matching.always_sectors)}"
        case Rule.CRISIS:
            return "a crisis signal of any amount"


def _seen(seen: Mapping[str, Iterable[str]]) -> str:
    return "\n".join(f"{month}: {_list(kinds) or 'none'}" for month, kinds in seen.items())


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


def _on(signal: ActiveSignal, found: Explained) -> str:
    month = f" [dim]{signal.month}[/]" if signal.month != found.melding.month else ""
    return f"{found.numbers[signal.ref]}{month}"


def _show_ranking(ranking: Ranking, policy: Policy, action: str) -> None:
    screen.out.print(
        f"\nrang [bold]{ranking.own.rank}[/] of {screen.counted(ranking.matches, 'match', 'matches')}, "
        f"voorstel_actie [bold]{escape(action)}[/]: {_visit(ranking, policy)}"
    )
    around = [each for each in (ranking.above, ranking.own, ranking.below) if each]
    if len(around) == 1:
        return
    shown = screen.table("the policy compares, in this order")
    for each in around:
        title = "this" if each is ranking.own else "above" if each is ranking.above else "below"
        shown.add_column(f"rang {each.rank}\n{title}", justify="right", no_wrap=True)
    for name in policy.order:
        shown.add_row(escape(name), *(rank_cell(each, name) for each in around))
    screen.out.print()
    screen.out.print(shown)
    for each in around:
        if each is not ranking.own:
            side = "above" if each is ranking.above else "below"
            tied = "" if each.decided_by in each.values else "the least "
            screen.out.print(f"{each.id} is {side} it by {tied}[yellow]{escape(each.decided_by)}[/]")


def rank_cell(each: Compared, name: str) -> str:
    """A value that a match is ranked by, marked when it decided between it and the explained one."""
    value = _rank_value(name, each.values[name]) if name in each.values else ""
    return f"[yellow]{value} ←[/]" if name == each.decided_by else value


def _visit(ranking: Ranking, policy: Policy) -> str:
    actions = policy.actions
    limit = f"over {euros(actions.visit_over_cents)}"
    if ranking.place is None:
        left = ", on a place that was left" if ranking.is_visited else ""
        return f"its total is not {limit}{left}"
    places = screen.counted(actions.visit_capacity, "place")
    if ranking.is_visited:
        return f"number {ranking.place} of those {limit}, for {places}"
    return f"number {ranking.place} of those {limit}, and there {'is' if actions.visit_capacity == 1 else 'are'} {places}"


def _rank_value(name: str, value: int) -> str:
    """A value of the ranking as people read it: euro, a day, a place, a number, or yes and no."""
    match name.partition(":")[0]:
        case "total" | "total_if_many_creditors":
            return euros(value)
        case "creditors" | "sectors":
            return str(value)
        case "oldest":
            return date.fromordinal(-value).isoformat()
        case "sector":
            sectors = name.partition(":")[2].split(",")
            return sectors[-value].strip() if -value < len(sectors) else "another"
        case _:
            return "yes" if value else "no"


# -- for programs ----------------------------------------------------------------------------------


def _json(found: Explained) -> dict[str, Any]:
    melding, content, ranking = found.melding, found.content, found.ranking
    return {
        "melding_id": melding.id,
        "municipality": melding.municipality,
        "month": melding.month,
        "key": melding.level,
        "policy": policy_hash(found.policy),
        "klasse": _klasse(found),
        "matchregels": "+".join(content.rules) if content else "",
        "aantal_partners": content.creditor_count if content else 0,
        "sectors": list(content.sectors) if content else [],
        "totaalbedrag": content.total_cents if content else 0,
        "opeenvolgend": list(found.months_before),
        "gaten_dichten": bool(content and content.bridging),
        "meerdere_adressen": bool(content and content.several_addresses),
        "addresses": found.addresses,
        "signals": [_signal_json(signal, found) for signal in found.signals],
        "ended": [{"signaalnummer": known.number, "state": known.state} for known in found.ended],
        "rules": [
            {
                "rule": ground.rule,
                "is_asked": ground.is_asked,
                "holds": ground.holds,
                "signals": [found.numbers[signal.ref] for signal in ground.signals],
                "seen": {month: list(kinds) for month, kinds in ground.seen.items()},
            }
            for ground in found.grounds
        ],
        "ranking": ranking
        and {
            "rang": ranking.own.rank,
            "matches": ranking.matches,
            "above": _compared_json(ranking.above),
            "own": _compared_json(ranking.own),
            "below": _compared_json(ranking.below),
            "visit_place": ranking.place,
            "is_visited": ranking.is_visited,
        },
        "voorstel_actie": found.action,
        "uiterlijk_aanbod": found.deadline
        and {
            "by": found.deadline.by.isoformat(),
            "reason": found.deadline.reason,
            "since": found.deadline.since and found.deadline.since.isoformat(),
        },
        "published": {
            "versie": melding.version,
            "klasse": melding.klasse,
            "first_at": screen.instant(melding.first_published_at),
            "at": screen.instant(melding.published_at),
            "policy": found.published_under,
            "partner": melding.partner_id,
        }
        if melding.version
        else None,
        "changed": [_FIELDS[name] for name in found.changed],
        "waiting": found.is_waiting,
    }


def _signal_json(signal: ActiveSignal, found: Explained) -> dict[str, Any]:
    return {
        "signaalnummer": found.numbers[signal.ref],
        "partner": signal.creditor,
        "sector": signal.sector,
        "month": signal.month,
        "signaaldatum": signal.signalled_on.isoformat(),
        "bedrag": signal.amount_cents,
        "crisis": signal.is_crisis,
        "counts": signal.ref not in found.left_out,
        "before": found.amounts_before.get(signal.ref),
    }


def _compared_json(compared: Compared | None) -> dict[str, Any] | None:
    if compared is None:
        return None
    return {
        "melding_id": compared.id,
        "rang": compared.rank,
        "values": dict(compared.values),
        "decided_by": compared.decided_by,
    }
