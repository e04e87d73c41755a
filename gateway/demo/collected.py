"""What the partners have after the demo: read from the files that they collected, nothing else."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.demo.cast import MUNICIPALITIES
from gateway.demo.client import Client

Line = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What one creditor got back."""

    files: int
    #: the receipts' sums, by their Dutch names
    sums: Mapping[str, int]
    #: F codes of refused files
    refused: Sequence[str]
    #: codes of rejected rows and of warnings
    remarks: Mapping[str, int]
    #: signaalstatus: code -> how many
    statuses: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one municipality found in its outbox, by the last version of each melding."""

    files: int
    signals: int
    meldingen: int
    lapsed: int
    visits: int
    klassen: Mapping[str, int]
    rules: Mapping[str, int]


def returned(client: Client) -> Returned:
    """A creditor's receipts and statuses, added up."""
    receipts = [_json(path) for path in sorted(client.received.glob("ontvangst_*.json"))]
    sums: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    for receipt in receipts:
        sums.update(receipt["sommen"])
        remarks.update(entry["code"] for kind in ("afgekeurd", "waarschuwingen") for entry in receipt[kind])
    lines = (line for path in client.received.glob("signaalstatus_*.csv") for line in _csv(path))
    return Returned(
        files=len(receipts),
        sums=sums,
        refused=sorted(receipt["weigering"]["code"] for receipt in receipts if receipt["weigering"]),
        remarks=remarks,
        statuses=Counter(line["code"] for line in lines),
    )


def found(collectors: Sequence[Client]) -> dict[str, Found]:
    """Municipality code -> what its partner found in the outbox."""
    return {municipality.code: _found(collectors, municipality.code) for municipality in MUNICIPALITIES}


def outbox(collectors: Sequence[Client], municipality: str) -> list[Path]:
    """The files with meldingen of a municipality, in the order in which they were made."""
    paths = [
        path for client in collectors for path in client.received.glob(f"meldingen_{municipality}_*.csv")
    ]
    return sorted(paths, key=lambda path: int(path.stem.rpartition("_")[2]))


def lines(path: Path) -> list[Line]:
    """The lines of a file, by column."""
    return list(_csv(path))


def signal_numbers(collectors: Sequence[Client]) -> set[str]:
    """Every `signaalnummer` that a municipality has."""
    return {
        line["signaalnummer"]
        for client in collectors
        for path in client.received.glob("meldingen_*.csv")
        for line in _csv(path)
        if line["signaalnummer"]
    }


def wrong_manifests(collectors: Sequence[Client]) -> tuple[int, list[str]]:
    """How many manifests there are, and the files that differ from theirs in size, digest or lines."""
    paths = [path for client in collectors for path in client.received.glob("*.manifest.json")]
    wrong = []
    for path in paths:
        manifest = _json(path)
        file = path.with_name(manifest["name"])
        data = file.read_bytes()
        told = manifest["bytes"], manifest["sha256"]
        # of a certificate the rows are what it tells of
        rows = len(lines(file)) if file.suffix == ".csv" else manifest["rows"]
        if (*told, manifest["rows"]) != (len(data), hashlib.sha256(data).hexdigest(), rows):
            wrong.append(file.name)
    return len(paths), wrong


def _found(collectors: Sequence[Client], municipality: str) -> Found:
    paths = outbox(collectors, municipality)
    latest: dict[str, Line] = {}
    numbers: set[str] = set()
    for path in paths:
        for line in _csv(path):
            latest[line["melding_id"]] = line
            numbers.add(line["signaalnummer"])
    klassen = Counter(line["klasse"] for line in latest.values())
    return Found(
        files=len(paths),
        signals=len(numbers - {""}),
        meldingen=len(latest),
        lapsed=klassen["VERVALLEN"],
        visits=sum(line["voorstel_actie"] == "Huisbezoek" for line in latest.values()),
        klassen=klassen,
        rules=Counter(rule for line in latest.values() for rule in line["matchregels"].split("+") if rule),
    )


def _csv(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        yield from csv.DictReader(text, delimiter=";")


def _json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document
