"""What the header of a partner's file means (spec 2, Reading).

Names are compared by `fold`: case, spaces, `_` and `-` don't count. A partner's own `columns` mapping (own header ->
our column) goes before our names, but never before the forbidden ones: those are looked for in the file's own header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.domain.delivery import Kind
from gateway.domain.partner import Partner
from gateway.domain.signal import RowWarning
from gateway.errors import DeliveryError
from gateway.files.columns import (
    ALIASES,
    ANSWER_COLUMNS,
    ANSWER_REFERENCES,
    ARREARS,
    AUTO,
    FORBIDDEN,
    KIND_COLUMNS,
    LISTING_COLUMNS,
    LISTING_NEEDED,
    NEEDED,
    REQUEST_COLUMNS,
    SIGNAL_COLUMNS,
    WORKLIST_MELDING_COLUMNS,
    WORKLIST_SIGNAL_COLUMNS,
)
from gateway.files.table import fold

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

    @property
    def warnings(self) -> tuple[RowWarning, ...]:
        """W04 for each column that is not read."""
        return tuple(RowWarning(line=0, signal_id="", column=name, code="W04") for name in self.ignored)

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
