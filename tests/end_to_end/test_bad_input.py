"""Bad input: a clear answer to the partner, nothing lost, nothing processed twice, nobody else affected."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.store import dispatches
from gateway.store.tables import DataKeyRow, Delivery, SignalRow


async def refused(town, csv_file, signal, content, code, name="signalen.csv"):
    """Send a bad file beside another partner's good one: the first is refused as a whole, the second is not."""
    await town.put("woonservice", name, content)
    await town.put("dezorgkas", "goed.csv", csv_file(signal("z1", sector="Zorg")))
    await town.settle()
    boxes = await town.collect("woonservice")
    receipt = boxes.receipt
    assert (receipt["resultaat"], receipt["weigering"]["code"]) == ("geweigerd", code)
    assert (receipt["bestand"]["naam"], receipt["bestand"]["bytes"]) == (name, len(content))
    assert set(receipt["sommen"].values()) == {0}
    assert boxes.statuses == []
    assert sorted(row["state"] for row in town.rows(Delivery)) == ["processed", "rejected"]
    assert [row["partner"] for row in (await town.collect("middendrenthe")).lines] == ["dezorgkas"]
    assert (await town.collect("dezorgkas")).statuses == [("z1", "D10")]
    town.check_blobs()
    return receipt


async def accepted_after(town, csv_file, signal):
    """The partner goes on: a good file is processed as if nothing had happened, once."""
    await town.put("woonservice", "goed.csv", csv_file(signal("w9", huisnummer=26)))
    await town.settle()
    boxes = await town.collect("woonservice")
    assert boxes.receipts[-1]["sommen"]["signalen"] == 1
    assert boxes.statuses[-1] == ("w9", "D10")
    lines = (await town.collect("middendrenthe")).lines
    assert len([line for line in lines if line["huisnummer"] == "26"]) == 1


async def test_a_forbidden_column(town, signal, csv_file):
    """A file with a BSN column is refused unread (F03): blob and data key are gone when the receipt is there."""
    content = csv_file(signal("w1", BSN="123456782"))
    receipt = await refused(town, csv_file, signal, content, "F03")
    assert "bsn" in receipt["weigering"]["toelichting"].lower()
    (row,) = [row for row in town.rows(Delivery) if row["state"] == "rejected"]
    assert row["raw_gone_at"] is not None
    assert not (town.home / "data" / "vault" / row["blob"]).exists()
    assert not [row for row in town.rows(SignalRow) if row["creditor"] == "woonservice"]
    assert "signalen.csv" in (await town.sftp("woonservice", "ls inbox")).out
    await accepted_after(town, csv_file, signal)


async def test_the_key_of_a_forbidden_column(town, signal, csv_file):
    """The data key under which a file with a forbidden column was sealed is in no row any more."""
    with town.gateway.store.exclusive():
        await town.put("woonservice", "signalen.csv", csv_file(signal("w1", BSN="123456782")))
        (delivery,) = town.rows(Delivery)
        before = {key["commitment"] for key in town.rows(DataKeyRow) if key["object_id"] == delivery["id"]}
    await town.settle()
    assert before
    assert before.isdisjoint(key["commitment"] for key in town.rows(DataKeyRow))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
async def test_encodings(town, signal, csv_file, encoding):
    """Windows-1252 and UTF-16 are read for what they are: the municipality reads every name as it was written."""
    names = ["Müller-Łukasz" if encoding == "utf-16" else "Müller-Lukasz", "Özdemir", "d'Hôte", "Citroën €"]
    rows = [
        signal(f"w{number}", achternaam=name, huisnummer=number + 1, straatnaam="Eén Straat")
        for number, name in enumerate(names)
    ]
    await town.put("woonservice", "signalen.csv", csv_file(*rows, encoding=encoding))
    await town.settle()
    assert (await town.collect("woonservice")).receipt["sommen"]["signalen"] == 4
    lines = (await town.collect("middendrenthe")).lines
    assert sorted(line["achternaam"] for line in lines) == sorted(names)
    assert {line["straatnaam"] for line in lines} == {"Eén Straat"}


async def test_half_a_last_line(town, signal, csv_file):
    """A file that ends within its last line is refused whole (F09); sent again, whole, it counts once."""
    content = csv_file(signal("w1"), signal("w2", huisnummer=26))
    await refused(town, csv_file, signal, content[:-40], "F09")
    await town.put("woonservice", "signalen.csv", content)
    await town.settle()
    assert (await town.collect("woonservice")).statuses == [("w1", "D10"), ("w2", "D10")]


async def test_a_row_of_10_mb(town, signal, csv_file):
    """A row of 10 MB is rejected (V10) and costs itself only: the rows around it count."""
    head, first, last = csv_file(signal("w1"), signal("w3", huisnummer=26)).splitlines(keepends=True)
    long = csv_file(signal("w2", achternaam="x" * 10_000_000)).splitlines(keepends=True)[1]
    await town.put("woonservice", "groot.csv", head + first + long + last)
    await town.settle()
    boxes = await town.collect("woonservice")
    assert [(row["regel"], row["code"]) for row in boxes.receipt["afgekeurd"]] == [(3, "V10")]
    assert boxes.statuses == [("w1", "D10"), ("w3", "D10")]


async def test_nul_bytes(town, signal, csv_file):
    """A NUL within a value rejects its row (V10); a file of nothing but NULs is refused (F01)."""
    rows = signal("w1", achternaam="Bak\0ker"), signal("w2", huisnummer=26)
    await town.put("woonservice", "nul.csv", csv_file(*rows))
    await town.settle()
    boxes = await town.collect("woonservice")
    assert [(row["kolom"], row["code"]) for row in boxes.receipt["afgekeurd"]] == [("achternaam", "V10")]
    assert boxes.statuses == [("w2", "D10")]
    await town.put("woonservice", "leeg.csv", bytes(5_000))
    await town.settle()
    assert (await town.collect("woonservice")).receipts[-1]["weigering"]["code"] == "F01"


async def test_a_file_above_the_limit(closed_town, signal, csv_file):
    """The WRITE that passes the limit fails with a sentence; nothing is received, nothing stays on disk."""
    town = closed_town
    town.edit("gateway.toml", '# file = "64 MiB"', 'file = "1 MiB"')
    await town.start()
    done = await town.sftp("woonservice", f"put {town.local(bytes(1_200_000))} inbox/groot.csv", "ls inbox")
    assert done.status == 1

    def write():
        with town.paramiko("woonservice") as client, client.open("inbox/groot.csv", "w") as file:
            for _ in range(40):
                file.write(bytes(32_768))

    with pytest.raises(OSError, match="too large: at most 1048576 bytes"):
        await asyncio.to_thread(write)
    await town.settle()
    assert "groot.csv" not in (await town.sftp("woonservice", "ls inbox")).out
    assert [row["state"] for row in town.rows(Delivery)] == ["aborted", "aborted"]
    assert list((town.home / "data" / "vault").iterdir()) == []
    assert (await town.collect("woonservice")).files == {}
    await accepted_after(town, csv_file, signal)


async def test_the_same_file_twice(town, signal, csv_file):
    """The same bytes again, under another name too, are refused (F08) and count no signal twice."""
    content = csv_file(signal("w1"), signal("w2", huisnummer=26))
    for name in ("signalen.csv", "signalen.csv", "anders.csv"):
        await town.put("woonservice", name, content)
        await town.settle()
    boxes = await town.collect("woonservice")
    assert [(each["weigering"] or {}).get("code") for each in boxes.receipts] == [None, "F08", "F08"]
    assert [each["sommen"]["signalen"] for each in boxes.receipts] == [2, 0, 0]
    assert boxes.statuses == [("w1", "D10"), ("w2", "D10")]
    (rows,) = (await town.collect("middendrenthe")).published
    assert [row["versie"] for row in rows] == ["1", "1"]
    assert len(town.rows(SignalRow)) == 2


async def test_a_refused_file_may_be_sent_again(town, signal, csv_file):
    """Bytes of which nothing was accepted are judged anew: the same answer again, and no F08."""
    for content, code in ((csv_file(signal("w1"))[:-30], "F09"), (csv_file(signal("w1", sector="?")), "V06")):
        before = len((await town.collect("woonservice")).receipts)
        for _ in range(2):
            await town.put("woonservice", "signalen.csv", content)
            await town.settle()
        for receipt in (await town.collect("woonservice")).receipts[before:]:
            assert code in [
                (receipt["weigering"] or {}).get("code"),
                *(e["code"] for e in receipt["afgekeurd"]),
            ]


async def test_another_partner_may_send_the_same_bytes(town, csv_file, signal):
    """The same bytes of two partners are two files: F08 never tells what another sent."""
    content = csv_file(signal("x1", sector="Zorg"))
    for partner in ("dezorgkas", "woonservice"):
        await town.put(partner, "signalen.csv", content)
    await town.settle()
    assert (await town.collect("dezorgkas")).statuses == [("x1", "D10")]
    assert [e["code"] for e in (await town.collect("woonservice")).receipt["afgekeurd"]] == ["V07"]


async def test_a_connection_cut_half_way(town, signal, csv_file):
    """A connection cut at 50 % leaves nothing behind: no receipt, no bytes, no key; sent again the file counts once."""
    content = csv_file(*(signal(f"w{number}", huisnummer=number) for number in range(1, 500)))

    def cut():
        with town.paramiko("woonservice") as client:
            file = client.open("inbox/signalen.csv", "w")
            file.set_pipelined(True)
            file.write(content[: len(content) // 2])
            file.flush()
            client.stat("inbox")  # what came before was received by the gateway
            client.sock.transport.sock.close()

    await asyncio.to_thread(cut)
    await town.until(lambda: [row["state"] for row in town.rows(Delivery)] == ["aborted"])
    await town.until(lambda: list((town.home / "data" / "vault").iterdir()) == [])
    assert town.rows(DataKeyRow) == []
    await town.settle()
    assert (await town.collect("woonservice")).files == {}
    await town.put("woonservice", "signalen.csv", content)
    await town.settle()
    boxes = await town.collect("woonservice")
    assert boxes.receipt["sommen"]["signalen"] == 499
    assert len((await town.collect("middendrenthe")).lines) == 499


async def test_another_partners_key(town, signal, csv_file):
    """A valid key of another partner opens no door, and nothing is received by it."""
    done = await town.sftp("woonservice", "ls", key="dezorgkas")
    assert (done.status, "Permission denied (publickey)" in done.err) == (255, True)
    assert town.rows(Delivery) == []
    await accepted_after(town, csv_file, signal)


async def test_another_partners_names(town, signal, csv_file):
    """What another partner sent or gets can't be seen, read, renamed or removed; the answer is that of no such name."""
    await town.put("dezorgkas", "zorg.csv", csv_file(signal("z1", sector="Zorg")))
    await town.settle()
    theirs = await town.collect("dezorgkas")
    receipt = next(name for name in theirs.files if name.endswith(".json"))
    outbox = next(name for name in (await town.collect("middendrenthe")).files if name.endswith(".csv"))
    deeds = ("-ls -l {0}", "-get {0} x", "-rename {0} inbox/mijn.csv", "-rm {0}")
    for user in ("woonservice", "dronten"):
        for name in ("inbox/zorg.csv", receipt, outbox):
            missing = name.replace(".", "_.")
            done = await town.sftp(user, *(deed.format(name) for deed in deeds))
            absent = await town.sftp(user, *(deed.format(missing) for deed in deeds))
            assert done.err == absent.err.replace(missing, name)
            assert done.err.count("\n") >= len(deeds)
        assert "zorg.csv" not in (await town.sftp(user, "ls inbox")).out
    assert await town.collect("dezorgkas") == theirs
    assert "zorg.csv" in (await town.sftp("dezorgkas", "ls inbox")).out
    assert len(town.rows(Delivery)) == 1


def flip_a_bit(path: Path) -> None:
    """Alter one bit in the middle of a file: neither what is read first nor what ends it."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


async def test_a_received_file_with_one_flipped_bit(town, signal, csv_file):
    """A received file of which a bit flipped on disk is refused whole, asks to be sent again, and then counts once."""
    content = csv_file(*(signal(f"w{number}", huisnummer=number) for number in range(1, 300)))
    with town.gateway.store.exclusive():  # the worker waits, as it does for a command that publishes
        await town.put("woonservice", "signalen.csv", content)
        (row,) = town.rows(Delivery)
        flip_a_bit(town.home / "data" / "vault" / row["blob"])
    await town.put("dezorgkas", "goed.csv", csv_file(signal("z1", sector="Zorg")))
    await town.settle()
    refusal = (await town.collect("woonservice")).receipt["weigering"]
    assert (refusal["code"], "stuur het opnieuw" in refusal["toelichting"]) == ("F01", True)
    assert [line["partner"] for line in (await town.collect("middendrenthe")).lines] == ["dezorgkas"]
    assert "blob.damaged" in town.log.getvalue()
    await town.put("woonservice", "signalen.csv", content)
    await town.settle()
    assert (await town.collect("woonservice")).receipts[-1]["sommen"]["signalen"] == 299


async def test_a_dispatch_with_one_flipped_bit(town, signal, csv_file):
    """An outgoing file of which a bit flipped on disk is refused before its first byte; other files can be read."""
    rows = [signal(f"w{number}", huisnummer=number) for number in range(1, 750)]
    await town.put("woonservice", "signalen.csv", csv_file(*rows))
    await town.settle()
    whole = await town.collect("middendrenthe")
    (name,) = [name for name in whole.files if name.endswith(".csv")]
    assert len(whole.files[name]) > 3 * 65_536  # the damage is in none of the segments that are read first
    with town.gateway.store.read() as conn:
        file = dispatches.named(conn, "middendrenthe", *name.split("/"))
    flip_a_bit(town.home / "data" / "vault" / file.blob)

    def read():
        with town.paramiko("middendrenthe") as client:
            with pytest.raises(OSError, match="can't be read") as refusal:
                client.open(name).read(1)
            return str(refusal.value), client.open(f"{name}.manifest.json").read()

    answer, manifest = await asyncio.to_thread(read)
    assert "incident" in answer
    assert manifest == whole.files[f"{name}.manifest.json"]
    assert "blob.damaged" in town.log.getvalue()
