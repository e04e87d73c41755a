"""The whole way of a file: upload, receipt, outbox, statuses, in the order in which partners see them."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta

from gateway.clock import AMSTERDAM


async def test_two_creditors_make_a_match(town, signal, csv_file):
    """Two creditors report one address: each gets a receipt and D10, the municipality one melding with a rank."""
    await town.put("woonservice", "huur.csv", csv_file(signal("w1"), signal("w2", huisnummer=26)))
    await town.put("dezorgkas", "zorg.csv", csv_file(signal("z1", sector="Zorg", bedrag="200,00")))
    await town.settle()
    rent, care = await town.collect("woonservice"), await town.collect("dezorgkas")
    assert rent.receipt["bestand"]["naam"] == "huur.csv"
    assert (rent.receipt["resultaat"], rent.receipt["sommen"]["signalen"]) == ("verwerkt", 2)
    assert (rent.statuses, care.statuses) == ([("w1", "D10"), ("w2", "D10")], [("z1", "D10")])
    boxes = await town.collect("middendrenthe")
    (rows,) = boxes.published
    assert [(row["partner"], row["klasse"], row["matchregels"], row["rang"]) for row in rows] == [
        ("woonservice", "MATCH", "MEERVOUDIG", "1"),
        ("dezorgkas", "MATCH", "MEERVOUDIG", "1"),
        ("woonservice", "ENKELVOUDIG", "", ""),
    ]
    assert {row["totaalbedrag"] for row in rows} == {"800,00", "600,00"}
    (manifest,) = boxes.manifests
    data = boxes.files[f"outbox/{manifest['name']}"]
    assert (manifest["sha256"], manifest["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (await town.collect("dronten")).files == {}
    town.check_blobs()


async def test_a_temporary_name_waits_for_its_rename(town, signal, csv_file):
    """A file under a temporary name is nobody's until its RENAME: then it gets its receipt, once."""
    await town.put("woonservice", "huur.csv.filepart", csv_file(signal("w1")))
    await town.settle()
    assert (await town.collect("woonservice")).files == {}
    done = await town.sftp("woonservice", "rename inbox/huur.csv.filepart inbox/huur.csv", "ls inbox")
    assert (done.status, "filepart" in done.out.split("sftp> ls inbox")[1]) == (0, False)
    await town.settle()
    boxes = await town.collect("woonservice")
    assert boxes.receipt["bestand"]["naam"] == "huur.csv"
    assert boxes.statuses == [("w1", "D10")]


async def test_a_change_is_the_second_version(town, signal):
    """W in a later file gives the melding `versie` 2 with the new amount under the same ids, and no new status."""
    await town.deliver("woonservice", signal("w1"))
    await town.settle()
    change = signal("w1", mutatie="W", bedrag="700,00")
    boxes = await town.send("woonservice", change, name="wijziging.csv")
    assert [receipt["sommen"]["wijzigingen"] for receipt in boxes.receipts] == [0, 1]
    await town.settle()
    ((before,), (after,)) = (await town.collect("middendrenthe")).published
    assert (before["versie"], before["bedrag"]) == ("1", "600,00")
    assert (after["versie"], after["bedrag"], after["totaalbedrag"]) == ("2", "700,00", "700,00")
    assert (before["melding_id"], before["signaalnummer"]) == (after["melding_id"], after["signaalnummer"])
    assert (await town.collect("woonservice")).statuses == [("w1", "D10")]


async def test_a_withdrawal_lapses_the_melding(town, signal):
    """I in a later file: D52 to the creditor, VERVALLEN to the municipality, one line without a signal."""
    await town.deliver("woonservice", signal("w1"))
    await town.settle()
    boxes = await town.send("woonservice", {"signaal_id": "w1", "mutatie": "I"} | _needed(), name="weg.csv")
    assert boxes.receipts[-1]["sommen"]["intrekkingen"] == 1
    assert boxes.statuses == [("w1", "D10"), ("w1", "D52")]
    await town.settle()
    ((before,), (after,)) = (await town.collect("middendrenthe")).published
    assert (after["melding_id"], after["versie"], after["klasse"]) == (before["melding_id"], "2", "VERVALLEN")
    assert {after["signaalnummer"], after["partner"], after["achternaam"]} == {""}
    again = await town.send(
        "woonservice", {"mutatie": "I", "signaal_id": "w1"} | _needed(), name="nog eens.csv"
    )
    assert [row["code"] for row in again.receipts[-1]["afgekeurd"]] == ["V14"]


async def test_a_change_and_a_withdrawal_before_publication(town, signal):
    """Several files before a publication: the municipality sees only what holds at the end."""
    await town.deliver("woonservice", signal("w1"), signal("w2", huisnummer=26))
    await town.deliver("woonservice", signal("w1", mutatie="W", bedrag="50,00"), name="w.csv")
    await town.deliver("woonservice", {"signaal_id": "w2", "mutatie": "I"} | _needed(), name="i.csv")
    await town.settle()
    (line,) = (await town.collect("middendrenthe")).lines
    assert (line["versie"], line["bedrag"], line["aantal_signalen"]) == ("1", "50,00", "1")
    assert (await town.collect("woonservice")).statuses == [("w2", "D52"), ("w1", "D10")]


async def test_the_same_row_again_changes_nothing(town, signal):
    """D50: the same row in another file is a duplicate on the receipt, and nothing is published."""
    row = signal("w1", signaaldatum="2026-11-03")
    await town.deliver("woonservice", row)
    await town.settle()
    boxes = await town.send("woonservice", row, signal("w2", huisnummer=26), name="nog eens.csv")
    assert boxes.receipts[-1]["sommen"] | {"signalen": 1, "dubbel": 1} == boxes.receipts[-1]["sommen"]
    assert boxes.statuses == [("w1", "D10"), ("w1", "D50")]
    await town.settle()
    assert [len(rows) for rows in (await town.collect("middendrenthe")).published] == [1, 1]


async def test_a_newer_signal_supersedes(town, signal):
    """D51: the same debt under another id replaces the older signal in the same melding."""
    await town.deliver("woonservice", signal("w1", klantnummer="k"))
    await town.settle()
    await town.deliver("woonservice", signal("w2", klantnummer="k", bedrag="650,00"), name="nieuwer.csv")
    await town.settle()
    assert (await town.collect("woonservice")).statuses == [("w1", "D10"), ("w1", "D51"), ("w2", "D10")]
    ((before,), (after,)) = (await town.collect("middendrenthe")).published
    assert (before["melding_id"], "2", "650,00") == (
        after["melding_id"],
        after["versie"],
        after["totaalbedrag"],
    )
    assert before["signaalnummer"] != after["signaalnummer"]


async def test_a_repeat_in_the_next_month_is_told(town, signal):
    """D11 and `herhaald`: the same debt in the next month, at an address that was reported before."""
    await town.deliver("woonservice", signal("w1", klantnummer="k"))
    await town.settle()
    town.clock.step(timedelta(days=30))
    await town.daemon.schedule.run_due()
    await town.deliver("woonservice", signal("w2", klantnummer="k"), name="december.csv")
    await town.settle()
    assert (await town.collect("woonservice")).statuses == [("w1", "D10"), ("w2", "D11")]
    line = (await town.collect("middendrenthe")).lines[-1]
    assert (line["maand"], line["herhaald"], line["opeenvolgend"]) == ("2026-12", "J", "J")


async def test_where_a_signal_does_not_go(town, signal):
    """D40 for an address that lies in two municipalities, D41 for one that nobody serves; both are accepted rows."""
    boxes = await town.send(
        "woonservice",
        signal("w1"),
        signal("w2", postcode=_shared_postcode(town), huisnummer=1),
        signal("w3", postcode="8881BA", huisnummer=1),
    )
    assert boxes.statuses == [("w2", "D40"), ("w3", "D41")]
    assert (boxes.receipt["sommen"]["signalen"], boxes.receipt["afgekeurd"]) == (3, [])
    await town.settle()
    assert [line["aantal_signalen"] for line in (await town.collect("middendrenthe")).lines] == ["1"]


async def test_a_municipality_served_later(closed_town, signal):
    """A signal that got D41 is taken when it is sent again after a partner serves its municipality."""
    town = closed_town
    await town.start()
    row = signal("w1", postcode="8881BA", huisnummer=1, signaaldatum="2026-11-03")
    assert (await town.send("woonservice", row)).statuses == [("w1", "D41")]
    town.add_partner("terschelling", "--role", "municipality", "--serves", "GM0093")
    await town.restart()
    await town.deliver("woonservice", row, name="nog eens.csv")
    await town.settle()
    boxes = await town.collect("woonservice")
    assert boxes.statuses == [("w1", "D41"), ("w1", "D10")]
    assert [receipt["sommen"]["wijzigingen"] for receipt in boxes.receipts] == [0, 1]
    (line,) = (await town.collect("terschelling")).lines
    assert (line["gemeentecode"], line["achternaam"]) == ("GM0093", "Bakker")


async def test_ids_that_the_gateway_makes(closed_town, signal, csv_file):
    """`defaults.signaal_id = "auto"`: a file without ids; the same debt again is the same signal, changed."""
    town = closed_town
    town.edit("partners/vitens.toml", '# signaal_id = "auto"', 'signaal_id = "auto"')
    await town.start()
    row = signal("-", sector="Water", klantnummer="k1")
    del row["signaal_id"]
    await town.put("vitens", "een.csv", csv_file(row, row | {"huisnummer": "26"}))
    await town.settle()
    ((first, code), (second, _)) = (await town.collect("vitens")).statuses
    assert (len(first), first[0], code) == (27, "A", "D10")
    assert first != second
    await town.put("vitens", "twee.csv", csv_file(row | {"bedrag": "750,00"}, row | {"huisnummer": "26"}))
    await town.settle()
    boxes = await town.collect("vitens")
    sums = boxes.receipts[-1]["sommen"]
    assert (sums["wijzigingen"], sums["dubbel"], sums["signalen"]) == (1, 1, 0)
    (changed,) = (await town.collect("middendrenthe")).published[-1]
    assert (changed["versie"], changed["bedrag"]) == ("2", "750,00")


async def test_a_crisis_goes_out_alone_and_at_once(closed_town, signal):
    """With a cron line a crisis is published at once with its address's signals; the others wait for their hour."""
    town = closed_town
    town.edit("municipalities/GM1731.toml", 'when = "arrival" ', 'when = "0 7 * * 1-5" ')
    await town.start()
    await town.deliver("woonservice", signal("w1"), signal("w2", huisnummer=26))
    assert (await town.collect("middendrenthe")).files == {}
    await town.deliver("dezorgkas", signal("z1", sector="Zorg", crisissignaal="J"))
    (rows,) = (await town.collect("middendrenthe")).published
    assert sorted(row["partner"] for row in rows) == ["dezorgkas", "woonservice"]
    assert {(row["matchregels"], row["rang"], row["uiterlijk_aanbod"]) for row in rows} == {
        ("MEERVOUDIG+CRISIS", "1", "2026-11-06")
    }
    assert (await town.collect("woonservice")).statuses == [("w1", "D10")]
    town.clock.set(datetime(2026, 11, 4, 6, 59, tzinfo=AMSTERDAM))
    await town.settle()
    assert len((await town.collect("middendrenthe")).published) == 1
    town.clock.set(datetime(2026, 11, 4, 7, 0, tzinfo=AMSTERDAM))
    await town.settle()
    (_, (waited,)) = (await town.collect("middendrenthe")).published
    assert (waited["huisnummer"], waited["klasse"], waited["rang"]) == ("26", "ENKELVOUDIG", "")
    assert (await town.collect("woonservice")).statuses == [("w1", "D10"), ("w2", "D10")]


async def test_publication_follows_its_cron_line(closed_town, signal):
    """`when` as a cron line: what arrives on Friday after seven is published on Monday at seven, together."""
    town = closed_town
    town.edit("municipalities/GM1731.toml", 'when = "arrival" ', 'when = "0 7 * * 1-5" ')
    await town.start()
    town.clock.set(datetime(2026, 11, 6, 9, 0, tzinfo=AMSTERDAM))
    await town.deliver("woonservice", signal("w1"))
    town.clock.set(datetime(2026, 11, 8, 12, 0, tzinfo=AMSTERDAM))
    await town.deliver("dezorgkas", signal("z1", sector="Zorg"))
    await town.settle()
    assert (await town.collect("middendrenthe")).files == {}
    town.clock.set(datetime(2026, 11, 9, 7, 0, tzinfo=AMSTERDAM))
    await town.settle()
    (rows,) = (await town.collect("middendrenthe")).published
    assert [row["matchregels"] for row in rows] == ["MEERVOUDIG", "MEERVOUDIG"]


async def test_each_municipality_gets_its_own(town, signal):
    """One file for two municipalities: each finds its own signals in its own outbox and no other's."""
    await town.deliver("woonservice", signal("w1"), signal("w2", postcode="8251AA", huisnummer=1))
    await town.settle()
    for partner, code, number in (("middendrenthe", "GM1731", "18"), ("dronten", "GM0303", "1")):
        (line,) = (await town.collect(partner)).lines
        assert (line["gemeentecode"], line["huisnummer"]) == (code, number)


async def test_a_creditor_never_learns_of_others(town, signal, csv_file):
    """What a creditor gets back is, byte for byte but for ids, the same whether others reported the address or not."""
    await town.put("stroomhuis", "alleen.csv", csv_file(signal("s", sector="Energie", huisnummer=26)))
    await town.put("woonservice", "samen.csv", csv_file(signal("w", huisnummer=18)))
    for number, creditor, sector in ((1, "dezorgkas", "Zorg"), (2, "vitens", "Water")):
        await town.put(creditor, "x.csv", csv_file(signal(f"x{number}", sector=sector, huisnummer=18)))
    await town.settle()
    assert {line["klasse"] for line in (await town.collect("middendrenthe")).lines} == {
        "MATCH",
        "ENKELVOUDIG",
    }
    alone, together = await town.collect("stroomhuis"), await town.collect("woonservice")
    assert _told(alone, "s", "alleen.csv") == _told(together, "w", "samen.csv")
    others = (
        "dezorgkas",
        "vitens",
        "stroomhuis",
        "MEERVOUDIG",
        "MATCH",
        "ENKELVOUDIG",
        "rang",
        "aantal_partners",
    )
    for name, data in together.files.items():
        assert not [word for word in others if word in data.decode() + name], name


def _told(boxes, signal_id, name):
    """Every return file with the creditor's own particulars taken out."""
    told = {}
    for path, data in boxes.files.items():
        text = data.decode("utf-8-sig").replace(name, "NAME")
        text = re.sub(rf"\b(k-)?{signal_id}\b", "ID", text)
        text = re.sub(r"L[0-9A-Z]{16}|[0-9a-f]{64}|bytes.*|T[0-9:+]+", "#", text)
        told[re.sub(r"L[0-9A-Z]{16}", "#", path)] = text
    return told


def _needed():
    """The columns that a header needs, empty as in a withdrawal."""
    needed = ("sector", "klantnummer", "achternaam", "postcode", "huisnummer", "bedrag", "sociaal_incasso")
    return dict.fromkeys((*needed, "ontstaansdatum"), "")


def _shared_postcode(town):
    """A postcode whose four digits lie in two municipalities."""
    four = next(four for four, codes in town.context.pc4.items() if len(codes) > 1)
    return f"{four}AB"
