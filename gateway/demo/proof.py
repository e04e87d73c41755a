"""What the demo proves of itself: each claim is looked at, none is taken on trust."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.audit.checkpoint import load_public_key
from gateway.audit.verify import verify
from gateway.clock import SteppedClock
from gateway.demo import collected
from gateway.demo.client import Client
from gateway.demo.uploads import Upload
from gateway.domain.dispatch import PROOFS, DispatchKind
from gateway.gateway import Gateway
from gateway.retention.due import past_runs
from gateway.store.destruction import files_held

#: How many mail addresses are looked for, beside the surnames.
_MAILS = 2

#: What a purge counts, as far as the demo tells it.
KINDS = (
    "raws",
    "dispatches",
    "signals",
    "meldingen",
    "tokens",
    "data_keys",
    "keys",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Something that must be so, whether it is, and the figures."""

    text: str
    figures: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search for planted words in every byte below a folder."""

    words: int
    files: int
    hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Destruction:
    """What went in which month, by kind, and what is left."""

    #: `YYYY-MM` -> kind -> number
    by_month: dict[str, dict[str, int]]
    left: dict[str, int]
    #: outgoing files that hold no resident: aanleveroverzichten, with their manifests
    reports: int


def planted(uploads: Sequence[Upload]) -> list[str]:
    """Words that stand in the uploads and can't stand anywhere by chance: mail addresses and long surnames."""
    cells = (cell for upload in uploads for cell in upload.data.decode("latin-1").split(";"))
    mails = sorted({cell for cell in cells if cell.endswith("@example.org")})
    return [*mails[:: len(mails) // _MAILS][:_MAILS], *_SURNAMES]


_SURNAMES = ("Tesfamariam", "Bouazzaoui", "Kloosterman", "Wijngaarden")


def search(folder: Path, words: Sequence[str]) -> Search:
    """Look for words in every byte below a folder, in the writings in which they could hide."""
    wanted = {form for word in words for form in _forms(word)}
    files = [path for path in folder.rglob("*") if path.is_file()]
    hits = 0
    for path in files:
        # no writing begins or ends with a zero, and the reserve is 32 MB of them
        data = path.read_bytes().strip(b"\0")
        hits += sum(form in data for form in wanted)
    return Search(words=len(words), files=len(files), hits=hits)


def _forms(word: str) -> Iterator[bytes]:
    """A word in Latin-1 and UTF-8, UTF-16 of either order, hex and base64; a surname also in capitals."""
    for text in {word, word if "@" in word else word.upper()}:
        plain = text.encode("ascii")
        yield plain
        yield text.encode("utf-16-le")[:-1]
        yield plain.hex().encode()
        yield plain.hex().upper().encode()
        # base64 depends on where the word begins: of each way, the part that is always the same
        for before, fixed_from in enumerate((0, 2, 3)):
            coded = base64.b64encode(b"\0" * before + plain)
            yield coded[fixed_from : (before + len(plain)) // 3 * 4]


def destruction(gateway: Gateway) -> Destruction:
    """What the purges let go, and what they left."""
    by_month: dict[str, dict[str, int]] = {}
    for run in reversed(past_runs(gateway.store)):
        counts = by_month.setdefault(f"{run.due_before:%Y-%m}", dict.fromkeys(KINDS, 0))
        for kind in KINDS:
            counts[kind] += run.counts[kind]
    # whatever is held must go at some time: what a purge in ten years would find is what is left, but for the
    # certificates and lists that prove it
    now = gateway.clock.now()
    years_on = replace(gateway, clock=SteppedClock(now.replace(year=now.year + 10)))
    left = {kind: years_on.purge(dry_run=True).counts[kind] for kind in KINDS}
    with gateway.store.read() as conn:
        proofs = files_held(conn, PROOFS)
        reports = files_held(conn, (DispatchKind.DELIVERY_REPORT,))
    left |= {kind: left[kind] - proofs for kind in ("dispatches", "data_keys")}
    left |= {"keys": gateway.purge(dry_run=True).counts["keys"]}
    return Destruction(by_month=by_month, left=left, reports=reports)


def claims(
    gateway: Gateway,
    uploads: Sequence[Upload],
    creditors: Sequence[Client],
    collectors: Sequence[Client],
    *,
    held: Search,
    gone: Search,
    control: Search,
    left: dict[str, int],
) -> list[Claim]:
    """Every claim, looked at; after everything else."""
    back = [collected.returned(client) for client in creditors]
    told = sum(each.sums["regels"] for each in back)
    parts = sum(
        each.sums[part]
        for each in back
        for part in ("signalen", "wijzigingen", "intrekkingen", "afgekeurd", "dubbel")
    )
    refused = sum(len(each.refused) for each in back)
    sent = sum(upload.rows for upload in uploads)
    unread = sent - told
    passed_on = sum(each.statuses.get(code, 0) for each in back for code in ("D10", "D11"))
    numbers = len(collected.signal_numbers(collectors))
    manifests, wrong = collected.wrong_manifests(collectors)
    with gateway.store.read() as conn:
        log = verify(conn, load_public_key(gateway.home.keys), gateway.home.log)
    return [
        Claim(
            text="Every row is accounted for",
            figures=f"{sent:,} sent = {told:,} on receipts + {unread} in files refused",
            holds=told == parts and len(uploads) == sum(each.files for each in back) and unread >= refused,
        ),
        Claim(
            text="What was passed on has arrived",
            figures=f"{passed_on:,} times D10 or D11 = {numbers:,} signaalnummers",
            holds=passed_on == numbers,
        ),
        Claim(
            text="Outbox files are as their manifests say",
            figures=f"{manifests} files: size, SHA-256, rows",
            holds=manifests > 0 and not wrong,
        ),
        Claim(text="No name was readable while held", figures=_searched(held), holds=not held.hits),
        Claim(text="No name is readable now", figures=_searched(gone), holds=not gone.hits),
        Claim(
            text="The same search finds them at the partners",
            figures=f"{control.hits:,} hits in {control.files:,} files",
            holds=control.hits > control.words,
        ),
        Claim(
            text="Nothing that was received is left",
            figures=", ".join(f"{left[kind]} {noun}" for kind, noun in _NOUNS.items()),
            holds=not any(left[kind] for kind in _NOUNS),
        ),
        Claim(
            text="The audit log is whole",
            figures=f"{log.entries:,} entries, each under a signed checkpoint",
            holds=not log.problems and log.unsequenced == 0,
        ),
    ]


#: What was received and what was made of it; lists and certificates of destruction have terms of their own.
_NOUNS = {"raws": "files", "signals": "signals", "meldingen": "meldingen", "tokens": "index tokens"}


def _searched(found: Search) -> str:
    return f"{found.words} words in 7 writings, {found.files:,} files: {found.hits} hits"
