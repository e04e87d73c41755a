"""`inzage_<verzoek_id>.html`: all that is held on a person, for its municipality to hand on (spec 2; AVG art. 15).

One page that needs nothing else: no script, no link, prints on A4. Every value is escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from html import escape, unescape

from gateway.clock import AMSTERDAM
from gateway.domain.delivery import Kind
from gateway.domain.dispatch import DispatchKind
from gateway.domain.request import Subject
from gateway.domain.signal import SignalState


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessAnswer:
    """What a municipality answered on a signal."""

    partner_name: str
    outcome: str
    on: date
    contact: str | None
    reached: bool | None
    consents: bool
    suspend_until: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSignal:
    """One version of a signal. `fields` are its sealed ones by the wire's names; empty when they are gone."""

    number: str
    creditor_name: str
    municipality: str
    sector: str
    signal_type: str
    is_crisis: bool
    amount_cents: int
    signalled_on: date
    since: date
    supply_ends_on: date | None
    received_at: datetime
    passed_on_at: datetime | None
    state: SignalState
    is_current: bool
    month: str
    melding_id: str | None
    klasse: str | None
    due_on: date
    fields: Mapping[str, object]
    answers: Sequence[AccessAnswer] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessFile:
    """A received file in which the person stands; `rows` are its rows that are no signal, by line, as sent."""

    delivery_id: str
    partner_name: str
    received_at: datetime
    due_on: date
    rows: Sequence[tuple[int, Mapping[str, str]]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDispatch:
    """A file that was made with signals of the deliveries in which the person stands."""

    kind: DispatchKind
    partner_name: str
    made_at: datetime
    collected_at: datetime | None
    due_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessListing:
    """A row of a municipality's own list: an excluded or a known resident; `fields` as of a signal."""

    kind: Kind
    partner_name: str
    municipality: str
    received_at: datetime
    until: date
    is_current: bool
    due_on: date
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """All that is held on one person within the municipalities of a partner."""

    number: str
    asked_at: datetime
    made_at: datetime
    municipality_name: str
    subject: Subject
    signals: Sequence[AccessSignal] = ()
    received: Sequence[AccessFile] = ()
    sent: Sequence[AccessDispatch] = ()
    listings: Sequence[AccessListing] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not (self.signals or self.received or self.listings)


_STATES: Mapping[SignalState, str] = {
    SignalState.WAITING: "ontvangen, nog niet doorgezet aan de gemeente",
    SignalState.PASSED_ON: "doorgezet aan de gemeente",
    SignalState.EXCLUDED: "niet doorgezet aan de gemeente (uitgesloten)",
    SignalState.NOT_ROUTABLE: "niet te routeren",
    SignalState.NOT_CONNECTED: "gemeente niet aangesloten",
    SignalState.SUPERSEDED: "vervangen door een nieuwer signaal",
    SignalState.WITHDRAWN: "ingetrokken",
}
_LISTS: Mapping[Kind, str] = {
    Kind.EXCLUSIONS: "Op de lijst van uitgesloten inwoners",
    Kind.KNOWN_RESIDENTS: "Op de lijst van bekende inwoners",
}
_KINDS: Mapping[DispatchKind, str] = {
    DispatchKind.MELDINGEN: "meldingen voor de gemeente",
    DispatchKind.WORKLIST: "werklijst voor de gemeente",
    DispatchKind.RECEIPT: "ontvangstbewijs",
    DispatchKind.SIGNAL_STATUS: "status van signalen",
    DispatchKind.FEEDBACK: "terugkoppeling van de gemeente",
    DispatchKind.STATEMENT: "stand van signalen",
    DispatchKind.DEADLINES: "termijnen voor de gemeente",
    DispatchKind.DELIVERY_REPORT: "overzicht van aanleveringen",
    DispatchKind.WITHDRAWAL: "bericht van intrekking",
    DispatchKind.ACCESS: "antwoord op een inzageverzoek",
    DispatchKind.APPROVAL: "verzoek om goedkeuring",
    DispatchKind.ERASURE: "bericht over een verzoek om vernietiging",
}
#: What a row that became no signal says, where the wire's name says it badly.
_WORDS: Mapping[str, str] = {
    "signaal_id": "nummer bij de melder",
    "huisnummertoevoeging": "toevoeging",
    "straatnaam": "straat",
    "emailadres": "e-mailadres",
    "ontstaansdatum": "achterstand sinds",
    "dagen_achterstand": "dagen achterstand",
    "sociaal_incasso": "sociaal geïncasseerd",
}

_STYLE = """
@page { size: A4; margin: 18mm 16mm }
body { font: 10.5pt/1.45 "Liberation Sans", Arial, Helvetica, sans-serif; color: #1b1b1b; max-width: 178mm;
  margin: 0 auto; padding: 6mm }
h1 { font-size: 19pt; margin: 0 0 1mm; color: #12395b }
h2 { font-size: 13pt; margin: 8mm 0 2mm; color: #12395b; border-bottom: 1px solid #9fb3c4; padding-bottom: 1mm }
h3 { font-size: 11pt; margin: 6mm 0 1.5mm }
p { margin: 0 0 2mm }
h2, h3 { break-after: avoid }
table { border-collapse: collapse; width: 100%; margin: 0 0 3mm }
th, td { text-align: left; vertical-align: top; padding: 0.8mm 2mm; border-bottom: 1px solid #dde4ea }
th { font-weight: normal; color: #4a5a68; width: 38% }
table.list th { width: auto; font-weight: bold; border-bottom: 1px solid #9fb3c4 }
table.list td { overflow-wrap: break-word }
tr { break-inside: avoid }
.small { font-size: 9pt; color: #4a5a68 }
@media print { body { padding: 0 } }
""".strip()

_SUBJECT = re.compile(r'<meta name="betrokkene" content="([^"]*)">')


def render_access(access: Access) -> bytes:
    """The page."""
    title = f"Inzage in persoonsgegevens, verzoek {access.number}"
    about = asdict(access.subject) | {
        "born_on": access.subject.born_on and access.subject.born_on.isoformat()
    }
    parts = [
        '<!DOCTYPE html>\n<html lang="nl">\n<head>\n<meta charset="utf-8">',
        f'<meta name="betrokkene" content="{escape(json.dumps(about, ensure_ascii=False))}">',
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
        "<h1>Inzage in uw persoonsgegevens</h1>",
        f"<p>Vroegsignalering van schulden: wat er over u wordt bewaard voor {escape(access.municipality_name)}.</p>",
        *_request(access),
        *_held(access),
        *_explanation(access),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts).encode()


def subject_of(page: bytes) -> Subject | None:
    """Whom a page is about; None when it is no page of ours."""
    found = _SUBJECT.search(page.decode(errors="replace"))
    if found is None:
        return None
    about = json.loads(unescape(found[1]))
    born_on = about.pop("born_on")
    return Subject(**about, born_on=date.fromisoformat(born_on) if born_on else None)


def _request(access: Access) -> Iterator[str]:
    subject = access.subject
    yield _facts(
        ("verzoek", access.number),
        ("ontvangen van de gemeente", _moment(access.asked_at)),
        ("beantwoord", _moment(access.made_at)),
        ("gezocht op achternaam", subject.surname),
        ("gezocht op geboortedatum", _day(subject.born_on)),
        ("gezocht op adres", _address(subject)),
    )


def _held(access: Access) -> Iterator[str]:
    if access.is_empty:
        yield "<h2>Er wordt niets over u bewaard</h2>"
        yield (
            "<p>Bij deze gegevens is niets gevonden: geen signaal, ook geen ingetrokken of vervangen signaal, en "
            "geen ontvangen bestand waarin u staat. Wat eerder is ontvangen, kan op zijn dag zijn vernietigd.</p>"
        )
        return
    current = sum(signal.is_current for signal in access.signals)
    yield "<h2>In het kort</h2>"
    yield _facts(
        ("signalen", str(current)),
        ("eerdere versies daarvan", str(len(access.signals) - current)),
        ("melders", ", ".join(sorted({signal.creditor_name for signal in access.signals}))),
        ("ontvangen bestanden waarin u staat", str(len(access.received))),
        ("regels op lijsten van de gemeente", str(len(access.listings) or "")),
    )
    if access.signals:
        yield "<h2>Signalen</h2>"
        yield "<p>Een signaal is het bericht van een schuldeiser dat er een betalingsachterstand is.</p>"
    ordered = sorted(access.signals, key=lambda each: (not each.is_current, each.received_at))
    for place, signal in enumerate(ordered, start=1):
        yield from _signal(place, signal)
    yield from _received(access.received)
    yield from _sent(access.sent)
    for listing in access.listings:
        yield from _listing(listing)


def _signal(place: int, signal: AccessSignal) -> Iterator[str]:
    state = _STATES[signal.state] if signal.is_current else "eerdere versie, vervangen door een wijziging"
    yield f"<h3>{place}. {escape(signal.creditor_name)}: {escape(signal.sector)}, {_euro(signal.amount_cents)}</h3>"
    yield _facts(
        ("ontvangen van", signal.creditor_name),
        ("ontvangen op", _moment(signal.received_at)),
        ("wat ermee is gedaan", state),
        ("doorgezet op", _moment(signal.passed_on_at)),
        ("gemeente", signal.municipality),
        ("nummer van het signaal", signal.number),
        ("melding", _melding(signal)),
        ("soort", signal.signal_type.lower() + (" (crisis)" if signal.is_crisis else "")),
        ("datum van het signaal", _day(signal.signalled_on)),
        ("bedrag", _euro(signal.amount_cents)),
        ("achterstand sinds", _day(signal.since)),
        ("einde levering", _day(signal.supply_ends_on)),
        *_fields(signal.fields),
        ("wordt bewaard tot en met", _day(signal.due_on)),
    )
    if not signal.fields:
        yield '<p class="small">Naam, adres en andere inhoud van dit signaal zijn al vernietigd.</p>'
    if signal.answers:
        yield _list(
            ("antwoord van", "uitkomst", "datum", "contact", "bereikt", "toestemming", "opschorten tot"),
            (
                (
                    each.partner_name,
                    each.outcome,
                    _day(each.on),
                    each.contact or "",
                    "" if each.reached is None else _yes_no(each.reached),
                    _yes_no(each.consents),
                    _day(each.suspend_until),
                )
                for each in signal.answers
            ),
        )


def _fields(fields: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """What was sealed of a signal, by the wire's names, in words."""

    def joined(*names: str, by: str = " ") -> str:
        return by.join(str(fields[name]) for name in names if fields.get(name))

    house = joined("huisnummer", "huisletter", by="")
    street = " ".join(filter(None, (joined("straatnaam"), house, joined("huisnummertoevoeging"))))
    born_on, since = fields.get("geboortedatum"), fields.get("ontstaansdatum")
    yield "naam", joined("voorletters", "voorvoegsel", "achternaam")
    yield "geboortedatum", _day(date.fromisoformat(str(born_on))) if born_on else ""
    yield "adres", ", ".join(filter(None, (street, joined("postcode", "woonplaats"))))
    yield "telefoonnummer", joined("telefoonnummer")
    yield "e-mailadres", joined("emailadres")
    yield "klantnummer bij de melder", joined("klantnummer")
    yield "nummer bij de melder", joined("signaal_id")
    yield "product", joined("product")
    yield "opgegeven begin van de achterstand", _day(date.fromisoformat(str(since))) if since else ""
    yield "opgegeven dagen achterstand", joined("dagen_achterstand")


def _listing(listing: AccessListing) -> Iterator[str]:
    yield f"<h2>{escape(_LISTS[listing.kind])}</h2>"
    yield _facts(
        ("lijst van", listing.partner_name),
        ("ontvangen op", _moment(listing.received_at)),
        ("gemeente", listing.municipality),
        ("reden", str(listing.fields.get("reden", "")).replace("_", " ").lower()),
        ("geldt tot en met", _day(listing.until)),
        ("geldt nog", "" if listing.is_current else "nee, vervangen of beëindigd"),
        *_fields(listing.fields),
        ("wordt bewaard tot en met", _day(listing.due_on)),
    )


def _received(files: Sequence[AccessFile]) -> Iterator[str]:
    if not files:
        return
    yield "<h2>Ontvangen bestanden waarin u staat</h2>"
    yield "<p>Een bestand zoals het is ontvangen, wordt kort en verzegeld bewaard; het bevat ook anderen.</p>"
    yield _list(
        ("aanlevering", "van", "ontvangen op", "wordt bewaard tot en met"),
        (
            (each.delivery_id, each.partner_name, _moment(each.received_at), _day(each.due_on))
            for each in files
        ),
    )
    for each in files:
        for line, cells in each.rows:
            yield f"<h3>{escape(each.delivery_id)}, regel {line}: geen signaal geworden</h3>"
            yield _facts(*((_WORDS.get(name, name), text) for name, text in cells.items()))


def _sent(files: Sequence[AccessDispatch]) -> Iterator[str]:
    if not files:
        return
    yield "<h2>Bestanden die uit deze aanleveringen zijn gemaakt</h2>"
    yield (
        "<p>Deze bestanden zijn gemaakt met signalen van dezelfde aanleveringen. Een bestand voor een schuldeiser "
        "noemt alleen diens eigen signalen.</p>"
    )
    yield _list(
        ("soort", "voor", "gemaakt op", "opgehaald op", "wordt bewaard tot en met"),
        (
            (
                _KINDS.get(each.kind, each.kind.value),
                each.partner_name,
                _moment(each.made_at),
                _moment(each.collected_at) or "nog niet",
                _day(each.due_on),
            )
            for each in files
        ),
    )


def _explanation(access: Access) -> Iterator[str]:
    yield "<h2>Toelichting</h2>"
    yield (
        "<p>Schuldeisers melden betalingsachterstanden aan de gemeente, zodat die vroeg hulp kan aanbieden (Wet "
        "gemeentelijke schuldhulpverlening; Besluit gemeentelijke schuldhulpverlening). De gateway neemt de "
        "signalen aan, voegt ze samen tot meldingen, zet ze door aan de gemeente en koppelt aan elke schuldeiser "
        "terug over zijn eigen signaal. Wie een signaal kreeg of gaf, staat hierboven. De volgorde waarin meldingen "
        "worden opgepakt, is een voorstel; een medewerker beslist.</p>"
    )
    yield (
        f"<p>{escape(access.municipality_name)} is verantwoordelijk voor deze gegevens. Daar kunt u vragen om "
        "verbetering, verwijdering of beperking, en bezwaar maken. Een klacht kan bij de Autoriteit "
        "Persoonsgegevens.</p>"
    )
    yield (
        '<p class="small">Dit overzicht gaat over wat de gateway bewaart voor deze gemeente op het tijdstip van het '
        "antwoord. Wat de gemeente of een schuldeiser zelf bewaart, staat er niet in.</p>"
    )


# -- pieces ----------------------------------------------------------------------------------------


def _facts(*rows: tuple[str, str]) -> str:
    """Names and values; what is empty is left out."""
    lines = "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows if text
    )
    return f"<table>\n{lines}\n</table>"


def _list(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "\n".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f'<table class="list">\n<thead><tr>{names}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>'


def _address(subject: Subject) -> str:
    if not subject.house_number:
        return ""
    house = f"{subject.house_number}{subject.house_letter}"
    return " ".join(filter(None, (subject.postcode, house, subject.house_number_suffix)))


def _melding(signal: AccessSignal) -> str:
    if signal.melding_id is None:
        return ""
    return f"{signal.melding_id}, maand {signal.month}" + (
        f", {signal.klasse.lower()}" if signal.klasse else ""
    )


def _euro(cents: int) -> str:
    euros, rest = divmod(cents, 100)
    return f"€ {euros:,}".replace(",", ".") + f",{rest:02}"


def _day(value: date | None) -> str:
    return "" if value is None else f"{value:%d-%m-%Y}"


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(AMSTERDAM):%d-%m-%Y %H:%M}"


def _yes_no(value: bool) -> str:
    return "ja" if value else "nee"
