"""`werklijst_<gemeentecode>_<YYYY-MM>.xlsx`: a month as it stands, for people (spec 2, For a municipality).

Sheets *Meldingen*, *Signalen* and *Toelichting*. What is filled in comes back as feedback: the custom property
`PROPERTY` tells the file, the columns have the wire's names. What was answered before is shown, and the columns for a
new answer are empty: a line that nobody filled in says nothing when it comes back.

It is made in memory: what writes workbooks would leave temporary files in plain text otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO

from xlsxwriter import Workbook

from gateway.clock import AMSTERDAM
from gateway.domain.feedback import Answer
from gateway.domain.melding import Klasse
from gateway.domain.policy import Grouping, Policy
from gateway.files import policywords
from gateway.files.cells import yes_no
from gateway.files.columns import NEW_ANSWER_COLUMNS, WORKLIST_MELDING_COLUMNS, WORKLIST_SIGNAL_COLUMNS
from gateway.files.outbox import OutboxMelding, OutboxSignal
from gateway.files.package import MELDINGEN, SIGNALEN, WORKLIST_PROPERTY
from gateway.files.worklistrows import Cell, TableLines, fill
from gateway.files.worklistsheets import DIFFERENT, SOME, WRAPPED, Sheets, lined

#: Of the file's shape; rises when a reader of the old one could stumble.
SHAPE = 1
#: Where the two tables are in the package: sheets are numbered as they are added.
_PARTS = ("xl/worksheets/sheet1.xml", "xl/worksheets/sheet2.xml")

_MONTHS = (
    "januari",
    "februari",
    "maart",
    "april",
    "mei",
    "juni",
    "juli",
    "augustus",
    "september",
    "oktober",
    "november",
    "december",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistSignal:
    """A signal, and the answer on it that stands."""

    signal: OutboxSignal
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistMelding:
    """A melding with its signals, in their order."""

    melding: OutboxMelding
    signals: Sequence[WorklistSignal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worklist:
    """A municipality's month. `version` counts how often it was made; `expires_on` is the file's last day.

    `level` is the key by which the month is grouped, `meldingen` stand in their order: by rank.
    """

    policy: Policy
    partner_name: str
    month: str
    version: int
    made_at: datetime
    expires_on: date
    level: Grouping
    meldingen: Sequence[WorklistMelding]


def render_worklist(worklist: Worklist) -> bytes:
    """The workbook."""
    buffer = BytesIO()
    book = Workbook(
        buffer,
        {
            "in_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    code, month = worklist.policy.code, worklist.month
    book.set_properties(
        {
            "title": f"Werklijst vroegsignalering {code} {month}",
            "category": "vertrouwelijk",
            "created": worklist.made_at.astimezone(UTC).replace(tzinfo=None),
        }
    )
    book.set_custom_property(WORKLIST_PROPERTY, SHAPE)
    book.set_custom_property("gemeentecode", code)
    book.set_custom_property("maand", month)
    book.set_custom_property("versie", worklist.version)
    footer = (
        f"&L&8Vertrouwelijk: persoonsgegevens. Vernietig uiterlijk {_shown(worklist.expires_on)}."
        f"&C&8Werklijst {code} {month}, versie {worklist.version}"
        "&R&8pagina &P van &N"
    )
    sheets = Sheets(book, footer, list(_explanation(worklist)))
    # on paper, what stands right of the answers would make all of it too small to read
    sheets.table(
        MELDINGEN,
        WORKLIST_MELDING_COLUMNS,
        count=len(worklist.meldingen),
        pages=1,
        frozen=4,
        last_printed=NEW_ANSWER_COLUMNS[-1],
    )
    sheets.table(
        SIGNALEN,
        WORKLIST_SIGNAL_COLUMNS,
        count=sum(len(each.signals) for each in worklist.meldingen),
        pages=3,
        frozen=2,
        last_printed="signaalnummer",
    )
    sheets.explain()
    book.close()
    return fill(
        buffer,
        {
            _PARTS[0]: TableLines(
                columns=WORKLIST_MELDING_COLUMNS,
                wrapped=WRAPPED,
                lines=(lined(_melding_cells(line)) for line in worklist.meldingen),
            ),
            _PARTS[1]: TableLines(
                columns=WORKLIST_SIGNAL_COLUMNS,
                wrapped=WRAPPED,
                lines=map(lined, _signal_lines(worklist.meldingen)),
            ),
        },
    )


# -- what stands on a line ---------------------------------------------------------------------------------


def _melding_cells(line: WorklistMelding) -> Mapping[str, Cell]:
    melding, first = line.melding, line.signals[0].signal
    names = dict.fromkeys(_name(each.signal) for each in line.signals)
    outcome, on = _standing(line.signals)
    return {
        "rang": melding.rank,
        "voorstel_actie": melding.action,
        "uiterlijk_aanbod": melding.offer_by,
        "inwoners": "; ".join(names),
        "adres": "; ".join(_addresses(line.signals)),
        "postcode": first.postcode,
        "woonplaats": next((each.signal.city for each in line.signals if each.signal.city), ""),
        "klasse": melding.klasse.value,
        "matchregels": "+".join(rule.value for rule in melding.rules),
        "totaalbedrag": _euros(melding.total_cents),
        "aantal_signalen": melding.signal_count,
        "aantal_partners": melding.creditor_count,
        "aantal_sectoren": melding.sector_count,
        "opeenvolgend": yes_no(melding.consecutive),
        "gaten_dichten": yes_no(melding.bridging),
        "meerdere_adressen": yes_no(melding.several_addresses),
        "laatste_antwoord": outcome,
        "laatste_datum": on,
        "melding_id": melding.melding_id,
        "versie": melding.version,
    }


def _standing(signals: Sequence[WorklistSignal]) -> tuple[str, date | None]:
    """The answer that stands on all signals of a melding, or that there is no such one."""
    answers = [each.answer for each in signals if each.answer is not None]
    on = max((answer.on for answer in answers), default=None)
    if len(answers) < len(signals):
        return (SOME if answers else "", on)
    outcomes = {answer.outcome for answer in answers}
    return (outcomes.pop().value if len(outcomes) == 1 else DIFFERENT, on)


def _signal_lines(meldingen: Iterable[WorklistMelding]) -> Iterator[Mapping[str, Cell]]:
    for line in meldingen:
        for each in line.signals:
            yield _signal_cells(line.melding, each)


def _signal_cells(melding: OutboxMelding, line: WorklistSignal) -> Mapping[str, Cell]:
    signal, answer = line.signal, line.answer
    return {
        "rang": melding.rank,
        "achternaam": signal.surname,
        "voorvoegsel": signal.infix,
        "voorletters": signal.initials,
        "geboortedatum": signal.born_on,
        "straatnaam": signal.street,
        "huisnummer": signal.house_number,
        "huisletter": signal.house_letter,
        "huisnummertoevoeging": signal.house_number_suffix,
        "postcode": signal.postcode,
        "woonplaats": signal.city,
        "telefoonnummer": signal.phone,
        "emailadres": signal.email,
        "voorstel_actie": melding.action,
        "partnernaam": signal.partner_name,
        "sector": signal.sector,
        "product": signal.product,
        "signaaltype": signal.signal_type.value,
        "crisissignaal": yes_no(signal.is_crisis),
        "bedrag": _euros(signal.amount_cents),
        "ontstaansdatum": signal.arrears_since,
        "dagen_achterstand": signal.days_in_arrears,
        "herhaald": yes_no(signal.repeated),
        "warme_overdracht": yes_no(signal.warm_handover),
        "klantnummer": signal.customer_number,
        "signaaldatum": signal.signalled_on,
        "ontvangen_op": signal.received_on,
        "datum_einde_levering": signal.supply_ends_on,
        "uiterlijk_aanbod": melding.offer_by,
        "terugkoppelen_voor": signal.feedback_by,
        "afronden_voor": signal.finish_by,
        "laatste_antwoord": answer.outcome.value if answer else "",
        "laatste_datum": answer.on if answer else None,
        "signaalnummer": signal.number,
        "melding_id": melding.melding_id,
        "partner": signal.partner_id,
        "gateway_bewaart_tot": signal.held_until,
    }


def _name(signal: OutboxSignal) -> str:
    return " ".join(filter(None, (signal.initials, signal.infix, signal.surname)))


def _addresses(signals: Iterable[WorklistSignal]) -> list[str]:
    """Each door once, with its street where one of its signals names it."""
    streets: dict[tuple[str, str], str] = {}
    for signal in (each.signal for each in signals):
        suffix = f"-{signal.house_number_suffix}" if signal.house_number_suffix else ""
        door = signal.postcode, f"{signal.house_number}{signal.house_letter}{suffix}"
        streets[door] = streets.get(door) or signal.street
    return [f"{street} {number}".strip() for (_, number), street in streets.items()]


def _euros(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


# -- what it means -----------------------------------------------------------------------------------------


def _explanation(worklist: Worklist) -> Iterator[tuple[str, str]]:
    """Subject and text of each line of *Toelichting*; the first is its title."""
    policy, made_at = worklist.policy, worklist.made_at.astimezone(AMSTERDAM)
    year, month = worklist.month.split("-")
    place = f"{policy.name} ({policy.code})" if policy.name else policy.code
    yield f"Werklijst vroegsignalering {place}, {_MONTHS[int(month) - 1]} {year}", ""
    yield (
        "Gemaakt",
        f"{_shown(made_at.date())} om {made_at:%H:%M}, versie {worklist.version}, voor {worklist.partner_name}. "
        "Elke doorgifte vervangt de lijst door een nieuwe met dezelfde naam.",
    )
    yield (
        "Vertrouwelijk",
        "Deze lijst bevat persoonsgegevens. Bewaar en deel haar alleen voor de vroegsignalering, en vernietig uw eigen "
        f"afschriften uiterlijk {_shown(worklist.expires_on)}: dan verloopt de bewaartermijn van het eerste signaal.",
    )
    yield from _counts(worklist.meldingen)
    yield (
        "Melding",
        f"Alle signalen van één maand {policywords.describe_grouping(worklist.level)}. Een melding is een MATCH als een "
        "van de regels hieronder geldt, anders ENKELVOUDIG. Rang en voorgestelde actie gelden zoals ze hier staan: ze zijn "
        "opnieuw berekend over alles wat tot nu toe is doorgegeven. In de CSV-bestanden zijn ze een momentopname.",
    )
    yield from policywords.describe(policy)
    yield (
        "Kleuren",
        "Rood: de uiterste dag is voorbij. Oranje: die is binnen zeven dagen. Zonder kleur: er is tijd, of er is al een "
        "antwoord (bij afronden voor: een eindresultaat).",
    )
    yield (
        "Invullen",
        "Vul de gele kolommen in: een status of een eindresultaat, en de datum; de rest mag leeg blijven. Een antwoord op "
        "Meldingen geldt voor alle signalen van de melding, als die over één persoon gaan. Een antwoord op Signalen geldt "
        "voor dat signaal en gaat voor. Regels zonder status en zonder eindresultaat worden overgeslagen.",
    )
    yield (
        "Terugsturen",
        "Bewaar de lijst als Excel-bestand (.xlsx), onder welke naam ook, en zet haar in /inbox. In /returns vindt u de "
        "ontvangst, met elke regel die niet is aangenomen en waarom. Dezelfde lijst mag vaker, met meer antwoorden: wat "
        "al bekend was, verandert niets. Laat de kolommen signaalnummer en melding id staan.",
    )
    yield (
        "Eerder beantwoord",
        "Laatste antwoord en laatste datum tonen wat er stond toen de lijst werd gemaakt. Een nieuw antwoord met een "
        "latere datum komt ervoor in de plaats.",
    )


def _counts(meldingen: Sequence[WorklistMelding]) -> Iterator[tuple[str, str]]:
    klassen = Counter(each.melding.klasse for each in meldingen)
    signals = [each for line in meldingen for each in line.signals]
    sectors = Counter(each.signal.sector for each in signals)
    actions = Counter(each.melding.action for each in meldingen)
    total = sum(each.signal.amount_cents for each in signals)
    yield (
        "Aantallen",
        f"{len(meldingen)} meldingen: {klassen[Klasse.MATCH]} MATCH, {klassen[Klasse.SINGLE]} ENKELVOUDIG. "
        f"{len(signals)} signalen{_listed(sectors)}, samen {policywords.amount(total)}. "
        f"Beantwoord: {sum(each.answer is not None for each in signals)} signalen.",
    )
    if actions:
        yield "Voorgesteld", ", ".join(f"{count} {action}" for action, count in sorted(actions.items()))


def _listed(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f" ({listed})" if listed else ""


def _shown(day: date) -> str:
    return f"{day:%d-%m-%Y}"
