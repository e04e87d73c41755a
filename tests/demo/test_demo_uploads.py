"""Claims of what the demo invents: always the same, at real addresses, of a realistic size."""

from __future__ import annotations

from collections import Counter
from random import Random

from gateway.demo import residents
from gateway.demo.arrears import invent_arrears
from gateway.demo.cast import COLLECTORS, CREDITORS, MONTHS, MUNICIPALITIES, Spelling
from gateway.demo.proof import planted
from gateway.demo.uploads import invent_uploads
from gateway.domain.partner import Partner, Role
from gateway.files.layout import recognise
from gateway.settings.gemeenten import gemeente_names, pc4_gemeenten


def test_the_same_seed_makes_the_same_files() -> None:
    """Two runs send the same bytes, on the same days, in the same order."""
    assert invent_uploads() == invent_uploads()


def test_another_seed_makes_other_files() -> None:
    """It is the seed that decides."""
    assert invent_uploads(1) != invent_uploads(2)


def test_the_addresses_are_real_and_lie_where_they_should() -> None:
    """Every municipality of the demo has addresses, and the table of postcodes agrees on each."""
    codes = {municipality.code for municipality in MUNICIPALITIES}
    assert residents.addresses().keys() == codes
    assert sum(map(len, residents.addresses().values())) == 83_393
    pc4 = pc4_gemeenten()
    for code, known in residents.addresses().items():
        agreed = sum(code in pc4[address.postcode[:4]] for address in known)
        assert agreed > 0.999 * len(known)


def test_residents_live_at_those_addresses() -> None:
    """Nobody is invented at an address that does not exist, or with a landlord of another place."""
    real = {address for known in residents.addresses().values() for address in known}
    for arrear in invent_arrears(Random(7)):
        address = arrear.resident.address
        assert address in real
        assert not arrear.creditor.works_in or address.municipality in arrear.creditor.works_in


def test_a_municipality_sees_as_much_as_it_really_does() -> None:
    """Each month has the signals that the municipality is known for, and at most a few more."""
    months = Counter(
        (arrear.resident.address.municipality, arrear.month) for arrear in invent_arrears(Random(7))
    )
    for municipality in MUNICIPALITIES:
        for month in MONTHS:
            assert municipality.monthly <= months[municipality.code, month] <= municipality.monthly * 1.5


def test_the_cast_is_complete() -> None:
    """Eleven creditors in four sectors, and a partner for each of the six municipalities."""
    assert len(CREDITORS) == 11
    assert {creditor.sector for creditor in CREDITORS} == {"Huur", "Energie", "Water", "Zorg"}
    served = [code for collector in COLLECTORS for code in collector.serves]
    assert sorted(served) == sorted(municipality.code for municipality in MUNICIPALITIES)
    assert all(gemeente_names()[municipality.code] == municipality.name for municipality in MUNICIPALITIES)


def test_each_creditor_writes_in_its_own_way() -> None:
    """The files differ in encoding, delimiter, dates, spelling and columns, and the gateway knows each header."""
    assert {creditor.encoding for creditor in CREDITORS} == {"utf-8", "utf-8-sig", "utf-16", "cp1252"}
    assert {creditor.delimiter for creditor in CREDITORS} == {";", ",", "\t"}
    assert {creditor.spelling for creditor in CREDITORS} == set(Spelling)
    first = {upload.creditor_id: upload for upload in reversed(invent_uploads())}
    for creditor in CREDITORS:
        header = first[creditor.id].data.decode(creditor.encoding).partition("\r\n")[0]
        partner = Partner(
            id=creditor.id,
            name=creditor.name,
            role=Role.CREDITOR,
            keys=(),
            sectors=(creditor.sector,),
            columns={creditor.customer_column: "klantnummer"},
        )
        layout = recognise(header.split(creditor.delimiter), partner)
        assert layout.missing == ()
        assert layout.ignored == (("opmerking",) if creditor.has_remarks else ())


def test_what_is_looked_for_stands_in_the_uploads() -> None:
    """A search for planted words proves something only if they were sent."""
    sent = b"".join(upload.data for upload in invent_uploads())
    for word in planted(invent_uploads()):
        assert word.encode() in sent
