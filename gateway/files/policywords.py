"""A municipality's policy in the words of the people who work by it (spec 3, Policy): Dutch, for the worklist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.domain.melding import Rule
from gateway.domain.policy import Actions, ConsecutiveBy, DeadlineFrom, DistinctBy, Grouping, Matching, Policy

_KEYS: Mapping[Grouping, str] = {
    Grouping.ADDRESS: "op één adres: zelfde postcode en huisnummer, ongeacht huisletter en toevoeging",
    Grouping.ADDRESS_EXACT: "op één adres: zelfde postcode, huisnummer, huisletter en toevoeging",
    Grouping.PERSON: "over één persoon: zelfde achternaam en geboortedatum; zonder geboortedatum zelfde achternaam "
    "en adres",
}
_CONSECUTIVE: Mapping[ConsecutiveBy, str] = {
    ConsecutiveBy.SAME_CREDITOR: "één schuldeiser meldde in elk van {months} opeenvolgende maanden",
    ConsecutiveBy.DIFFERENT_SECTOR: "in elk van {months} opeenvolgende maanden een signaal, samen uit ten minste twee sectoren",
    ConsecutiveBy.ANY: "in elk van {months} opeenvolgende maanden een signaal",
}
_ORDER: Mapping[str, str] = {
    "crisis": "crisis gaat voor",
    "creditors": "meer schuldeisers eerst",
    "sectors": "meer sectoren eerst",
    "total": "hoger totaalbedrag eerst",
    "multiple": "signalen van verschillende herkomst in één maand voor opeenvolgende maanden",
    "consecutive": "eerder een signaal (opeenvolgend) eerst",
    "bridging": "gaten dichten eerst",
    "oldest": "oudste achterstand eerst",
    "warm_handover": "warme overdracht eerst",
}
_ORDER_WITH: Mapping[str, str] = {
    "total_over": "totaalbedrag boven € {} eerst",
    "many_creditors": "meer dan {} schuldeisers eerst",
    "total_if_many_creditors": "bij meer dan {} schuldeisers het hogere totaalbedrag eerst",
    "sector": "volgorde van sectoren: {}",
}


def amount(cents: int) -> str:
    """An amount as people write it: `€ 1.234,56`."""
    whole = f"{cents // 100:,}".replace(",", ".")
    return f"€ {whole},{cents % 100:02d}"


def describe_grouping(level: Grouping) -> str:
    """What the signals of one melding have in common."""
    return _KEYS[level]


def describe(policy: Policy) -> Iterator[tuple[str, str]]:
    """What holds in a municipality, as subject and sentence."""
    yield from _rules(policy.matching)
    yield "Volgorde (rang)", "; dan ".join(map(_order, policy.order)) + "; dan oudste signaal eerst"
    yield from _actions(policy.actions)
    yield "Uiterlijk aanbod", _deadline(policy.actions.deadline_from)


def _rules(matching: Matching) -> Iterator[tuple[str, str]]:
    who = "schuldeisers" if matching.distinct_by is DistinctBy.CREDITOR else "sectoren"
    yield (
        Rule.MULTIPLE.value,
        f"signalen van ten minste {matching.min_distinct} verschillende {who} in de maand",
    )
    if matching.consecutive_months:
        text = _CONSECUTIVE[matching.consecutive_by]
        yield Rule.CONSECUTIVE_MONTHS.value, text.format(months=matching.consecutive_months)
    if matching.bridging:
        yield (
            Rule.BRIDGING.value,
            "een schuldeiser van vorige maand meldt niet meer, en een andere meldt nieuw: het ene gat met het andere gedicht",
        )
    if matching.always_sectors:
        yield Rule.ALWAYS.value, f"elk signaal uit: {', '.join(matching.always_sectors)}"
    if matching.always_crisis:
        yield (
            Rule.CRISIS.value,
            "ontruiming, afsluiting of einde van de verzekering dreigt: eerste gesprek binnen drie werkdagen",
        )
    if matching.min_amount_cents:
        floors = ", ".join(
            f"{sector} {amount(cents)}" for sector, cents in sorted(matching.min_amount_cents.items())
        )
        yield "Drempelbedrag", f"lagere signalen tellen niet mee voor de regels: {floors}"
    yield (
        "Opeenvolgend, herhaald",
        f"gezien over de {matching.lookback_months} maanden ervoor, zolang de gegevens bewaard worden",
    )


def _order(name: str) -> str:
    word, _, argument = name.partition(":")
    return _ORDER_WITH[word].format(argument) if argument else _ORDER[word]


def _actions(actions: Actions) -> Iterator[tuple[str, str]]:
    over = amount(actions.visit_over_cents)
    if actions.visit_capacity:
        text = f"de eerste {actions.visit_capacity} matches boven {over}: {actions.visit}"
        if actions.visit_fill:
            text += ", overgebleven plaatsen voor de volgende matches"
        yield "Voorgestelde actie", f"{text}; andere matches: {actions.match}; enkelvoudig: {actions.single}"
    else:
        yield "Voorgestelde actie", f"matches: {actions.match}; enkelvoudig: {actions.single}"


def _deadline(deadline_from: DeadlineFrom) -> str:
    since = "de eerste ontvangst" if deadline_from is DeadlineFrom.RECEIPT else "de eerste doorgifte aan u"
    return f"28 dagen na {since}; bij een crisis drie werkdagen na de doorgifte daarvan, of eerder als de levering eindigt"
