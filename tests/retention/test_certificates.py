"""Certificates of destruction, the creditors' lists, the auditor's registers (spec 4, Retention; spec 2)."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.sshsig import NAMESPACE, PRINCIPAL
from gateway.domain.certificate import Mandate
from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import DispatchKind
from gateway.domain.signal import SignalState
from gateway.errors import StoreError
from gateway.retention.due import due
from gateway.retention.ring import Standing, standings
from gateway.retention.shelves import CertificateShelf, RegisterShelf
from gateway.store.retention_tables import CertificateRow, CompactionRow, Destruction
from gateway.store.tables import DataKeyRow, Delivery, Dispatch, SignalRow

#: The class of `conftest.py`.
World = Any

DUE = date(2026, 12, 22)
DAY = timedelta(days=1)
FORMS = ("as_json", "json_signature", "as_text", "text_signature")
GROUNDS = {"GM1731": "Beleidsplan 2026, par. 4"}


def certificates(world: World, party: str) -> list[dict[str, Any]]:
    """The certificates of a party, oldest first."""
    rows = world.certificates()
    return [json.loads(row["as_json"]) for row in rows if row["party"] == party]


def read_csv(data: str | bytes) -> list[dict[str, str]]:
    """The lines of one of our CSV files."""
    text = data.decode() if isinstance(data, bytes) else data
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";"))


def registers(world: World) -> RegisterShelf:
    """The registers, as the daemon shows them."""

    def keys() -> list[Standing]:
        return standings(world.store, world.keyring, world.now, world.terms)

    return RegisterShelf(world.store, world.notary(), world.clock, 14, grounds=GROUNDS, keys=keys)


def let_go(world: World) -> tuple[str, str]:
    """A delivery with two signals and an outgoing file, purged on the night after their last day."""
    delivery_id, dispatch_id = world.deliver(months=1), world.dispatch(months=1)
    world.go_to(DUE + DAY)
    assert world.purge().counts["errors"] == 0
    return delivery_id, dispatch_id


def test_a_certificate_says_all_that_was_destroyed(world: World) -> None:
    """Per delivery its id, days, rows, bytes, digest and key; the keys with each copy; log, compaction, method."""
    commitments = {}
    delivery_id, dispatch_id = world.deliver(months=1), world.dispatch(months=1)
    for key in world.rows(DataKeyRow):
        commitments.setdefault(key["object_id"], set()).add(key["commitment"].hex())
    delivery = world.row(Delivery, delivery_id)
    world.go_to(DUE + DAY)
    world.purge()
    (made,) = certificates(world, "GM1731")
    assert made["nummer"] == "2026-000001"
    assert (made["status"], made["redenen"]) == ("volledig", [])
    assert made["gemeente"] == {"code": "GM1731", "naam": "Midden-Drenthe"}
    assert made["beleid"] == {"versie": "p1"}
    assert made["periode"] == {"van": "2026-12-22", "tot_en_met": "2026-12-22"}
    rows = [item for item in made["vernietigd"] if item["id"] == delivery_id]
    assert sum(item["signalen"] for item in rows) == 2
    assert {item["sleutel"] for item in rows} < commitments[delivery_id]
    assert all(item["sleutel_vernietigd"] for item in rows)
    assert {item["ontvangen_op"] for item in rows} == {"2026-11-22"}
    assert {(item["bytes"], item["sha256"]) for item in rows} == {
        (delivery["sealed_bytes"], delivery["sealed_sha256"].hex())
    }
    (outgoing,) = (item for item in made["vernietigd"] if item["soort"] == "uitgaand")
    assert (outgoing["id"], {outgoing["sleutel"]}) == (dispatch_id, commitments[dispatch_id])
    assert made["nooit_opgehaald"] == [dispatch_id]
    assert {"id": "until-2026-12-22", "kopieen": [{"kopie": "keys", "resultaat": "vernietigd"}]} in made[
        "sleutels"
    ]
    assert (made["compactie"]["busy"], made["compactie"]["wal_bytes"], made["compactie"]["reden"]) == (
        0,
        0,
        "",
    )
    assert made["compactie"]["bytes_voor"] > 0 < made["compactie"]["bytes_na"]
    assert made["goedgekeurd_door"] == made["uitgezonderd_wegens_bewaarplicht"] == []
    assert set(made["wijze"]) == {"kluis", "database", "sleutels"}
    assert made["niet_omvat"]
    # it alone tells them from now on
    assert {(row["sha256"], row["key"]) for row in world.rows(Destruction)} == {(b"", b"")}
    entries = world.audit("purge.verified")
    assert len(entries) == 1
    assert made["logboek"]["checkpoint"].splitlines()[1] == str(made["logboek"]["index"] + 1)


def test_the_received_file_is_on_its_creditors_certificate(world: World) -> None:
    """What was handed on is the municipality's; what only the creditor sent is the creditor's, and so is D41."""
    delivery_id = world.deliver(months=1)
    world.signal(delivery_id, state=SignalState.NOT_CONNECTED, municipality="GM0303", months=1)
    let_go(world)
    (own,) = certificates(world, "woonstichting")
    assert own["partner"] == {"code": "woonstichting", "naam": "Woonstichting"}
    mine = {(item["soort"], item["signalen"]) for item in own["vernietigd"] if item["id"] == delivery_id}
    assert mine == {("bestand", 0), ("signalen", 1)}
    assert [item["soort"] for item in certificates(world, "GM1731")[0]["vernietigd"]].count("bestand") == 0
    assert certificates(world, "GM0303") == []


def test_both_forms_are_signed_and_handed_to_the_municipality(world: World, tmp_path: Path) -> None:
    """ssh-keygen verifies both with the line that lies beside them; the outbox and /audit hold the same bytes."""
    let_go(world)
    letters = world.letters(DispatchKind.CERTIFICATE)
    assert sorted(letters) == [
        f"gemeente-md/verklaring_2026-000001.{form}" for form in ("json", "json.sig", "txt", "txt.sig")
    ]
    shelf = CertificateShelf(world.store, world.notary().signer)
    (tmp_path / "signers").write_bytes(shelf.document(("allowed_signers",), None).data)
    for form in ("json", "txt"):
        name = f"verklaring_2026-000001.{form}"
        content = letters[f"gemeente-md/{name}"].encode()
        assert shelf.document((name,), None).data == content
        (tmp_path / "sig").write_bytes(shelf.document((f"{name}.sig",), None).data)
        command = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            "signers",
            "-I",
            PRINCIPAL,
            "-n",
            NAMESPACE,
            "-s",
            "sig",
        ]
        for said, status in ((content, 0), (content.replace(b"volledig", b"onvolledi"), 255)):
            done = subprocess.run(command, cwd=tmp_path, input=said, capture_output=True, check=False)
            assert done.returncode == status, done.stderr
        assert f'"{form if form == "json" else "text"}":"{sha256(content).hexdigest()}"' in "".join(
            world.audit("certificate.made")
        )
    manifests = {row["name"] for row in world.proofs() if row["kind"] == DispatchKind.MANIFEST}
    assert manifests == {f"verklaring_2026-000001.{form}.manifest.json" for form in ("json", "txt")}
    assert {row["due_on"] for row in world.proofs() if row["partner_id"] == "gemeente-md"} == {
        date(2033, 12, 23)
    }


def test_what_many_certificates_share_is_kept_once(world: World) -> None:
    """Each takes a tenth of what was signed, and is the same again; one that was altered is refused, and said so."""
    world.deliver(months=1)
    for code in range(40):
        world.signal(world.deliver(signals=0, months=1), municipality=f"GM9{code:03}", months=1)
    world.go_to(DUE + DAY)
    world.purge()
    made, rows = world.certificates(), world.rows(CertificateRow)
    assert len(made) == len(rows) == 42
    for each in made:
        assert json.loads(each["as_json"])["nummer"] == each["number"]
        assert each["as_text"].startswith(b"VERKLARING VAN VERNIETIGING\n")
    sizes = [sum(row[f"{name}_bytes"] for name in FORMS) for row in rows]
    assert sum(len(each[name]) for each in made for name in FORMS) == sum(sizes)
    assert 0 < 8 * sum(len(row["packed"]) for row in rows) < sum(sizes)
    with world.store.write() as conn:
        conn.exec_driver_sql("UPDATE certificate SET packed = substr(packed, 1, 99) WHERE base <> ''")
    with pytest.raises(StoreError, match=r"certificate 2026-\d{6} can't be unpacked"):
        world.certificates()


def test_no_personal_data(world: World) -> None:
    """Nothing of a file or a row is in either form, nor in the log."""
    let_go(world)
    for row in world.certificates():
        for form in (row["as_json"], row["as_text"]):
            assert b"Geheimnaam" not in form
            assert b"S-1" not in form


@pytest.mark.parametrize(
    ("mandate", "said", "over"),
    [
        (Mandate(), "geen mandaat in het dossier", None),
        (Mandate(reference="B&W 2026-118", given_on=date(2026, 3, 1)), "B&W 2026-118 van 2026-03-01", False),
        (
            Mandate(reference="B&W 2026-118", until=date(2026, 11, 30)),
            "B&W 2026-118, geldig tot en met 2026-11-30 (verlopen)",
            True,
        ),
    ],
)
def test_the_mandate_is_printed(world: World, mandate: Mandate, said: str, over: bool | None) -> None:
    """Destruction happens without one too, and the certificate says that none was on file."""
    world.mandates["GM1731"] = mandate
    let_go(world)
    (made,) = certificates(world, "GM1731")
    (row,) = (row for row in world.certificates() if row["party"] == "GM1731")
    assert f"Mandaat:      {said}\n" in row["as_text"].decode()
    assert (made["mandaat"] and made["mandaat"]["verlopen"]) == over


def test_a_creditor_gets_a_list_of_what_went(world: World) -> None:
    """One line a delivery, for thirty days; a second purge on a day has a list of its own."""
    first = world.deliver(months=1)
    let_go(world)
    (listed,) = world.letters(DispatchKind.DESTROYED).items()
    assert listed[0] == "woonstichting/vernietigd_2026-12-23.csv"
    lines = read_csv(listed[1])
    assert lines[0] == {
        "delivery_id": first,
        "ontvangen_op": "2026-11-22",
        "vernietigd_op": "2026-12-23",
        "aantal": "2",
    }
    assert len(lines) == 2
    late = world.signal(world.deliver(signals=0))
    world.change(SignalRow, late, due_on=DUE)
    world.purge()
    assert set(world.letters(DispatchKind.DESTROYED)) == {
        f"woonstichting/vernietigd_2026-12-23{end}.csv" for end in ("", "_2")
    }
    world.go_to(DUE + DAY + timedelta(days=31))
    world.purge()
    assert world.letters(DispatchKind.DESTROYED) == {}
    assert len(world.letters(DispatchKind.CERTIFICATE)) > 0


def test_a_night_in_which_nothing_went_has_no_certificate(world: World) -> None:
    """And the database is left as it is; the keys of the days that are over go all the same."""
    world.deliver(months=1)
    world.go_to(date(2026, 11, 25))
    assert len(world.purge().keys) == 3
    assert world.certificates() == world.rows(CompactionRow) == world.rows(Destruction) == []


def test_what_could_not_go_makes_it_incomplete_and_comes_on_the_next(world: World) -> None:
    """The rows that the database refused are not certified; the others are, and the rest on its own night."""
    delivery_id = world.deliver(signals=5, months=1)
    with world.store.write() as conn:
        conn.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE DELETE ON signal WHEN OLD.line = 3 BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    world.go_to(DUE + DAY)
    assert world.purge().counts["errors"] > 0
    (first,) = certificates(world, "GM1731")
    assert first["status"] == "onvolledig"
    assert any("niet alles" in reason for reason in first["redenen"])
    assert sum(item["signalen"] for item in first["vernietigd"]) == 4
    with world.store.write() as conn:
        conn.exec_driver_sql("DROP TRIGGER refuse")
    world.go_to(DUE + 2 * DAY)
    assert world.purge().counts["errors"] == 0
    _, second = certificates(world, "GM1731")
    assert second["status"] == "volledig"
    assert sum(item["signalen"] for item in second["vernietigd"]) == 1
    assert world.row(Delivery, delivery_id)["state"] == DeliveryState.PURGED


def test_certificates_go_when_their_own_term_is_over(world: World) -> None:
    """After seven years: the certificate, its copy in the outbox, and what the register tells of it."""
    let_go(world)
    world.go_to(date(2033, 12, 23))
    world.purge()
    assert len(world.certificates()) == 2
    world.go_to(date(2033, 12, 24))
    world.purge()
    assert world.certificates() == world.rows(Destruction) == []
    assert {row["blob"] for row in world.proofs()} == {""}


def test_the_registers_tell_what_is_held_and_what_went(world: World) -> None:
    """Id, partner, received, due, destroyed, certificate; what will go is announced for fourteen days."""
    delivery_id, _ = let_go(world)
    later = world.deliver(months=1)
    shelf = registers(world)
    assert [shown.name for shown in shelf.listing((), None)][:4] == [
        "aankondiging.csv",
        "bewaringen.csv",
        "grondslagen.csv",
        "bewaarregister_2026-11.csv",
    ]
    gone = read_csv(shelf.document(("bewaarregister_2026-11.csv",), None).data)
    assert {line["id"] for line in gone} >= {delivery_id}
    assert {(line["vernietigd_op"], line["verklaring"] != "") for line in gone} == {("2026-12-23", True)}
    held = read_csv(shelf.document(("bewaarregister_2026-12.csv",), None).data)
    mine = {
        (line["soort"], line["bewaard_tot_en_met"], line["vernietigd_op"])
        for line in held
        if line["id"] == later
    }
    assert mine == {("bestand", "2027-01-06", ""), ("signalen", "2027-01-23", "")}
    announced = read_csv(shelf.document(("aankondiging.csv",), None).data)
    assert [(line["vervalt_na"], line["id"], line["soort"]) for line in announced] == [
        ("2027-01-06", later, "bestand")
    ]
    keys = read_csv(shelf.document(("sleutelregister_2026-11.csv",), None).data)
    assert {"until-2026-12-22": "2026-12-23"}.items() <= {
        line["sleutel"]: line["vernietigd_op"] for line in keys
    }.items()
    states = {line["sleutel"]: line["toestand"] for line in keys}
    assert {
        "until-2026-12-22": "vernietigd",
        "until-2026-12-23": "actief",
        "index-2026-11": "gedeactiveerd",
        "index-2026-12": "actief",
    }.items() <= states.items()
    for name in ("bewaarregister_2026-10.csv", "bewaarregister_2026-13.csv", "x.csv", "bewaarregister_.csv"):
        assert shelf.document((name,), None) is None


def test_what_nobody_collected_is_told_before_and_after_it_goes(world: World) -> None:
    """In the notice, the register and what falls due; not what was read, and not what comes with a file."""
    read, unread = world.dispatch(months=1), world.dispatch(months=1)
    manifest = world.dispatch(months=1, parent_id=unread)
    world.deliver()
    world.change(Dispatch, read, state="collected", collected_at=world.now)
    world.go_to(DUE - timedelta(days=7))
    shelf = registers(world)

    def told(name: str) -> dict[str, str]:
        lines = read_csv(shelf.document((name,), None).data)
        return {line["id"]: line["niet_opgehaald"] for line in lines if line["soort"] == "uitgaand"}

    expected = {read: "", unread: "J", manifest: ""}
    assert told("aankondiging.csv") == told("bewaarregister_2026-11.csv") == expected
    days = due(world.store, world.now, DUE, world.terms)
    assert {each.day: (each.dispatches, each.uncollected) for each in days if each.dispatches} == {
        DUE: (3, 1)
    }
    world.go_to(DUE + DAY)
    world.purge()
    assert told("bewaarregister_2026-11.csv") == expected
    (certificate,) = certificates(world, "GM1731")
    assert certificate["nooit_opgehaald"] == [unread]


def test_a_scope_hides_what_is_anothers(world: World) -> None:
    """An auditor of Midden-Drenthe sees its certificates and lines, an auditor of Dronten none of them."""
    let_go(world)
    certificate_shelf = CertificateShelf(world.store, world.notary().signer)
    register_shelf = registers(world)
    number = certificates(world, "GM1731")[0]["nummer"]
    other = certificates(world, "woonstichting")[0]["nummer"]
    for scope, seen in ((["GM1731"], {number}), (["GM0303"], set()), (None, {number, other})):
        names = {shown.name for shown in certificate_shelf.listing((), scope)}
        assert {name.split("_")[1].split(".")[0] for name in names - {"allowed_signers"}} == seen
        for one in (number, other):
            found = certificate_shelf.document((f"verklaring_{one}.json",), scope)
            assert (found is not None) == (one in seen)
        lines = read_csv(register_shelf.document(("bewaarregister_2026-11.csv",), scope).data)
        grounds = read_csv(register_shelf.document(("grondslagen.csv",), scope).data)
        assert [line["grondslag"] for line in grounds] == ([] if scope == ["GM0303"] else [*GROUNDS.values()])
        codes = {line["gemeentecode"] for line in lines}
        assert codes == {None: {"GM1731", ""}}.get(
            scope and 1, {code for code in scope or () if code == "GM1731"}
        )


def test_a_certificate_of_a_dispatch_that_was_collected(world: World) -> None:
    """What its partner read is not among what was never collected."""
    dispatch_id = world.dispatch(months=1)
    world.change(Dispatch, dispatch_id, collected_at=world.now)
    world.go_to(DUE + DAY)
    world.purge()
    assert certificates(world, "GM1731")[0]["nooit_opgehaald"] == []
