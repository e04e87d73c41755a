"""`intrekking_<delivery_id>.txt`: tells a creditor that a file of theirs was withdrawn (spec 1, When something went wrong)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway.clock import AMSTERDAM


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalNote:
    """What the note says. `name` and `reason` are a person's own text; `name` is empty when it is no longer held.

    `signals` are withdrawn, of which `unnamed` can't be named any more: nothing of their contents is held.
    """

    delivery_id: str
    name: str
    received_at: datetime
    withdrawn_at: datetime
    reason: str
    signals: int
    unnamed: int
    status_file: str


def render_withdrawal(note: WithdrawalNote) -> bytes:
    """The note, as plain text in UTF-8."""
    facts = {
        "Levering": note.delivery_id,
        "Bestand": note.name or "(naam niet meer bewaard)",
        "Ontvangen op": _moment(note.received_at),
        "Ingetrokken op": _moment(note.withdrawn_at),
        "Ingetrokken door": "de beheerder van de gateway",
        "Reden": note.reason,
        "Aantal signalen": str(note.signals),
    }
    lines = [
        "Een bestand van u is ingetrokken",
        "",
        *(f"{name + ':':<18}{value}" for name, value in facts.items()),
        "",
        "Alle signalen die uit dit bestand nog van kracht waren, zijn ingetrokken.",
    ]
    if note.status_file:
        lines.append(f"Ze staan met code D52 in {note.status_file}.")
    if note.unnamed:
        lines.append(f"Van {note.unnamed} ervan wordt de inhoud niet meer bewaard; die staan er niet bij.")
    lines += [
        "Een gemeente die ze had ontvangen, krijgt bericht dat ze vervallen zijn.",
        "Een eerdere versie van een signaal wordt niet opnieuw van kracht.",
        "Wilt u signalen verbeterd aanleveren, gebruik dan een nieuw signaal_id.",
        "",
    ]
    return "\r\n".join(lines).encode()


def _moment(at: datetime) -> str:
    return f"{at.astimezone(AMSTERDAM):%Y-%m-%d %H:%M}"
