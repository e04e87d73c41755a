"""`wissen_<verzoek_id>.txt`: what of a request to destroy waits until a legal hold is lifted (spec 4, WISSEN).

No personal data: the municipality knows its request by its own number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from gateway.clock import AMSTERDAM


def render_erasure(
    *, number: str, received_at: datetime, done_at: datetime, kept_by: Sequence[tuple[str, str, date]]
) -> bytes:
    """The note in Dutch.

    Args:
        number: `verzoek_id`, the municipality's own.
        received_at: when the request was received.
        done_at: when all else was gone.
        kept_by: id, grounds and review day of each hold that keeps something of it.
    """
    lines = [
        f"VERZOEK {number} (WISSEN, AVG artikel 17)",
        "",
        f"Ontvangen op {_moment(received_at)}, uitgevoerd op {_moment(done_at)}.",
        "",
        "Een deel van de gegevens valt onder een bewaarplicht en is nog niet vernietigd:",
        "",
        *(
            f"- bewaring {hold_id}, grondslag {grounds}, te heroverwegen voor {review_on.isoformat()}"
            for hold_id, grounds, review_on in kept_by
        ),
        "",
        "Dat deel is afgeschermd: het wordt nergens meer voor gebruikt en aan niemand meer geleverd.",
        "U ziet het nog wel in het antwoord op een inzageverzoek.",
        "Zodra de bewaring is opgeheven, wordt het bij de eerstvolgende nachtelijke vernietiging vernietigd.",
        "De verklaring van vernietiging noemt dan dit verzoek. U hoeft daarvoor niets te doen.",
        "De rest is vernietigd; dat staat op de verklaring van dit moment.",
    ]
    return ("\n".join(lines) + "\n").encode()


def _moment(at: datetime) -> str:
    return f"{at.astimezone(AMSTERDAM):%d-%m-%Y %H:%M}"
