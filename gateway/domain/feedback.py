"""What a municipality answers on a signal, and what its creditor may know of that (spec 2, Feedback file, Returns).

A creditor is told of its own signals only, in codes that say nothing of anybody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

#: How long a creditor is asked to suspend collection when the municipality names no day.
SUSPENSION_DAYS = 28
#: Days after a signal was passed on, on which its creditor hears that there is no answer yet (spec 2).
SILENT_DAYS = (14, 28)


class Outcome(StrEnum):
    """The wire's `status` and `eindresultaat`: DDAS vroegsignalering 1.2 literally, and our `Hulp geaccepteerd`."""

    NOT_YET = "Nog niet opgepakt"
    TAKEN_UP = "Opgepakt"
    HELP_ACCEPTED = "Hulp geaccepteerd"
    ADVICE = "(Budget)advies en/of quick fix"
    NO_CONTACT = "Definitief geen contact kunnen krijgen"
    NO_REACTION = "Geen reactie na eerder contact"
    KNOWN = "Inwoner al bekend bij schuldhulpverlening"
    OTHER_TRACK = "Inwoner heeft al een ander lopend traject"
    PAID = "Inwoner heeft zelf al betaald/betalingsregeling getroffen"
    DECEASED = "Inwoner is overleden"
    NO_HELP_WANTED = "Inwoner regelt het zelf/hoeft geen hulp vanuit vroegsignalering"
    OTHER_REASON = "Niet opgepakt: andere reden"
    REPEATED = "Niet opgepakt: herhaalde melding"
    UNJUSTIFIED = "Niet opgepakt: onterecht signaal"
    NO_RESIDENT = "Persoon is geen inwoner (meer) in de gemeente"
    FOLLOW_UP = "Vervolghulp en/of verwijzing"
    FOLLOW_UP_FINANCIAL = "Vervolghulp en/of verwijzing financieel"
    FOLLOW_UP_OTHER = "Vervolghulp en/of verwijzing niet financieel"
    REFERRED = "Verwijzing zonder tussenkomst inwoner"


#: DDAS EnumSignaalstatus, and ours.
STATUSES = frozenset(
    {
        Outcome.NOT_YET,
        Outcome.TAKEN_UP,
        Outcome.HELP_ACCEPTED,
        Outcome.REPEATED,
        Outcome.UNJUSTIFIED,
        Outcome.OTHER_REASON,
        Outcome.DECEASED,
        Outcome.NO_RESIDENT,
        Outcome.KNOWN,
    }
)
#: DDAS EnumEindresultaat.
END_RESULTS = frozenset(Outcome) - {Outcome.NOT_YET, Outcome.TAKEN_UP, Outcome.HELP_ACCEPTED}
#: Said of one person: never of a whole melding.
OF_ONE_PERSON = frozenset({Outcome.DECEASED, Outcome.NO_RESIDENT})


class Contact(StrEnum):
    """The wire's `contactsoort`: DDAS `soort` of a contactpoging."""

    ADMINISTRATIVE = "Administratief"
    APPOINTMENT = "Afspraak op locatie"
    LETTER = "Brief"
    VISIT = "Huisbezoek"
    CARD = "Kaartje"
    MAIL = "Mail"
    UNKNOWN = "Onbekend"
    OTHER = "Overige"
    MESSAGE = "SMS/Whatsapp"
    PHONE = "Telefoon"


class HelpAccepted(StrEnum):
    """When a creditor may know that help was accepted."""

    #: the resident agreed: the row says so
    CONSENT = "consent"
    #: the municipality and its creditors agreed on it
    AGREEMENT = "agreement"
    NEVER = "never"


class FeedbackCode(StrEnum):
    """The wire's codes of a terugkoppeling."""

    TAKEN_UP = "OPGEPAKT"
    HELP_ACCEPTED = "HULP_GEACCEPTEERD"
    FINISHED = "AFGEROND"
    NO_HELP = "GEEN_HULP"
    NOT_REACHED = "NIET_BEREIKT"
    NOT_TAKEN_UP = "NIET_OPGEPAKT"
    NONE_YET = "NOG_GEEN_TERUGKOPPELING"


#: What a municipality can list in `tell`.
TELLABLE = (FeedbackCode.NO_HELP, FeedbackCode.NOT_REACHED)

_TEXTS: Mapping[FeedbackCode, str] = {
    FeedbackCode.TAKEN_UP: "opgepakt",
    FeedbackCode.HELP_ACCEPTED: "hulp geaccepteerd",
    FeedbackCode.FINISHED: "afgehandeld, uitkomst wordt niet gedeeld",
    FeedbackCode.NO_HELP: "inwoner regelt het zelf of hoeft geen hulp",
    FeedbackCode.NOT_REACHED: "inwoner niet bereikt",
    FeedbackCode.NOT_TAKEN_UP: "niet opgepakt: andere reden",
    FeedbackCode.NONE_YET: "nog geen terugkoppeling van de gemeente",
}
#: DDAS lets the creditor know these as they are.
_LITERAL: Mapping[Outcome, str] = {
    Outcome.REPEATED: "niet opgepakt: herhaalde melding",
    Outcome.UNJUSTIFIED: "niet opgepakt: onterecht signaal",
    Outcome.DECEASED: "inwoner is overleden",
    Outcome.NO_RESIDENT: "persoon is geen inwoner (meer) in de gemeente",
}
_HELPED = frozenset({Outcome.HELP_ACCEPTED, Outcome.ADVICE, Outcome.FOLLOW_UP, Outcome.FOLLOW_UP_FINANCIAL})
_TELLABLE: Mapping[Outcome, FeedbackCode] = {
    Outcome.NO_HELP_WANTED: FeedbackCode.NO_HELP,
    Outcome.NO_CONTACT: FeedbackCode.NOT_REACHED,
    Outcome.NO_REACTION: FeedbackCode.NOT_REACHED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackPolicy:
    """`[feedback]` of a municipality: what its creditors may know."""

    help_accepted: HelpAccepted = HelpAccepted.CONSENT
    tell: tuple[FeedbackCode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One accepted row of a feedback file. It has a `signal_number`, or else a `melding_id`."""

    line: int
    signal_number: str
    melding_id: str
    outcome: Outcome
    on: date
    contact: Contact | None = None
    reached: bool | None = None
    consents: bool = False
    suspend_until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a municipality answered on one signal.

    `order` is its place among all answers received: the arrival of its file, its line.
    """

    outcome: Outcome
    on: date
    municipality: str = ""
    order: tuple[int, int] = (0, 0)
    consents: bool = False
    suspend_until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a creditor is told: a code with its sentence, and until when to suspend collection."""

    code: FeedbackCode
    text: str
    suspend_until: date | None = None


class News(NamedTuple):
    """What a creditor is told of one signal; `on` is the municipality's `datum`, or the day of silence."""

    told: Told
    on: date


#: Day 14 and day 28 without an answer.
NONE_YET = Told(code=FeedbackCode.NONE_YET, text=_TEXTS[FeedbackCode.NONE_YET])


def latest(answers: Collection[Answer]) -> Answer | None:
    """The answer that counts: the latest `datum`, and of one day the last received (spec 2)."""
    return max(answers, key=lambda each: (each.on, each.order), default=None)


def collapse(answer: Answer, policy: FeedbackPolicy) -> Told | None:
    """What of an answer its creditor is told; None when that is nothing (spec 2, terugkoppeling).

    Why a signal was not taken up is told only where DDAS says so; which help was given never is.
    """
    outcome = answer.outcome
    if outcome is Outcome.NOT_YET:
        return None
    if outcome in _HELPED and _may_know(answer, policy.help_accepted):
        until = answer.suspend_until or answer.on + timedelta(days=SUSPENSION_DAYS)
        return _told(FeedbackCode.HELP_ACCEPTED, until)
    if outcome is Outcome.TAKEN_UP or outcome in _HELPED:
        return _told(FeedbackCode.TAKEN_UP)
    if outcome is Outcome.OTHER_REASON:
        return _told(FeedbackCode.NOT_TAKEN_UP)
    if outcome in _LITERAL:
        return Told(code=FeedbackCode.NOT_TAKEN_UP, text=_LITERAL[outcome])
    code = _TELLABLE.get(outcome)
    return _told(code if code in policy.tell and code is not None else FeedbackCode.FINISHED)


def news(
    before: Collection[Answer], fresh: Collection[Answer], policy_of: Callable[[str], FeedbackPolicy]
) -> News | None:
    """What the creditor may know since fresh answers came; None when that is what it knew before, or nothing.

    `policy_of` gives the policy of a municipality. That of who answered counts: a signal may have moved since.
    """
    was, now = latest(before), latest([*before, *fresh])
    if now is None:
        return None
    told = collapse(now, policy_of(now.municipality))
    known = collapse(was, policy_of(was.municipality)) if was else None
    return None if told is None or told == known else News(told, now.on)


def last_told(answers: Collection[Answer], policy_of: Callable[[str], FeedbackPolicy]) -> News | None:
    """The last news of a signal's answers, file after file as they came; None: there was none."""
    before: list[Answer] = []
    last: News | None = None
    ordered = sorted(answers, key=lambda each: each.order)
    for _, file in groupby(ordered, key=lambda each: each.order[0]):
        fresh = list(file)
        last = news(before, fresh, policy_of) or last
        before += fresh
    return last


def concerns_one(persons: Collection[tuple[int | None, int | None]]) -> bool:
    """Whether signals concern one person: places of P1 (surname, date of birth) and of AS (A2, surname).

    A signal without date of birth is that of the others when all bear one surname at one address (spec 2).
    """
    if len(persons) < 2:
        return True
    births = {person for person, _ in persons}
    surnames = {by_surname for _, by_surname in persons}
    if None not in births:
        return len(births) == 1
    return len(births - {None}) < 2 and None not in surnames and len(surnames) == 1


def _may_know(answer: Answer, allowed: HelpAccepted) -> bool:
    return allowed is HelpAccepted.AGREEMENT or (allowed is HelpAccepted.CONSENT and answer.consents)


def _told(code: FeedbackCode, suspend_until: date | None = None) -> Told:
    return Told(code=code, text=_TEXTS[code], suspend_until=suspend_until)
