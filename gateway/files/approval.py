"""`goedkeuring_<nr>.txt`: a request for approval, in the words that two people sign (spec 4, Approvals).

Ids, codes, counts and days: no personal data. The bytes are made once and kept: they are what is signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from textwrap import wrap

from gateway.clock import AMSTERDAM
from gateway.domain.approval import NAMESPACE, Subject

_WIDTH = 90
_INDENT = 26

#: What a request may say, and what it is called in the text; in this order.
_WORDS: Mapping[str, str] = {
    "municipality": "Gemeente",
    "name": "Naam",
    "through": "Vervallen tot en met",
    "until": "Geldig tot en met",
    "key": "Sleutel",
    "day": "Dient tot en met",
    "hold": "Bewaring",
    "grounds": "Grondslag",
    "authority": "Instantie",
    "reference": "Kenmerk",
    "review_on": "Heroverwegen voor",
    "deliveries": "Leveringen",
    "files": "Ontvangen bestanden",
    "signals": "Signalen",
    "answers": "Terugkoppelingen",
    "exclusions": "Uitsluitingen, bekenden",
    "contents": "Inhoud (D30, D40)",
    "dispatches": "Uitgaande bestanden",
    "data_keys": "Gegevenssleutels",
    "tokens": "Zoekmerken",
    "last_at": "Laatste hartslag",
    "now_at": "De klok zegt nu",
}

_TITLES: Mapping[Subject, str] = {
    Subject.BATCH: "vernietiging van wat vervalt",
    Subject.STANDING: "doorlopende vernietiging van wat vervalt",
    Subject.HOLD: "langer bewaren (bewaarplicht)",
    Subject.LIFT: "opheffing van een bewaring",
    Subject.KEY: "vernietiging van een sleutel voor zijn dag",
    Subject.CLOCK: "vernietigen na een sprong van de klok",
}

_EFFECTS: Mapping[Subject, str] = {
    Subject.BATCH: "Alles van deze gemeente waarvan de bewaartermijn uiterlijk op die dag eindigt, wordt na zijn dag "
    "vernietigd, onherstelbaar. Genoemd is wat er bij het maken van dit verzoek was; wat daarna nog binnenkomt en "
    "binnen dezelfde termijn vervalt, valt er ook onder. Wat langer bewaard moet worden, blijft.",
    Subject.STANDING: "Alles van deze gemeente waarvan de bewaartermijn eindigt, wordt van nu af tot en met die dag "
    "telkens na zijn dag vernietigd, onherstelbaar en zonder verder verzoek. Wat langer bewaard moet worden, blijft.",
    Subject.HOLD: "Deze leveringen worden niet op hun dag vernietigd. Na hun dag doen ze nergens meer aan mee; tot de "
    "bewaring is opgeheven, zijn ze alleen nog in te zien.",
    Subject.LIFT: "Deze bewaring eindigt. Van deze leveringen wordt alles waarvan de termijn voorbij is bij de "
    "volgende vernietiging vernietigd, onherstelbaar.",
    Subject.KEY: "Deze sleutel wordt vernietigd voor zijn dag. Alles wat ermee beschermd is, is daarna door niemand "
    "meer te openen, ook niet uit een reservekopie.",
    Subject.CLOCK: "Tussen de laatste hartslag en nu ligt meer dan 26 uur. Met deze goedkeuring geldt de klok als "
    "juist, en wordt alles vernietigd waarvan de termijn volgens die klok voorbij is.",
}


def render_request(
    *, number: str, mark: str, subject: Subject, detail: Mapping[str, str | int], asked_at: datetime
) -> bytes:
    """The text to sign, in UTF-8, each line ended by a line feed.

    Args:
        number: of the request.
        mark: random, so that nobody can sign it before it is made, nor use a signature for another gateway.
        subject: what is asked.
        detail: what it says of that; ids, codes, counts and days.
        asked_at: when it was made.

    Raises:
        ValueError: `detail` has a name that no request knows, or a value that is not printable.
    """
    facts = [
        ("Nummer", number),
        ("Merk", mark),
        ("Onderwerp", f"{_TITLES[subject]} ({subject})"),
        ("Gevraagd op", f"{asked_at.astimezone(AMSTERDAM):%Y-%m-%d %H:%M:%S}"),
        *_facts(detail),
    ]
    lines = [
        "VERZOEK OM GOEDKEURING",
        "",
        *(line for name, value in facts for line in _fact(name, value)),
        "",
        *wrap(_EFFECTS[subject], _WIDTH),
        "",
        "Twee verschillende personen uit config/approvers tekenen dit bestand, ieder met een eigen",
        "sleutel en zonder er iets aan te veranderen:",
        f"    ssh-keygen -Y sign -n {NAMESPACE} -f SLEUTEL {request_name(number)}",
    ]
    return ("\n".join(lines) + "\n").encode()


def request_name(number: str) -> str:
    """`goedkeuring_<nr>.txt`."""
    return f"goedkeuring_{number}.txt"


def title(subject: Subject) -> str:
    """What is asked, in Dutch."""
    return _TITLES[subject]


def _facts(detail: Mapping[str, str | int]) -> Iterator[tuple[str, str]]:
    if unknown := detail.keys() - _WORDS.keys():
        raise ValueError(f"a request for approval says nothing of: {', '.join(sorted(unknown))}")
    for name, word in _WORDS.items():
        if name in detail:
            value = str(detail[name])
            if not value.isprintable():
                raise ValueError(f"{name} of a request for approval is not printable")
            if name in {"day", "through", "until", "review_on"}:
                date.fromisoformat(value)
            yield word, value


def _fact(name: str, value: str) -> Iterator[str]:
    first, *more = wrap(value, _WIDTH - _INDENT) or [""]
    yield f"{name + ':':<{_INDENT}}{first}".rstrip()
    for line in more:
        yield " " * _INDENT + line
