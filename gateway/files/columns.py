"""The wire's column names, once, as data; and what the header of a partner's file means (spec 2).

Names are compared by `fold`: case, spaces, `_` and `-` don't count. A partner's own `columns` mapping (own header ->
our column) goes before our names, but never before the forbidden ones: those are looked for in the file's own header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.domain.delivery import Kind
from gateway.domain.partner import Partner
from gateway.errors import DeliveryError
from gateway.files.table import fold

#: Signal file, creditor -> inbox.
SIGNAL_COLUMNS = (
    "signaal_id",
    "sector",
    "product",
    "klantnummer",
    "achternaam",
    "postcode",
    "huisnummer",
    "bedrag",
    "ontstaansdatum",
    "dagen_achterstand",
    "sociaal_incasso",
    "mutatie",
    "signaaltype",
    "crisissignaal",
    "signaaldatum",
    "voorletters",
    "voorvoegsel",
    "geboortedatum",
    "straatnaam",
    "huisletter",
    "huisnummertoevoeging",
    "woonplaats",
    "telefoonnummer",
    "emailadres",
    "warme_overdracht",
    "gemeentecode",
    "datum_einde_levering",
)

#: Columns that every N and W row needs; beside them `ontstaansdatum` or `dagen_achterstand`.
NEEDED = (
    "signaal_id",
    "sector",
    "klantnummer",
    "achternaam",
    "postcode",
    "huisnummer",
    "bedrag",
    "sociaal_incasso",
)
ARREARS = ("ontstaansdatum", "dagen_achterstand")

#: Other spellings of our columns.
ALIASES: Mapping[str, str] = {"sociale_incasso": "sociaal_incasso"}

#: A file that bears one of these is refused unread (F03).
FORBIDDEN = (
    "bsn",
    "burgerservicenummer",
    "sofinummer",
    "iban",
    "rekeningnummer",
    "nationaliteit",
    "diagnose",
)

#: `defaults.signaal_id` of a partner whose files have no ids of their own.
AUTO = "auto"

#: meldingen_<gemeentecode>_<YYYY-MM>_<seq>.csv, municipality <- outbox; the first part tells of the melding.
MELDING_COLUMNS = (
    "melding_id",
    "versie",
    "gemeentecode",
    "maand",
    "klasse",
    "matchregels",
    "rang",
    "voorstel_actie",
    "aantal_signalen",
    "aantal_partners",
    "aantal_sectoren",
    "totaalbedrag",
    "opeenvolgend",
    "gaten_dichten",
    "meerdere_adressen",
    "uiterlijk_aanbod",
)
MELDING_SIGNAL_COLUMNS = (
    "signaalnummer",
    "partner",
    "partnernaam",
    "sector",
    "product",
    "signaaltype",
    "crisissignaal",
    "signaaldatum",
    "ontvangen_op",
    "bedrag",
    "ontstaansdatum",
    "dagen_achterstand",
    "herhaald",
    "warme_overdracht",
    "klantnummer",
    "voorletters",
    "voorvoegsel",
    "achternaam",
    "geboortedatum",
    "straatnaam",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "postcode",
    "woonplaats",
    "telefoonnummer",
    "emailadres",
    "datum_einde_levering",
    "terugkoppelen_voor",
    "afronden_voor",
    "gateway_bewaart_tot",
)

#: werklijst_<gemeentecode>_<YYYY-MM>.xlsx, municipality <- outbox: its two sheets, in the order in which people work.
#: Header cells have spaces for `_`, so that they wrap. `inwoners` and `adres` are of the signals together; what was
#: answered before (`laatste_…`) stands beside the columns for a new answer.
LAST_ANSWER_COLUMNS = ("laatste_antwoord", "laatste_datum")
NEW_ANSWER_COLUMNS = (
    "status",
    "eindresultaat",
    "datum",
    "contactsoort",
    "bereikt",
    "toestemming_terugkoppeling",
    "opschorten_tot",
)
WORKLIST_MELDING_COLUMNS = (
    "rang",
    "voorstel_actie",
    "uiterlijk_aanbod",
    "inwoners",
    "adres",
    "postcode",
    "woonplaats",
    "totaalbedrag",
    "aantal_signalen",
    "aantal_partners",
    *LAST_ANSWER_COLUMNS,
    *NEW_ANSWER_COLUMNS,
    "klasse",
    "matchregels",
    "aantal_sectoren",
    "opeenvolgend",
    "gaten_dichten",
    "meerdere_adressen",
    "melding_id",
    "versie",
)
WORKLIST_SIGNAL_COLUMNS = (
    "rang",
    "achternaam",
    "voorvoegsel",
    "voorletters",
    "geboortedatum",
    "straatnaam",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "postcode",
    "woonplaats",
    "telefoonnummer",
    "emailadres",
    "voorstel_actie",
    "partnernaam",
    "sector",
    "product",
    "signaaltype",
    "crisissignaal",
    "bedrag",
    "ontstaansdatum",
    "dagen_achterstand",
    "herhaald",
    "warme_overdracht",
    "klantnummer",
    "signaaldatum",
    "ontvangen_op",
    "datum_einde_levering",
    "uiterlijk_aanbod",
    "terugkoppelen_voor",
    "afronden_voor",
    *LAST_ANSWER_COLUMNS,
    *NEW_ANSWER_COLUMNS,
    "signaalnummer",
    "melding_id",
    "partner",
    "gateway_bewaart_tot",
)

#: signaalstatus_<YYYY-MM-DD>_<seq>.csv, creditor <- returns.
STATUS_COLUMNS = ("signaal_id", "klantnummer", "code", "omschrijving", "gemeentecode", "datum")

#: terugkoppeling_<YYYY-MM-DD>_<seq>.csv, creditor <- returns.
FEEDBACK_COLUMNS = (*STATUS_COLUMNS, "opschorten", "opschorten_tot")

#: stand_<YYYY-MM>.csv, creditor <- returns; see gateway.files.statement.
STATEMENT_COLUMNS = (
    *STATUS_COLUMNS,
    "terugkoppeling",
    "terugkoppeling_omschrijving",
    "terugkoppeling_datum",
    "opschorten",
    "opschorten_tot",
)

#: termijnen_<gemeentecode>_<date>.csv, municipality <- outbox; see gateway.files.deadlines.
DEADLINE_COLUMNS = (
    "gemeentecode",
    "melding_id",
    "signaalnummer",
    "klasse",
    "sector",
    "status",
    "datum",
    "terugkoppelen_voor",
    "uiterlijk_aanbod",
    "afronden_voor",
    "eerstvolgende_termijn",
    "eerstvolgende_datum",
    "dagen_over",
    "dagen_te_laat",
)

#: aanleveroverzicht_<gemeentecode>_<YYYY-MM>.csv, municipality <- outbox; see gateway.files.delivery_report.
DELIVERY_REPORT_COLUMNS = (
    "gemeentecode",
    "maand",
    "partner",
    "partnernaam",
    "ontvangen_op",
    "aangenomen",
    "afgekeurd",
    "verwacht_voor",
)

#: Feedback file, municipality -> inbox.
ANSWER_COLUMNS = (
    "signaalnummer",
    "melding_id",
    "status",
    "eindresultaat",
    "datum",
    "contactsoort",
    "bereikt",
    "toestemming_terugkoppeling",
    "opschorten_tot",
)
#: What a feedback row is about: one of these.
ANSWER_REFERENCES = ("signaalnummer", "melding_id")

#: Until when a resident is listed, in a municipality's exclusion file and in its known-residents file.
EXCLUDED_UNTIL = "uitsluiten_tot"
KNOWN_UNTIL = "bekend_tot"
#: Exclusion file and known-residents file, municipality -> inbox; each has its own end date beside these.
LISTING_COLUMNS = (
    "postcode",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "achternaam",
    "geboortedatum",
    "reden",
    "mutatie",
)
#: Columns that every row of either needs.
LISTING_NEEDED = ("postcode", "huisnummer")

#: Request file, municipality -> inbox.
REQUEST_COLUMNS = (
    "avg_verzoek",
    "verzoek_id",
    "achternaam",
    "geboortedatum",
    "postcode",
    "huisnummer",
    "huisletter",
    "huisnummertoevoeging",
    "mutatie",
)

#: The columns that tell a municipality's file, the first that it has.
KIND_COLUMNS: Mapping[str, Kind] = {
    "avg_verzoek": Kind.REQUESTS,
    KNOWN_UNTIL: Kind.KNOWN_RESIDENTS,
    EXCLUDED_UNTIL: Kind.EXCLUSIONS,
    "eindresultaat": Kind.FEEDBACK,
    "status": Kind.FEEDBACK,
}

#: ontvangst_<delivery_id>.csv; see gateway.files.receipt.
RECEIPT_COLUMNS = ("soort", "regel", "signaal_id", "kolom", "code", "omschrijving", "gegeven")

#: Of an unknown column's name, as much as W04 repeats, in characters.
LONGEST_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the columns of one file are.

    `places` are (our column, place in the row), by name. `defaults` are the partner's constants for columns that the
    file lacks. `missing` is not empty only in a file that can still be one of withdrawals: its first other row refuses
    it (F02). `ignored` are the names, as sent, of columns that are not read (W04).
    """

    width: int
    places: tuple[tuple[str, int], ...]
    defaults: Mapping[str, str]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]
    automatic_ids: bool

    def has(self, column: str) -> bool:
        """Whether the file itself bears the column."""
        return any(name == column for name, _ in self.places)


_OURS: Mapping[str, str] = {fold(name): name for name in SIGNAL_COLUMNS} | {
    fold(alias): name for alias, name in ALIASES.items()
}
_ANSWER: Mapping[str, str] = {fold(name): name for name in ANSWER_COLUMNS}
_LISTING: Mapping[str, str] = {fold(name): name for name in LISTING_COLUMNS}
_REQUEST: Mapping[str, str] = {fold(name): name for name in REQUEST_COLUMNS}
_FORBIDDEN: Mapping[str, str] = {fold(name): name for name in FORBIDDEN}
#: What a worklist bears beside its answers: no surprise, and so no W04.
_WORKLIST = frozenset(map(fold, (*WORKLIST_MELDING_COLUMNS, *WORKLIST_SIGNAL_COLUMNS)))
#: The folded names by which the header of a municipality's file is found: ours, and the forbidden ones.
MUNICIPAL_NAMES = frozenset((*_ANSWER, *_LISTING, *_REQUEST, *map(fold, KIND_COLUMNS), *_FORBIDDEN))


def known_names(partner: Partner) -> frozenset[str]:
    """The folded names by which the header of a creditor's file is found: ours, its own, and the forbidden ones."""
    return frozenset((*_OURS, *_FORBIDDEN, *map(fold, partner.columns)))


def recognise(header: Sequence[str], partner: Partner, above: Sequence[str] = ()) -> Layout:
    """What the header of a creditor's signal file means.

    `above` are the cells above it: the name of a forbidden column may be merged over two rows.

    Raises:
        DeliveryError: F03 a forbidden column; F02 a needed column is missing; F01 two columns have one meaning.
    """
    folded = [fold(name) for name in header]
    _refuse_forbidden((*map(fold, above), *folded))
    meanings = _meanings(folded, partner)
    _refuse_repeated(meanings)
    places = {name: place for place, name in enumerate(meanings) if name}
    automatic = "signaal_id" not in places and partner.defaults.get("signaal_id") == AUTO
    defaults = {
        name: value.strip()
        for name, value in partner.defaults.items()
        if name not in places and not (name == "signaal_id" and automatic)
    }
    given = places.keys() | defaults.keys() | ({"signaal_id"} if automatic else set())
    missing = _missing(given)
    if missing and not {"signaal_id", "mutatie"} <= given:
        raise missing_columns(missing)
    return Layout(
        width=len(header),
        places=tuple(sorted(places.items())),
        defaults=defaults,
        missing=missing,
        ignored=_ignored(header, meanings),
        automatic_ids=automatic,
    )


def municipal_kind(header: Sequence[str], above: Sequence[str] = ()) -> Kind:
    """What kind of file a municipality's header is of; `above` as for `recognise`.

    Raises:
        DeliveryError: F03 a forbidden column; F11 it is none that a municipality sends.
    """
    folded = [fold(name) for name in header]
    _refuse_forbidden((*map(fold, above), *folded))
    for name, kind in KIND_COLUMNS.items():
        if fold(name) in folded:
            return kind
    raise DeliveryError("F11")


def recognise_feedback(header: Sequence[str], *, of_worklist: bool = False) -> Layout:
    """What the header of a feedback file, or of a sheet of a worklist that was filled in, means.

    Raises:
        DeliveryError: F02 a needed column is missing; F01 two columns have one meaning.
    """
    layout = _municipal_layout(header, _ANSWER, _WORKLIST if of_worklist else ())
    missing = [] if any(map(layout.has, ANSWER_REFERENCES)) else [" of ".join(ANSWER_REFERENCES)]
    if not layout.has("datum"):
        missing.append("datum")
    if missing:
        raise missing_columns(missing)
    return layout


def recognise_listing(header: Sequence[str], until: str) -> Layout:
    """What the header of an exclusion or known-residents file means; `until` is the column of its end date.

    Raises:
        DeliveryError: F02 a needed column is missing; F01 two columns have one meaning.
    """
    ours = {**_LISTING, fold(until): until}
    layout = _municipal_layout(header, ours)
    if missing := [name for name in (*LISTING_NEEDED, until) if not layout.has(name)]:
        raise missing_columns(missing)
    return layout


def recognise_requests(header: Sequence[str]) -> Layout:
    """What the header of a request file means.

    Raises:
        DeliveryError: F02 a needed column is missing; F01 two columns have one meaning.
    """
    layout = _municipal_layout(header, _REQUEST)
    missing = [name for name in ("avg_verzoek", "verzoek_id") if not layout.has(name)]
    if missing:
        raise missing_columns(missing)
    return layout


def missing_columns(names: Sequence[str]) -> DeliveryError:
    """The refusal of a file that lacks needed columns."""
    return DeliveryError("F02", ", ".join(names))


def person_places(header: Sequence[str], partner: Partner) -> dict[str, int]:
    """Where the columns of a signal file stand in any file of a partner, and `signaalnummer`, as far as it has them."""
    meanings = _meanings([fold(name) for name in header], partner)
    numbers = {place: name for place, name in enumerate(map(fold, header)) if name == "signaalnummer"}
    return {name: place for place, name in enumerate(meanings) if name} | {
        name: place for place, name in numbers.items()
    }


def _municipal_layout(
    header: Sequence[str], ours: Mapping[str, str], expected: Collection[str] = ()
) -> Layout:
    """The layout of a municipality's file: nothing stands in for a column that it lacks.

    Columns of the folded names that are expected are left unread without a word.
    """
    meanings = [ours.get(fold(name), "") for name in header]
    _refuse_repeated(meanings)
    return Layout(
        width=len(header),
        places=tuple(sorted((name, place) for place, name in enumerate(meanings) if name)),
        defaults={},
        missing=(),
        ignored=tuple(name for name in _ignored(header, meanings) if fold(name) not in expected),
        automatic_ids=False,
    )


def _refuse_forbidden(folded: Sequence[str]) -> None:
    if forbidden := [_FORBIDDEN[name] for name in dict.fromkeys(folded) if name in _FORBIDDEN]:
        raise DeliveryError("F03", ", ".join(forbidden))


def _refuse_repeated(meanings: Sequence[str]) -> None:
    if twice := [name for name, count in Counter(filter(None, meanings)).items() if count > 1]:
        raise DeliveryError("F01", f"komt twee keer voor: {', '.join(twice)}")


def _ignored(header: Sequence[str], meanings: Sequence[str]) -> tuple[str, ...]:
    return tuple(_shown(header[place], place) for place, name in enumerate(meanings) if not name)


def _meanings(folded: Sequence[str], partner: Partner) -> list[str]:
    """Our column for each of the file's, empty for one that is ignored. What a partner maps outranks a like name."""
    mapped = {fold(own): _OURS.get(fold(ours), "") for own, ours in partner.columns.items()}
    explicit = {mapped[name] for name in folded if name in mapped}
    meanings = []
    for name in folded:
        ours = mapped[name] if name in mapped else _OURS.get(name, "")
        meanings.append("" if ours in explicit and name not in mapped else ours)
    return meanings


def _missing(given: set[str]) -> tuple[str, ...]:
    missing = [name for name in NEEDED if name not in given]
    if not given.intersection(ARREARS):
        missing.append(" of ".join(ARREARS))
    return tuple(missing)


def _shown(name: str, place: int) -> str:
    """The name of an ignored column, fit for a receipt: printable, not long, never empty."""
    text = "".join(c if c.isprintable() else " " for c in name)
    return " ".join(text.split())[:LONGEST_NAME] or f"(kolom {place + 1})"
