"""What the rows of one file, and of several, do to a `signaal_id` (spec 3, Words; spec 2, Row outcomes)."""

from __future__ import annotations

import pytest

from gateway.domain.policy import Publish
from gateway.store.tables import SignalRow

ELSEWHERE = {"postcode": "8251AA", "huisnummer": "1"}
NOT_SERVED = {"postcode": "1011AB", "huisnummer": "1"}
NOT_ROUTABLE = {"postcode": "9999ZZ", "huisnummer": "1"}


def sums(receipt):
    """New, changed, withdrawn, rejected, duplicate; their sum is that of all rows."""
    found = receipt["sommen"]
    counts = [found[name] for name in ("signalen", "wijzigingen", "intrekkingen", "afgekeurd", "dubbel")]
    assert sum(counts) == found["regels"]
    return counts


def codes(receipt):
    """Line and code of what was rejected."""
    return [(entry["regel"], entry["code"]) for entry in receipt["afgekeurd"]]


def test_rows_of_one_file_apply_in_line_order(world, row):
    """N, W, W, I, W, I on one id in one file: the W after the I and the second I find it withdrawn."""
    change = row("a", mutatie="W", bedrag="700,00")
    receipt = world.send(
        "woonservice",
        row("a"),
        change,
        row("a", mutatie="W", bedrag="800,00"),
        row("a", mutatie="I"),
        change,
        row("a", mutatie="I"),
    )
    assert sums(receipt) == [1, 2, 1, 2, 0]
    assert codes(receipt) == [(6, "V14"), (7, "V14")]
    assert world.told("woonservice") == [("a", "D52")]
    assert world.publish() == []


def test_a_change_of_what_the_same_file_superseded_is_refused(world, row):
    """An N supersedes an older one higher in its file; W on that one is V14, withdrawing the newer revives nothing."""
    receipt = world.send(
        "woonservice",
        row("a", klantnummer="k"),
        row("b", klantnummer="k"),
        row("a", mutatie="W", klantnummer="k"),
        row("b", mutatie="I"),
    )
    assert sums(receipt) == [2, 0, 1, 1, 0]
    assert codes(receipt) == [(4, "V14")]
    assert world.told("woonservice") == [("a", "D51"), ("b", "D52")]
    assert world.publish() == []


def test_a_change_never_supersedes(world, row):
    """A W that makes two signals the same debt leaves both; the next N of that debt supersedes both."""
    world.send("woonservice", row("a", klantnummer="k"), row("b", klantnummer="other"))
    world.send("woonservice", row("b", mutatie="W", klantnummer="k"))
    assert world.told("woonservice") == []
    assert {line["aantal_signalen"] for line in world.publish()} == {"2"}
    world.send("woonservice", row("c", klantnummer="k"))
    assert ("a", "D51") in (told := world.told("woonservice"))
    assert ("b", "D51") in told


def test_superseding_looks_at_type_product_address_and_month(world, row):
    """Another product, signaaltype, address or month is another debt."""
    same = {"klantnummer": "k", "sector": "Energie"}
    receipt = world.send(
        "stroomhuis",
        row("a", **same),
        row("b", **same, product="Gas"),
        row("c", **same, signaaltype="EINDELEVERING", datum_einde_levering="2026-12-01"),
        row("d", **same, huisletter="B"),
        row("e", **same, signaaldatum="2026-10-30"),
    )
    assert sums(receipt) == [5, 0, 0, 0, 0]
    world.publish()
    assert {code for _, code in world.told("stroomhuis")} <= {"D10", "D11"}


def test_the_same_row_after_a_change(world, row):
    """N as the W said is D50, N as before the W is V09."""
    world.send("woonservice", row("a"))
    world.send("woonservice", row("a", mutatie="W", bedrag="700,00"))
    world.publish()
    world.told("woonservice")
    assert sums(world.send("woonservice", row("a", bedrag="700,00"))) == [0, 0, 0, 0, 1]
    assert world.told("woonservice") == [("a", "D50")]
    receipt = world.send("woonservice", row("a"), row("b"))
    assert codes(receipt) == [(2, "V09")]
    assert [line["klantnummer"] for line in world.publish()] == ["k-a", "k-b"]


def test_only_the_first_n_of_a_file_counts(world, row):
    """Every later N of an id is V13 whatever its content, also after its I; a rejected N does not count."""
    receipt = world.send(
        "woonservice",
        row("a", bedrag="0"),
        row("a"),
        row("a"),
        row("a", mutatie="I"),
        row("a", bedrag="1,00"),
    )
    assert codes(receipt) == [(2, "V04"), (4, "V13"), (6, "V13")]
    assert sums(receipt) == [1, 0, 1, 3, 0]


def test_an_id_that_ended_is_used(world, row):
    """N on a withdrawn or superseded id is V09, also with the same content."""
    world.send("woonservice", row("a"), row("b", klantnummer="k"), row("c", klantnummer="k"))
    world.send("woonservice", row("a", mutatie="I"))
    assert codes(world.send("woonservice", row("a"), row("b", klantnummer="k"))) == [(2, "V09"), (3, "V09")]


@pytest.mark.parametrize("mutation", ["W", "I"])
def test_unknown_ids(world, row, mutation):
    """W and I on an id that another creditor uses is V14."""
    world.send("woonservice", row("a"))
    receipt = world.send("dezorgkas", row("a", sector="Zorg", mutatie=mutation))
    assert codes(receipt) == [(2, "V14")]


def test_a_change_in_place_is_silent(world, row):
    """W within its melding: no new D10, the same signaalnummer, the first receipt for the deadlines."""
    world.send("woonservice", row("a"))
    (before,) = world.publish()
    assert world.told("woonservice") == [("a", "D10")]
    world.go_to(world.today.replace(day=10))
    world.send("woonservice", row("a", mutatie="W", bedrag="700,00"))
    (after,) = world.publish()
    assert world.told("woonservice") == []
    for name in ("melding_id", "signaalnummer", "uiterlijk_aanbod", "terugkoppelen_voor", "signaaldatum"):
        assert after[name] == before[name], name
    assert (after["versie"], after["ontvangen_op"]) == ("2", "2026-11-10")
    assert after["gateway_bewaart_tot"] == "2027-05-10"


@pytest.mark.parametrize(
    "change",
    [{"huisnummer": "20"}, ELSEWHERE, {"signaaldatum": "2026-10-30"}],
    ids=["key", "municipality", "month"],
)
def test_a_change_that_moves_a_signal(world, row, change):
    """W to another key, municipality or month: the old melding lapses or goes on without it, a new one gets it, D10 again."""
    world.send("woonservice", row("a"), row("b"))
    before = world.publish()
    assert world.told("woonservice") == [("a", "D10"), ("b", "D10")]
    world.send("woonservice", row("a", mutatie="W", **change))
    after = {line["klantnummer"]: line for line in world.publish()}
    assert world.told("woonservice") == [("a", "D10")]
    assert after["k-b"]["melding_id"] == before[0]["melding_id"] != after["k-a"]["melding_id"]
    assert (after["k-b"]["versie"], after["k-b"]["aantal_signalen"]) == ("2", "1")
    assert after["k-a"]["versie"] == "1"
    world.send("woonservice", row("b", mutatie="W", **change))
    after = world.publish()
    (lapsed,) = [line for line in after if line["klasse"] == "VERVALLEN"]
    assert (lapsed["melding_id"], lapsed["versie"]) == (before[0]["melding_id"], "3")
    assert {line["aantal_signalen"] for line in after if line is not lapsed} == {"2"}


@pytest.mark.parametrize(("nowhere", "code"), [(NOT_ROUTABLE, "D40"), (NOT_SERVED, "D41")])
def test_a_signal_that_goes_nowhere_acts_as_changed(world, row, nowhere, code):
    """N with the same content on a D40 or D41 id acts as W: it keeps signaaldatum and first receipt."""
    world.send("woonservice", row("a", **nowhere))
    assert world.told("woonservice") == [("a", code)]
    assert codes(world.send("woonservice", row("a", **nowhere, bedrag="1,00"))) == [(2, "V09")]
    world.configure(
        served_by={**world.context.served_by, "GM0363": "gemeente"},
        pc4={**world.context.pc4, "9999": ("GM1731",)},
    )
    world.go_to(world.today.replace(month=12))
    assert sums(world.send("woonservice", row("a", **nowhere))) == [0, 1, 0, 0, 0]
    (line,) = world.publish()
    assert (line["maand"], line["signaaldatum"]) == ("2026-11", "2026-11-03")
    assert line["terugkoppelen_voor"] == "2026-11-17"
    assert world.told("woonservice") == [("a", "D10")]


@pytest.mark.parametrize("nowhere", [NOT_ROUTABLE, NOT_SERVED])
def test_a_signal_that_goes_nowhere_can_be_changed_and_withdrawn(world, row, nowhere):
    """W brings a D40 or D41 signal to a melding and out of it again; I ends it."""
    world.send("woonservice", row("a", **nowhere))
    world.send("woonservice", row("a", mutatie="W"))
    (line,) = world.publish()
    world.told("woonservice")
    receipt = world.send("woonservice", row("a", mutatie="W", **nowhere))
    assert sums(receipt) == [0, 1, 0, 0, 0]
    (lapsed,) = world.publish()
    assert (lapsed["melding_id"], lapsed["klasse"]) == (line["melding_id"], "VERVALLEN")
    world.told("woonservice")
    world.send("woonservice", row("a", mutatie="I"))
    assert world.told("woonservice") == [("a", "D52")]
    assert codes(world.send("woonservice", row("a", mutatie="W", bedrag="1,00"))) == [(2, "V14")]


def test_nothing_is_kept_of_a_signal_for_nobody(world, row):
    """D41: no contents, no amount, no date of the arrears."""
    world.send("woonservice", row("a", **NOT_SERVED, ontstaansdatum="2026-08-01", crisissignaal="J"))
    (held,) = world.rows(SignalRow)
    assert (held["sealed"], held["data_key_id"], held["place_p1"], held["place_as"]) == (None,) * 4
    assert (held["amount_cents"], held["since"], held["is_crisis"]) == (0, held["signalled_on"], False)


def test_an_overdue_signal_takes_part_in_nothing(world, row):
    """After its last day, before the purge: W is V14, N is a new signal, and no melding counts it."""
    world.send("woonservice", row("a"))
    world.publish()
    world.go_to(world.today.replace(year=2027, month=5, day=4), hour=1)
    assert codes(world.send("woonservice", row("a", mutatie="W"))) == [(2, "V14")]
    world.send("woonservice", row("a"))
    (line,) = world.publish()
    assert (line["maand"], line["aantal_signalen"], line["opeenvolgend"]) == ("2027-05", "1", "N")


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "several files"])
def test_however_rows_are_grouped(world, row, apart):
    """The same rows in one file or in several end in the same meldingen."""
    rows = [
        row("a", klantnummer="k"),
        row("b"),
        row("a", mutatie="W", klantnummer="k", huisnummer="20"),
        row("c", klantnummer="k", huisnummer="20"),
        row("b", mutatie="W", bedrag="10,00"),
        row("d"),
        row("d", mutatie="I"),
    ]
    world.policy(publish=Publish(settle_s=60))
    for group in [[each] for each in rows] if apart else [rows]:
        world.send("woonservice", *group)
    lines = {(line["huisnummer"], line["klantnummer"], line["totaalbedrag"]) for line in world.publish_now()}
    assert lines == {("18", "k-b", "10,00"), ("20", "k", "600,00")}
