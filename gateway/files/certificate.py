"""`verklaring_<nr>.json` and `.txt`: a certificate of destruction for programs and for people (spec 4).

Both say the same, and both are signed.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from hashlib import sha256
from textwrap import wrap

from gateway.clock import AMSTERDAM
from gateway.domain.approval import Approval
from gateway.domain.certificate import Certificate, Destroyed, Kind
from gateway.domain.hold import AWAITING
from gateway.files.approval import title

LEGAL_GROUND = "Archiefbesluit 1995, artikel 8"
ERASURE_GROUND = "AVG, artikel 17"

#: What became of a key in one copy of the keyring.
DESTROYED, UNCONFIRMED = "vernietigd", "niet bevestigd"

NO_MANDATE = "geen mandaat in het dossier"

METHODS = {
    "kluis": "verzegeld bestand verwijderd, map weggeschreven, afwezigheid nagezien",
    "database": "rijen overschreven en verwijderd (secure_delete), daarna VACUUM en een lege WAL",
    "sleutels": "gegevenssleutel verwijderd; dagsleutel vernietigd in elke kopie, afwezigheid nagezien: ook in "
    "reservekopieën zonder de map keys/ is de inhoud daarmee onleesbaar",
}

NOT_COVERED = (
    "kopieën die partners zelf hebben gemaakt of opgehaald",
    "reservekopieën waarin ook de map keys/ is opgenomen",
    "momentopnamen onder het bestandssysteem, wisselgeheugen en geheugendumps van de machine",
    "open kolommen in reservekopieën van voor deze vernietiging (willekeurige nummers, partner, codes, maand, bedrag, "
    "data): zij verwijzen naar niemand bij naam",
    "de grafsteen die blijft: nummer, partner, aantallen, data en controlegetal van de versleutelde inhoud",
)

_WIDTH = 100


def render_json(certificate: Certificate) -> bytes:
    """The whole certificate as JSON."""
    made = certificate
    value = {
        "soort": "verklaring van vernietiging",
        "grondslag": LEGAL_GROUND,
        "nummer": made.number,
        "status": _status(made),
        "redenen": list(made.problems),
        "opgemaakt_op": _instant(made.made_at),
        _party_word(made): {"code": made.party, "naam": made.party_name},
        "mandaat": _mandate_json(made),
        "beleid": {"versie": made.policy_version},
        "periode": {"van": _day(_first(made)), "tot_en_met": _day(_last(made))},
        "uitgevoerd": {
            "run": made.run_id,
            "van": _instant(made.began_at),
            "tot": _instant(made.made_at),
            "node": made.node,
            "gateway": made.version,
        },
        "vernietigd": [_item_json(item) for item in made.items],
        "sleutels": [
            {
                "id": key,
                "kopieen": [{"kopie": copy, "resultaat": _result(made, key, copy)} for copy in made.copies],
            }
            for key in made.keys
        ],
        "wijze": METHODS,
        "compactie": {
            "bytes_voor": made.compaction.bytes_before,
            "bytes_na": made.compaction.bytes_after,
            "wal_bytes": made.compaction.wal_bytes,
            "seconden": made.compaction.seconds,
            "busy": int(made.compaction.busy),
            "reden": made.compaction.reason,
        },
        "verzoeken": [
            {
                "grondslag": ERASURE_GROUND,
                "verzoek_id": each.number,
                "ontvangen_op": _instant(each.received_at),
                "in_reservekopieen_tot_en_met": _day(each.backups_until),
                "wacht_op_opheffing_van": list(each.waits_for),
            }
            for each in made.erasures
        ],
        "uitgezonderd_wegens_bewaarplicht": [
            {
                "bewaring": each.hold_id,
                "grondslag": each.grounds,
                "heroverwegen_voor": _day(each.review_on),
                "onderdelen": each.objects,
            }
            for each in made.held
            if each.grounds != AWAITING
        ],
        "uitgezonderd_tot_goedkeuring": [
            {"bewaring": each.hold_id, "onderdelen": each.objects}
            for each in made.held
            if each.grounds == AWAITING
        ],
        "nooit_opgehaald": [item.object_id for item in made.items if item.never_collected],
        "goedgekeurd_door": [_approval_json(each) for each in made.approvals],
        "logboek": {"index": made.log.index, "checkpoint": made.log.checkpoint},
        "niet_omvat": list(NOT_COVERED),
        "ondertekenaar": made.public_key,
    }
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def render_text(certificate: Certificate) -> bytes:
    """The certificate in Dutch, to read and to print."""
    made = certificate
    never = [item.object_id for item in made.items if item.never_collected]
    lines = [
        "VERKLARING VAN VERNIETIGING",
        f"({LEGAL_GROUND})",
        "",
        *_pairs(
            ("Nummer", made.number),
            ("Status", _status(made)),
            (_party_word(made).capitalize(), f"{made.party_name} ({made.party})"),
            ("Mandaat", _mandate_text(made)),
            ("Beleid", f"versie {made.policy_version}"),
            ("Periode", f"vervallen van {_day(_first(made))} tot en met {_day(_last(made))}"),
            (
                "Uitgevoerd",
                f"{_moment(made.began_at)} tot {_moment(made.made_at)}, run {made.run_id}, {made.node}",
            ),
            ("Goedgekeurd", _approved_text(made)),
            ("Uitgezonderd", f"{_objects(made)}, zie hieronder" if made.held else "niets"),
        ),
        "",
        *_section("Waarom onvolledig", [f"- {reason}" for reason in made.problems]),
        *_section("Op verzoek vernietigd, voor zijn dag", _erasures(made)),
        *_section("Goedgekeurd", [line for each in made.approvals for line in _approval_lines(each)]),
        *_section("Uitgezonderd: over zijn dag, en nog niet vernietigd", _held(made)),
        *_section("Vernietigd", _table(made)),
        *_section("Sleutels", _keys(made)),
        *_section("Wijze", [f"- {medium}: {how}" for medium, how in METHODS.items()]),
        *_section("Compactie van de database", [_compaction(made)]),
        *_section("Nooit opgehaald", [f"- {', '.join(never)}" if never else "- geen"]),
        *_section("Niet omvat", [f"- {what}" for what in NOT_COVERED]),
        *_section("Controlegetallen", _digests(made)),
        *_section(
            "Logboek",
            [
                f"Regel {made.log.index} van het logboek vermeldt deze vernietiging. Controlepunt:",
                "",
                *(f"    {line}" for line in made.log.checkpoint.rstrip("\n").split("\n")),
            ],
        ),
        *_section(
            "Echtheid",
            [
                "Bij dit bestand hoort een handtekening (.sig). Controleer haar met:",
                "    ssh-keygen -Y verify -f allowed_signers -I gateway -n verklaring@gateway -s BESTAND.sig < BESTAND",
                "allowed_signers bevat:",
                f'    gateway namespaces="verklaring@gateway" {made.public_key}',
            ],
        ),
    ]
    return ("\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n").encode()


# -- parts of the JSON form ------------------------------------------------------------------------


def _item_json(item: Destroyed) -> dict[str, object]:
    return {
        "soort": item.kind.value,
        "id": item.object_id,
        "partner": item.partner_id,
        "gemaakt_op" if item.kind is Kind.DISPATCH else "ontvangen_op": _day(item.received_at),
        "vervallen_na": _day(item.due_on),
        "signalen": item.rows,
        "bytes": item.sealed_bytes,
        "sha256": item.sha256.hex(),
        "sleutel": item.key.hex(),
        "sleutel_vernietigd": item.key_destroyed,
        "opgehaald": None if item.kind is not Kind.DISPATCH else not item.never_collected,
    }


def _mandate_json(made: Certificate) -> dict[str, object] | None:
    if not made.mandate.reference:
        return None
    return {
        "kenmerk": made.mandate.reference,
        "datum": _day(made.mandate.given_on),
        "geldig_tot_en_met": _day(made.mandate.until),
        "verlopen": _is_over(made),
    }


def _approval_json(given: Approval) -> dict[str, object]:
    return {
        "verzoek": given.number,
        "onderwerp": given.subject.value,
        "tot_en_met": _day(given.through),
        "sha256": sha256(given.text).hexdigest(),
        "ondertekenaars": [
            {
                "functie": each.principal,
                "sleutel": each.fingerprint,
                "ontvangen_op": _instant(each.at),
            }
            for each in given.signatures
        ],
    }


# -- parts of the text -----------------------------------------------------------------------------


def _table(made: Certificate) -> list[str]:
    head = f"{'soort':<16} {'id':<18} {'partner':<20} {'ontvangen':<10} {'verv. na':<10} {'signalen':>8} {'bytes':>11}"
    lines = [head, "-" * len(head)]
    for item in made.items:
        received, due = _day(item.received_at), _day(item.due_on)
        lines.append(
            f"{item.kind.value:<16} {item.object_id:<18} {item.partner_id:<20.20} {received:<10} {due:<10} "
            f"{item.rows:>8} {item.sealed_bytes:>11}"
        )
    rows = sum(item.rows for item in made.items if item.kind is Kind.ROWS)
    lines += ["", f"Samen {len(made.items)} onderdelen, {rows} signalen."]
    return lines


def _erasures(made: Certificate) -> list[str]:
    return [
        f"- verzoek {each.number} ({ERASURE_GROUND}), ontvangen {_moment(each.received_at)}; reservekopieën bevatten "
        f"het tot en met {_day(each.backups_until)}: zo lang bestaan sleutels die ook van anderen zijn"
        + (
            f"; wat onder bewaring {', '.join(each.waits_for)} valt, wacht op de opheffing daarvan"
            if each.waits_for
            else ""
        )
        for each in made.erasures
    ]


def _held(made: Certificate) -> list[str]:
    return [
        f"- bewaring {each.hold_id} ({each.grounds}): {each.objects} "
        f"{'onderdeel' if each.objects == 1 else 'onderdelen'}"
        + (f", te heroverwegen voor {_day(each.review_on)}" if each.review_on else "")
        for each in made.held
    ]


def _objects(made: Certificate) -> str:
    count = sum(each.objects for each in made.held)
    return "1 onderdeel" if count == 1 else f"{count} onderdelen"


def _keys(made: Certificate) -> list[str]:
    if not made.keys:
        return ["- geen dag- of maandsleutels in deze run"]
    places = ", ".join(
        f"{copy}: {_results(made, [_result(made, key, copy) for key in made.keys])}" for copy in made.copies
    )
    return [f"- {len(made.keys)} sleutels, van elk de kopie in {places}", f"- {', '.join(made.keys)}"]


def _results(made: Certificate, results: list[str]) -> str:
    """The one result that all keys have, or how many of them are destroyed."""
    if len(set(results)) == 1:
        return results[0]
    return f"{results.count(DESTROYED)} van {len(made.keys)} {DESTROYED}, overige {UNCONFIRMED}"


def _digests(made: Certificate) -> list[str]:
    """Digest of the ciphertext and commitment of the key, in the order of the table."""
    return [
        line
        for item in made.items
        for line in (
            f"{item.object_id} {item.kind.value} ({_day(item.due_on)})",
            f"    sha256  {item.sha256.hex() or 'geen'}",
            f"    sleutel {item.key.hex() or 'geen'}{'' if item.key_destroyed or not item.key else ' (dient nog)'}",
        )
    ]


def _compaction(made: Certificate) -> str:
    figures = made.compaction
    return (
        f"{figures.bytes_before} bytes voor, {figures.bytes_after} na; {figures.seconds:.1f} seconden; "
        f"busy = {int(figures.busy)}; WAL {figures.wal_bytes} bytes"
    )


def _mandate_text(made: Certificate) -> str:
    mandate = made.mandate
    if not mandate.reference:
        return NO_MANDATE
    given = f" van {_day(mandate.given_on)}" if mandate.given_on else ""
    until = f", geldig tot en met {_day(mandate.until)}" if mandate.until else ""
    return f"{mandate.reference}{given}{until}{' (verlopen)' if _is_over(made) else ''}"


def _approved_text(made: Certificate) -> str:
    if not made.approvals:
        return "uitgevoerd op grond van het bewaarbeleid; geen afzonderlijke goedkeurders"
    return f"door telkens twee personen, verzoek {', '.join(each.number for each in made.approvals)}"


def _approval_lines(given: Approval) -> list[str]:
    through = f", tot en met {_day(given.through)}" if given.through else ""
    return [
        f"- verzoek {given.number}: {title(given.subject)}{through}; controlegetal van de tekst "
        f"{sha256(given.text).hexdigest()}",
        *(f"    {each.principal}, {each.fingerprint}, {_moment(each.at)}" for each in given.signatures),
    ]


def _pairs(*rows: tuple[str, str]) -> list[str]:
    return [f"{name + ':':<14}{value}" for name, value in rows]


def _section(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    wrapped = [
        part
        for line in lines
        for part in (wrap(line, _WIDTH, subsequent_indent="  ") if line.startswith("- ") else [line])
    ]
    return [title.upper(), "", *wrapped, ""]


# -- words -----------------------------------------------------------------------------------------


def _result(made: Certificate, key: str, copy: str) -> str:
    return UNCONFIRMED if (key, copy) in made.unconfirmed else DESTROYED


def _status(made: Certificate) -> str:
    return "volledig" if made.is_complete else "onvolledig"


def _party_word(made: Certificate) -> str:
    return "gemeente" if made.is_municipality else "partner"


def _is_over(made: Certificate) -> bool:
    return made.mandate.until is not None and made.mandate.until < made.due_before


def _first(made: Certificate) -> date:
    return min(item.due_on for item in made.items)


def _last(made: Certificate) -> date:
    return max(item.due_on for item in made.items)


def _day(value: date | datetime | None) -> str:
    if isinstance(value, datetime):
        value = value.astimezone(AMSTERDAM).date()
    return "" if value is None else value.isoformat()


def _moment(at: datetime) -> str:
    return f"{at.astimezone(AMSTERDAM):%Y-%m-%d %H:%M}"


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
