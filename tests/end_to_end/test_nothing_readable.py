"""No planted word can be read anywhere under the home folder, at any moment of a file's life (spec 4, promise 1)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from gateway.clock import AMSTERDAM
from gateway.pipeline.sealing import SIGNAL
from gateway.store.tables import SignalRow
from gateway.vault.rows import RowSealer

FILE_NAME = "geheimlijst-zqxjw.csv"
#: column -> what stands in the file
PERSON = {
    "signaal_id": "SIG-ZQXJW-0001",
    "klantnummer": "KLANT7731ZQXJW",
    "product": "ZonneplanZQXJW",
    "voorletters": "Q.Z.X.J.W.",
    "achternaam": "Quispelzwäan-Vörösmarty",
    "geboortedatum": "1957-04-19",
    "straatnaam": "Wonderböomdreef",
    "postcode": "9411ZX",
    "woonplaats": "Zwaanenburghoek",
    "telefoonnummer": "0687654321",
    "emailadres": "q.zwaan@voorbeeld-zqxjw.nl",
}
#: What the gateway makes of them: names as they are compared, dates as they are written elsewhere.
DERIVED = ("quispelzwaan", "QUISPELZW", "19570419", "19-04-1957", "+31687654321", "9411 ZX")
PLANTED = (*PERSON.values(), FILE_NAME, *DERIVED)


def forms(text: str) -> Iterator[tuple[str, bytes]]:
    """Every way in which a text could stand on disk, by name."""
    plain = {
        "utf-8": text.encode(),
        "utf-16-le": text.encode("utf-16-le"),
        "utf-16-be": text.encode("utf-16-be"),
    }
    plain["latin-1"] = text.encode("latin-1")
    yield from plain.items()
    yield "json", json.dumps(text)[1:-1].encode()
    for name in ("utf-8", "utf-16-le", "latin-1"):
        yield f"hex of {name}", plain[name].hex().encode()
        yield f"HEX of {name}", plain[name].hex().upper().encode()
        for shift in range(3):
            for kind, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
                # the characters that depend on nothing but the text, wherever it begins within three bytes
                first, last = -(-shift * 8 // 6), (shift + len(plain[name])) * 8 // 6
                yield f"{kind}+{shift} of {name}", encode(bytes(shift) + plain[name])[first:last]


NEEDLES = sorted({(form, text, needle) for text in PLANTED for form, needle in forms(text)})


def everything(home: Path) -> Iterator[tuple[str, bytes]]:
    """Every file under the home folder, and every file that is deleted but still open in this process."""
    for path in home.rglob("*"):
        if path.is_file():
            # the reserve is 32 MB of zeros: one of them is enough, for a form that ends in one
            yield path.relative_to(home).as_posix(), path.read_bytes().rstrip(b"\0") + b"\0"
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = str(fd.readlink())
        except FileNotFoundError:  # the one that lists
            continue
        if target.endswith(" (deleted)") and target.startswith("/"):
            yield target, fd.read_bytes()


def find(home: Path, log: str = "") -> set[tuple[str, str, str]]:
    """Where a planted word stands: file, form and word."""
    return {
        (name, form, text)
        for name, data in (*everything(home), ("log", log.encode()))
        for form, text, needle in NEEDLES
        if needle in data
    }


async def test_at_no_moment(town, signal, csv_file):
    """In flight, received, processed, published, collected, and purged: not one planted word in any encoding."""
    rows = [
        signal("x", **PERSON | {"huisnummer": "18"}),
        signal(
            "x",
            **PERSON | {"signaal_id": PERSON["signaal_id"] + "-B", "bedrag": "onzin " + PERSON["achternaam"]},
        ),
    ]
    # enough before them that their segments are sealed and on disk while the rest is in flight
    filler = [signal(f"v{number}", huisnummer=number, vulling="x" * 1_000) for number in range(1, 100)]
    content = csv_file(*rows, *filler)
    half = len(content) * 2 // 3
    assert half > 65_536
    looked = []

    def look(moment):
        assert find(town.home, town.log.getvalue()) == set(), moment
        looked.append(moment)

    def upload():
        with town.paramiko("woonservice") as client:
            with client.open(f"inbox/{FILE_NAME}", "w") as file:
                file.write(content[:half])
                (blob,) = (town.home / "data" / "vault").iterdir()
                assert blob.stat().st_size >= 65_536
                look("in flight")
                file.write(content[half:])
            look("received")

    with town.gateway.store.exclusive():
        await asyncio.to_thread(upload)
    await town.processed()
    look("processed")
    await town.put("woonservice", "x" + FILE_NAME, csv_file(signal("x", **PERSON | {"bsn": "123456782"})))
    await town.settle()
    look("published")
    boxes = await town.collect("woonservice")
    assert PERSON["signaal_id"].encode() in b"".join(boxes.files.values())
    outbox = await town.collect("middendrenthe")
    assert PERSON["achternaam"].encode() in b"".join(outbox.files.values())
    look("collected")
    town.clock.set(datetime(2027, 5, 4, 2, 30, tzinfo=AMSTERDAM))
    await town.daemon.schedule.run_due()
    assert town.rows(SignalRow) == []
    look("purged")
    assert len(looked) == 6


def test_every_form_is_found(tmp_path):
    """A positive control: each word in each encoding is found in a file, and in one that is deleted but open."""
    for number, (_, _, needle) in enumerate(NEEDLES):
        (tmp_path / str(number)).write_bytes(b"\x00\xff" + needle + b"\x00")
    found = find(tmp_path)
    for number, (form, text, _) in enumerate(NEEDLES):
        assert (str(number), form, text) in found
        (tmp_path / str(number)).unlink()
    with (tmp_path / "open").open("wb+") as file:
        file.write(b"..." + PERSON["achternaam"].encode())
        file.flush()
        (tmp_path / "open").unlink()
        assert {text for _, _, text in find(tmp_path)} == {PERSON["achternaam"]}


@pytest.mark.parametrize("form", sorted({form for form, _, _ in NEEDLES}))
def test_a_form_is_what_it_says(form):
    """A positive control of the forms: an encoder that knows nothing of the test yields what is looked for."""
    text = PERSON["achternaam"]
    needles = {needle for name, planted, needle in NEEDLES if (name, planted) == (form, text)}
    kind, _, codec = form.partition(" of ")
    if not codec:
        written = json.dumps({"naam": text}).encode() if form == "json" else f"; {text};".encode(form)
    else:
        data = b"." * int(kind[-1] if kind[-1].isdigit() else 0) + text.encode(codec) + b"..."
        encoders = {"hex": bytes.hex, "HEX": lambda raw: raw.hex().upper()}
        encoders |= {"base64": base64.b64encode, "base64url": base64.urlsafe_b64encode}
        written = encoders[kind.partition("+")[0]](data)
        written = written.encode() if isinstance(written, str) else written
    assert any(needle in written for needle in needles)


async def test_a_weakened_gateway_is_found_out(town, signal, csv_file, monkeypatch):
    """A positive control through the product: rows stored unsealed are found in the database, in every encoding."""
    await town.put("woonservice", "x.csv", csv_file(signal("x", **PERSON)))
    await town.processed()
    assert find(town.home) == set()
    planted = iter(PLANTED)

    whole = RowSealer.seal

    def seal(self, contents, *, table, **place):
        if table != SIGNAL:
            return whole(self, contents, table=table, **place)
        return b"\0".join(needle for _, needle in forms(next(planted)))

    monkeypatch.setattr(RowSealer, "seal", seal)
    rows = [signal(f"y{number}", huisnummer=number + 1) for number in range(len(PLANTED))]
    with town.gateway.store.exclusive():
        await town.put("woonservice", "y.csv", csv_file(*rows))
    await town.processed()
    found = find(town.home)
    assert {(form, text) for _, form, text in found} == {(form, text) for form, text, _ in NEEDLES}
    assert {name.partition("-")[0] for name, _, _ in found} == {"data/gateway.db"}
