"""What a resident's file holds never reaches the log, in neither of its forms, whatever happens to the file."""

from __future__ import annotations

import asyncio
import io

import pytest

from gateway import logs

#: In the file's name, its rows, and what a client asks for.
PLANTED = (
    "Quispelzwaan",
    "quispelzw",
    "7731ZQX",
    "zqxjw",
    "0687654321",
    "1957-04-19",
    "9411ZX",
    "Wonderboom",
    "123456782",
)


@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_name_reaches_the_log(town, signal, csv_file, form):
    """A good file, a refused one, rows with errors, a cut upload, a download in part, a stranger, a purge: not one word."""
    log = io.StringIO()
    logs.set_up(json=form == "json", level="DEBUG", stream=log)
    person = {
        "achternaam": "Quispelzwaan",
        "klantnummer": "K7731ZQX",
        "geboortedatum": "1957-04-19",
        "postcode": "9411ZX",
        "straatnaam": "Wonderboomdreef",
        "telefoonnummer": "0687654321",
    }
    good = csv_file(
        signal("s1", **person),
        signal("s2-zqxjw", **person | {"bedrag": "onzin Quispelzwaan", "huisnummer": "9411ZX"}),
    )
    await town.put("woonservice", "lijst-zqxjw.csv", good)
    await town.put(
        "woonservice", "lijst-zqxjw-2.csv", csv_file(signal("s3", **person | {"bsn": "123456782"}))
    )
    await town.put("woonservice", "Quispelzwaan.exe", b"MZ Quispelzwaan")
    await town.sftp("woonservice", "get inbox/Quispelzwaan.csv", "mkdir Wonderboomdreef", "ls zqxjw")
    await town.sftp("Quispelzwaan", "ls", key="woonservice")

    def cut() -> None:
        with town.paramiko("woonservice") as client:
            file = client.open("inbox/cut-zqxjw.csv", "w")
            file.write(good)
            client.get_channel().get_transport().close()

    await asyncio.to_thread(cut)
    await town.settle()

    def peek() -> None:
        with town.paramiko("middendrenthe") as client:
            names = client.listdir("outbox")
            with client.open(f"outbox/{names[0]}") as file:
                file.read(10)

    await asyncio.to_thread(peek)
    assert (await town.collect("middendrenthe")).lines
    assert (await town.collect("woonservice")).receipts
    await town.stop()
    text = log.getvalue()
    for event in (
        "upload.ended",
        "delivery.processed",
        "delivery.rejected",
        "meldingen.published",
        "session.ended",
    ):
        assert event in text
    for state in ("arrived", "aborted", "collected", "read in part"):
        assert state in text
    assert "login.failed" in text
    assert [word for word in PLANTED if word.casefold() in text.casefold()] == []
    assert "[not written]" not in text
