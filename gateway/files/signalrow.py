"""One row of a signal file: a Signal, a Withdrawal, or why it is neither (spec 2, Signal file and Row outcomes).

All that is wrong with a row is told at once, one code for each column.

Withdrawals: an I row is read no further than its `signaal_id`. Where ids are automatic (`defaults.signaal_id = "auto"`)
a row is known by what its id is made of, so an I row is there as complete as any other and becomes a Signal with
`Mutation.WITHDRAW` and no id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from typing import Any, NamedTuple

from gateway.domain.partner import Partner
from gateway.domain.signal import SECTORS, Mutation, RowError, RowWarning, Signal, SignalType, Withdrawal
from gateway.files import formats
from gateway.files.columns import ARREARS, NEEDED, SIGNAL_COLUMNS
from gateway.files.layout import Layout, missing_columns

#: What a row becomes; errors are one for each column.
ParsedRow = Signal | Withdrawal | tuple[RowError, ...]

#: How far before its receipt a signal may be dated (spec 2, `signaaldatum`).
MOST_DAYS_OLD = timedelta(days=62)
#: A date of birth further back is a typing error.
MOST_YEARS_OLD = 120

#: Text in, value out; None when it is not one.
_Read = Callable[[str], object]

_SIGNAL_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LETTER = re.compile(r"[A-Za-z]")
_MUTATIONS: Mapping[str, Mutation] = {mutation.value: mutation for mutation in Mutation}
_SIGNAL_TYPES: Mapping[str, SignalType] = {kind.value: kind for kind in SignalType}
_SECTORS: Mapping[str, str] = {sector.lower(): sector for sector in SECTORS}
_SUPPLIES = frozenset({"Energie", "Water"})


#: Read for its V08; Signal has no such field, as it is always true.
_SOCIAL_COLLECTION = "social_collection"


def _text(longest: int) -> _Read:
    return lambda text: text if len(text) <= longest and not formats.is_midnight(text) else None


class Column(NamedTuple):
    """How a column is read: the field of Signal it fills, its reader, and the code when that reads nothing."""

    field: str
    read: _Read
    code: str
    #: whether its values come again and again, so that each is read once
    comes_again: bool = False


#: Lengths of names and addresses are those of DDAS vroegsignalering.
COLUMNS: Mapping[str, Column] = {
    "signaal_id": Column("signal_id", lambda text: text if _SIGNAL_ID.fullmatch(text) else None, "V10"),
    "sector": Column("sector", lambda text: _SECTORS.get(text.lower()), "V06", comes_again=True),
    "product": Column("product", _text(20), "V10", comes_again=True),
    "klantnummer": Column("customer_number", _text(35), "V10"),
    "achternaam": Column("surname", _text(200), "V10", comes_again=True),
    "postcode": Column("postcode", formats.read_postcode, "V02"),
    "huisnummer": Column("house_number", formats.read_house_number, "V03", comes_again=True),
    "bedrag": Column("amount_cents", formats.read_amount, "V04"),
    "ontstaansdatum": Column("arrears_since", formats.read_date, "V05", comes_again=True),
    "dagen_achterstand": Column("days_in_arrears", formats.read_days, "V15", comes_again=True),
    "sociaal_incasso": Column(
        _SOCIAL_COLLECTION, lambda text: formats.read_yes_no(text) or None, "V08", comes_again=True
    ),
    "mutatie": Column("mutation", lambda text: _MUTATIONS.get(text.upper()), "V15", comes_again=True),
    "signaaltype": Column(
        "signal_type", lambda text: _SIGNAL_TYPES.get(text.upper()), "V15", comes_again=True
    ),
    "crisissignaal": Column("is_crisis", formats.read_yes_no, "V15", comes_again=True),
    "signaaldatum": Column("signalled_on", formats.read_date, "V05", comes_again=True),
    "voorletters": Column("initials", _text(20), "V10", comes_again=True),
    "voorvoegsel": Column("infix", _text(200), "V10", comes_again=True),
    "geboortedatum": Column("born_on", formats.read_date, "V05", comes_again=True),
    "straatnaam": Column("street", _text(200), "V10", comes_again=True),
    "huisletter": Column(
        "house_letter", lambda text: text.upper() if _LETTER.fullmatch(text) else None, "V03"
    ),
    "huisnummertoevoeging": Column("house_number_suffix", _text(4), "V10"),
    "woonplaats": Column("city", _text(200), "V10", comes_again=True),
    "telefoonnummer": Column("phone", formats.read_phone, "V15"),
    "emailadres": Column("email", formats.read_email, "V15"),
    "warme_overdracht": Column("warm_handover", formats.read_yes_no, "V15", comes_again=True),
    "gemeentecode": Column("municipality", formats.read_municipality, "V15", comes_again=True),
    "datum_einde_levering": Column("supply_ends_on", formats.read_date, "V05", comes_again=True),
}

#: Fields of Signal that a row may leave empty.
_EMPTY: Mapping[str, Any] = {
    "mutation": Mutation.NEW,
    "signal_id": None,
    "product": "",
    "house_letter": "",
    "house_number_suffix": "",
    "arrears_since": None,
    "days_in_arrears": None,
    "signal_type": SignalType.EARLY_SIGNAL,
    "is_crisis": False,
    "signalled_on": None,
    "initials": "",
    "infix": "",
    "born_on": None,
    "street": "",
    "city": "",
    "phone": "",
    "email": "",
    "warm_handover": False,
    "municipality": "",
    "supply_ends_on": None,
}


#: Texts of a column whose values are remembered: more are those of a file that has too many to remember.
_REMEMBERED = 5_000


class _Once(dict[str, object]):
    """A reader that reads each valid text once."""

    def __init__(self, read: _Read) -> None:
        self._read = read

    def __missing__(self, text: str) -> object:
        value = self._read(text)
        if value is not None and len(self) < _REMEMBERED:
            self[text] = value
        return value


class _Place(NamedTuple):
    """A column of this file: where it stands, and how it is read."""

    column: str
    place: int
    field: str
    read: _Read


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """What all rows of one file are read by; made by `rules_for`."""

    layout: Layout
    sectors: tuple[str, ...]
    received_on: date
    field_chars: int
    places: tuple[_Place, ...]
    #: fields of Signal before the row is read: empty, or the partner's constant
    constants: Mapping[str, Any]
    #: what is wrong with the partner's constants
    constant_faults: Mapping[str, str]
    #: columns that the row itself must fill
    needed: frozenset[str]
    #: whether the row must fill ontstaansdatum or dagen_achterstand
    needs_arrears: bool


def rules_for(layout: Layout, partner: Partner, received_on: date, field_chars: int) -> RowRules:
    """The rules of one file.

    Args:
        layout: of the file's columns.
        partner: who sent it.
        received_on: the day of receipt in the Netherlands.
        field_chars: characters that a field may have at most.
    """
    constants, faults = dict(_EMPTY), {}
    for name, text in layout.defaults.items():
        if name in COLUMNS:
            value = _reader(name, partner)(text)
            constants[COLUMNS[name].field] = value
            if value is None:
                faults[name] = COLUMNS[name].code
    return RowRules(
        layout=layout,
        sectors=partner.sectors,
        received_on=received_on,
        field_chars=field_chars,
        places=tuple(_place(column, place, _reader(column, partner)) for column, place in layout.places),
        constants=constants,
        constant_faults=faults,
        needed=frozenset(NEEDED).difference(layout.defaults, {"signaal_id"} if layout.automatic_ids else ()),
        needs_arrears=not layout.defaults.keys() & set(ARREARS),
    )


def _reader(column: str, partner: Partner) -> _Read:
    """How a column of a partner's file is read: sectors that only it has are known too (spec 2, `sector`)."""
    if column != "sector" or set(partner.sectors) <= set(SECTORS):
        return COLUMNS[column].read
    sectors = {sector.lower(): sector for sector in (*SECTORS, *partner.sectors)}
    return lambda text: sectors.get(text.lower())


def _place(column: str, place: int, read: _Read) -> _Place:
    how = COLUMNS[column]
    return _Place(column, place, how.field, _Once(read).__getitem__ if how.comes_again else read)


def parse_row(line: int, fields: Sequence[str] | None, rules: RowRules) -> ParsedRow:
    """Read one row: its physical line, and its cells or None when the line can't be read as a row.

    Raises:
        DeliveryError: F02, when the file lacks columns that only withdrawals can do without.
    """
    layout = rules.layout
    if fields is None or has_surplus(fields, layout.width):
        return (RowError(line=line, signal_id="", column="", code="V10"),)
    if len(fields) < layout.width:
        fields = [*fields, *[""] * (layout.width - len(fields))]
    faults = dict(rules.constant_faults)
    whole = "".join(fields)
    if not (whole.isascii() and whole.isprintable() and len(whole) <= rules.field_chars):
        fields = _clean(fields, rules, faults)
    values, sent = dict(rules.constants), {}
    for column, place, field, read in rules.places:
        text = fields[place].strip()
        if text:
            sent[column] = text
            value = read(text)
            if value is None:
                faults[column] = COLUMNS[column].code
            else:
                values[field] = value

    if "mutatie" not in faults:
        if values["mutation"] is Mutation.WITHDRAW and not layout.automatic_ids:
            return _withdrawal(line, values, faults)
        if layout.missing:
            raise missing_columns(layout.missing)
    _check_filled(sent, faults, rules)
    _check_together(values, faults, rules)
    if faults:
        return tuple(
            RowError(line=line, signal_id=values["signal_id"] or "", column=column, code=faults[column])
            for column in SIGNAL_COLUMNS
            if column in faults
        )
    del values[_SOCIAL_COLLECTION]
    return Signal(line=line, content=_content(sent), **values)


def warning_of(signal: Signal) -> RowWarning | None:
    """W01, when the customer number passes the BSN's test."""
    if not formats.looks_like_bsn(signal.customer_number):
        return None
    return RowWarning(line=signal.line, signal_id=signal.signal_id or "", column="klantnummer", code="W01")


def has_surplus(fields: Sequence[str], width: int) -> bool:
    """Whether more fields are filled than the header has: its values stand in the wrong columns."""
    return len(fields) > width and any(field.strip() for field in fields[width:])


def _clean(fields: Sequence[str], rules: RowRules, faults: dict[str, str]) -> list[str]:
    """The fields with what can't be used in our columns made empty and blamed (V10)."""
    cleaned = list(fields)
    for column, place, _, _ in rules.places:
        text = clean_text(fields[place].strip(), rules.field_chars)
        cleaned[place] = text or ""
        if text is None:
            faults[column] = "V10"
    return cleaned


def clean_text(text: str, most_chars: int) -> str | None:
    """Composed text (NFC) with plain spaces; None when too long or with control, bidi or other invisible characters.

    U+FFFD stands for what could not be decoded: a name that lost a letter is no name.
    """
    if len(text) > most_chars:
        return None
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        text = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    return text if text.isprintable() and "\ufffd" not in text else None


def _withdrawal(line: int, values: Mapping[str, Any], faults: Mapping[str, str]) -> ParsedRow:
    signal_id = values["signal_id"]
    if signal_id is None:
        code = faults.get("signaal_id", "V01")
        return (RowError(line=line, signal_id="", column="signaal_id", code=code),)
    return Withdrawal(line=line, signal_id=signal_id)


def _check_filled(sent: Mapping[str, str], faults: dict[str, str], rules: RowRules) -> None:
    """V01."""
    if not rules.needed <= sent.keys():
        for column in rules.needed.difference(sent):
            faults.setdefault(column, "V01")
    if rules.needs_arrears and "ontstaansdatum" not in sent and "dagen_achterstand" not in sent:
        has_only_days = not rules.layout.has("ontstaansdatum") and rules.layout.has("dagen_achterstand")
        if faults.keys().isdisjoint(ARREARS):
            faults["dagen_achterstand" if has_only_days else "ontstaansdatum"] = "V01"


def _check_together(values: dict[str, Any], faults: dict[str, str], rules: RowRules) -> None:
    """What needs more than one cell, or the partner, or the day of receipt: V03, V07, V11, V12, V15."""
    sector = values.get("sector")
    if sector is not None and sector not in rules.sectors:
        faults.setdefault("sector", "V07")
    if values["signal_type"] is SignalType.END_OF_SUPPLY:
        values["is_crisis"] = True
        if sector is not None and sector not in _SUPPLIES:
            faults["signaaltype"] = "V15"
        if values["supply_ends_on"] is None:
            faults.setdefault("datum_einde_levering", "V12")
    if (house := values.get("house_number")) is not None:
        place_house(house, values, faults)
    received_on, signalled_on = rules.received_on, values["signalled_on"]
    if signalled_on is not None and not received_on - MOST_DAYS_OLD <= signalled_on <= received_on:
        faults["signaaldatum"] = "V11"
    since = values["arrears_since"]
    if since is not None and since > (signalled_on or received_on):
        faults["ontstaansdatum"] = "V11"
    born_on = values["born_on"]
    if born_on is not None and not (
        received_on.year - MOST_YEARS_OLD <= born_on.year and born_on <= received_on
    ):
        faults["geboortedatum"] = "V11"


def place_house(house: formats.HouseNumber, values: dict[str, Any], faults: dict[str, str]) -> None:
    """Number, letter and addition. What stands behind the number counts where its own column is empty."""
    values["house_number"] = house.number
    for field, written in (("house_letter", house.letter), ("house_number_suffix", house.suffix)):
        if written and values[field]:
            faults["huisnummer"] = "V03"
        elif written:
            values[field] = written


def _content(sent: dict[str, str]) -> bytes:
    """The row as sent, for `Signal.content`: name and text of every filled column but `mutatie`, by name.

    Order, spelling of headers, encoding, ignored columns and defaults make no difference; how a value is written does
    (`850` is not `850,00`). No value holds the separator, as control characters are refused. `mutatie` says what to do
    with the row, not what it is: an N may so be compared with a version that came as a W.
    """
    sent.pop("mutatie", None)
    return "\x1f".join(chain.from_iterable(sent.items())).encode()
