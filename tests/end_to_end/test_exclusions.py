"""Exclusions and known residents through SFTP: who sends what, and who reads what of it."""

from __future__ import annotations


async def test_excluded_and_known_residents(closed_town, signal):
    """Codes on the receipt, D30 to the creditor and no line for the municipality; known residents with their ground."""
    town = closed_town
    policy = town.home / "config/municipalities/GM1731.toml"
    with policy.open("a") as file:
        file.write('\n[known_residents]\nlegal_basis = "Beleidsplan 2026, par. 4"\n')
    await town.start()
    resident = signal("w1")
    address = {
        name: str(resident[name]) for name in ("postcode", "huisnummer", "achternaam", "geboortedatum")
    }

    def listed(until="2027-03-31", **values):
        return address | {"uitsluiten_tot": until, "reden": "IN_TRAJECT", "mutatie": "N"} | values

    boxes = await town.send(
        "middendrenthe",
        listed(),
        listed("2027-11-04"),
        listed(""),
        listed("2027-06-01", achternaam="", geboortedatum=""),
        listed(mutatie="W"),
        listed("", postcode="1011AB", mutatie="I"),
        name="uitsluitingen.csv",
    )
    assert boxes.receipt["sommen"] == {"regels": 6, "uitsluitingen": 1, "beeindigingen": 0, "afgekeurd": 5}
    assert [(each["regel"], each["kolom"], each["code"]) for each in boxes.receipt["afgekeurd"]] == [
        (3, "uitsluiten_tot", "V17"),
        (4, "uitsluiten_tot", "V17"),
        (5, "uitsluiten_tot", "V17"),
        (6, "mutatie", "V15"),
        (7, "postcode", "V16"),
    ]
    await town.deliver("woonservice", resident, signal("w2", huisnummer=100, achternaam="Smit"))
    await town.settle()
    assert (await town.collect("woonservice")).statuses == [("w1", "D30"), ("w2", "D10")]
    assert [line["achternaam"] for line in (await town.collect("middendrenthe")).lines] == ["Smit"]
    boxes = await town.send(
        "middendrenthe", address | {"bekend_tot": "2027-01-31"}, name="bekende inwoners.csv"
    )
    assert boxes.receipts[-1]["sommen"] == {"regels": 1, "bekende_inwoners": 1, "afgekeurd": 0}
