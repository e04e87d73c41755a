"""A national month that nobody lived: the same for the same seed, on any machine.

Residents are numbered; everything of one follows from its number, so that no list of them is kept. They live
municipality by municipality, along invented postcodes of real four digits. A landlord has a stretch of the country, all
others have customers everywhere: that is how creditors' files share residents. Six in ten of a creditor's signals of a
month concern others than the month before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from math import gcd

from gateway.clock import add_months
from gateway.settings.gemeenten import gemeente_names, pc4_gemeenten

#: The month that figures are of.
MONTH = date(2026, 11, 1)
#: Of a national month.
CREDITORS, ROWS, LARGEST = 400, 200_000, 50_000
#: Residents to each signal of a month: about one in seven of those reported are reported by several.
_RESIDENTS = 3
#: Postcodes to four digits, and addresses to a postcode.
_LETTERS, _NUMBERS = 12, 20
#: Of all signals, by sector (Divosa, monitor 2024), and of all creditors.
_SIGNALS = {"Zorg": 0.42, "Energie": 0.28, "Huur": 0.18, "Water": 0.12}
_KINDS = {"Zorg": 0.05, "Energie": 0.10, "Huur": 0.825, "Water": 0.025}
#: A month's bill in euro: the least, and how much more it may be.
_BILLS = {"Zorg": (118, 72), "Energie": (95, 195), "Huur": (410, 370), "Water": (28, 47)}
#: No postcode ends in SA, SD or SS.
_ENDS = "ABCEGHKLMNPRTVXZ"
_COLUMNS = (
    "signaal_id;sector;product;klantnummer;voorletters;voorvoegsel;achternaam;geboortedatum;straatnaam;huisnummer;"
    "huisletter;huisnummertoevoeging;postcode;woonplaats;telefoonnummer;emailadres;bedrag;ontstaansdatum;"
    "sociaal_incasso;crisissignaal;signaaldatum;mutatie\r\n"
)
_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Creditor:
    """A creditor: how many signals it sends a month, and which part of the residents is its customer."""

    id: str
    sector: str
    rows: int
    #: how many residents there are, and which of its sector's order of them are its: from, and how many
    residents: int
    first: int
    customers: int


def national(
    *, count: int = CREDITORS, rows: int = ROWS, largest: int = LARGEST, residents: int = 0
) -> list[Creditor]:
    """The creditors of a country: the first sends `largest` rows a month, all together `rows`.

    Within a sector the n-th sends in proportion to 1/n. Who shall share residents needs the same number of them.
    """
    residents = residents or rows * _RESIDENTS
    found: list[Creditor] = []
    for sector, share in _SIGNALS.items():
        there = max(1, round(count * _KINDS[sector]))
        if sector == "Water":
            there = max(1, count - len(found))
        sent = round(rows * share) if sector != "Water" else rows - sum(each.rows for each in found)
        sizes = _sizes(sent, there, largest if not found else 0)
        first = 0
        for number, size in enumerate(sizes, start=1):
            customers = residents * size // sent
            found.append(
                Creditor(
                    id=f"{sector.lower()}-{number:03d}",
                    sector=sector,
                    rows=size,
                    residents=residents,
                    first=first,
                    customers=max(size, customers),
                )
            )
            first += customers
    return found


def alone(rows: int, *, sector: str = "Zorg", name: str = "groot", residents: int = 0) -> Creditor:
    """One creditor whose file has so many rows, everywhere in the country, among so many residents."""
    residents = residents or rows * _RESIDENTS
    return Creditor(id=name, sector=sector, rows=rows, residents=residents, first=0, customers=residents)


def landlord(rows: int, code: str, *, residents: int, name: str = "verhuurder") -> Creditor:
    """One creditor that only has customers in one municipality, all who live there among so many residents."""
    names, places = gemeente_names(), _places()
    there = [at for at, (_, city) in enumerate(places) if city == names[code]]
    first = -(-there[0] * residents // len(places))
    return Creditor(
        id=name,
        sector="Huur",
        rows=rows,
        residents=residents,
        first=first,
        customers=(there[-1] + 1) * residents // len(places) - first,
    )


def _sizes(rows: int, count: int, largest: int) -> list[int]:
    """How many rows each of `count` sends: at least one, all together `rows`; the first `largest` if that is given."""
    if largest:
        return [largest, *_sizes(rows - largest, count - 1, 0)] if count > 1 else [rows]
    weight = sum(1 / number for number in range(1, count + 1))
    sizes = [max(1, int(rows / number / weight)) for number in range(1, count + 1)]
    sizes[0] += rows - sum(sizes)
    return sizes


def signal_file(
    creditor: Creditor, month: date = MONTH, *, day: int = 5, part: int = 0, seed: int = 1731
) -> bytes:
    """A creditor's file of a month, sent on a day of it; parts 0, 1 … of a month are of different residents."""
    return "".join((_COLUMNS, *lines(creditor, month, day=day, part=part, seed=seed))).encode()


def lines(
    creditor: Creditor, month: date = MONTH, *, day: int = 5, part: int = 0, seed: int = 1731
) -> Iterator[str]:
    """Its rows, as they stand in the file."""
    sent = month.replace(day=day)
    dates = [(sent - timedelta(days=back)).isoformat() for back in range(35, 63)]
    started = (month.year - 2020) * 12 + month.month
    window = started * creditor.rows * 6 // 10 + part * creditor.rows
    least, more = _BILLS[creditor.sector]
    landlord, energy = creditor.sector == "Huur", creditor.sector == "Energie"
    step = _step(creditor.residents, creditor.sector)
    places, prefix = _places(), f"{creditor.sector[0]}{month:%y%m}-"
    for number in range(creditor.rows):
        position = creditor.first + (window + number) % creditor.customers
        resident = position * step % creditor.residents
        draw = mixed(resident, seed)
        pc4, city = places[resident * len(places) // creditor.residents]
        address = _address(draw)
        infix, surname = _SURNAMES[draw % 997 % len(_SURNAMES)]
        initial = "ABCDEFGHIJKLMNPRSTVWYZ"[draw >> 8 & 15]
        born = f"{1944 + (draw >> 12) % 60}-{1 + (draw >> 20) % 12:02d}-{1 + (draw >> 26) % 28:02d}"
        phone = f"06{resident % 100_000_000:08d}" if draw >> 32 & 3 else ""
        mail = f"{initial.lower()}.{resident}@example.org" if draw >> 34 & 1 else ""
        own = mixed(resident, seed + started + len(creditor.id))
        euros = least + own % more + (own >> 16) % 3 * (least + more // 2)
        yield (
            f"{prefix}{part * creditor.rows + number:06d};{creditor.sector};{'Gas' if energy and own & 1 else ''};"
            f"{10_000_000 + resident};{initial}.;{infix};{surname};{born};{_STREETS[draw >> 40 & 7]};"
            f"{address[1]};;;{pc4}{address[0]};{city};{phone};{mail};"
            f"{euros},{own >> 24 & 63:02d};{dates[(own >> 32) % 28]};J;"
            f"{'J' if landlord and own % 160 == 0 else 'N'};{sent.isoformat()};N\r\n"
        )


def months(count: int, last: date = MONTH) -> list[date]:
    """So many months, the last of which is given."""
    return [add_months(last, back) for back in range(1 - count, 1)]


def reference() -> Iterator[tuple[str, int, str]]:
    """Postcode, house number and municipality of every address that residents may have, in the order of the table."""
    for pc4, codes in sorted(pc4_gemeenten().items()):
        if len(codes) == 1:
            for ends in _ends():
                for number in range(1, _NUMBERS + 1):
                    yield pc4 + ends, number, codes[0]


def mixed(number: int, seed: int) -> int:
    """64 bits that look drawn: splitmix64's last steps."""
    value = (number * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _BITS
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _BITS
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _BITS
    return value ^ value >> 31


def _address(draw: int) -> tuple[str, int]:
    return _ends()[(draw >> 44) % _LETTERS], 1 + (draw >> 50) % _NUMBERS


def _step(residents: int, sector: str) -> int:
    """The order in which a sector counts residents: landlords as they live, others all over the country."""
    if sector == "Huur":
        return 1
    step = int(residents * {"Zorg": 0.618, "Energie": 0.414, "Water": 0.732}[sector]) | 1
    while gcd(step, residents) > 1:
        step += 2
    return step


@cache
def _places() -> Sequence[tuple[str, str]]:
    """Four digits and the name of their municipality, municipality by municipality."""
    names = gemeente_names()
    certain = [(codes[0], pc4) for pc4, codes in pc4_gemeenten().items() if len(codes) == 1]
    return [(pc4, names[code]) for code, pc4 in sorted(certain)]


@cache
def _ends() -> Sequence[str]:
    return [first + second for first in _ENDS[:3] for second in _ENDS[:4]][:_LETTERS]


_STREETS = (
    *("Kerkstraat", "Molenweg", "Dorpsstraat", "Schoolstraat"),
    *("Beatrixlaan", "Eikenlaan", "Stationsweg", "Havenkade"),
)
_SURNAMES = tuple(
    (infix, surname)
    for infix, names in (
        (
            "",
            "Jansen Bakker Visser Smit Meijer Mulder Bos Vos Peters Hendriks Dekker Brouwer Dijkstra Kok Jacobs",
        ),
        (
            "",
            "Hoekstra Koster Prins Blom Huisman Peeters Kuipers Veenstra Kuijpers Willems Postma Schouten Wolters",
        ),
        (
            "",
            "Y\u0131lmaz Öztürk Kowalczyk Bouazzaoui Müller Fernández Tesfamariam Daniëls Ponsioen-Wolters El-Amrani",
        ),
        ("van der", "Meulen Veen Heide Linden Wal Laan"),
        ("van", "Dijk Leeuwen Vliet Wijk Dam Beek"),
        ("de", "Jong Vries Boer Groot Haan Wit Bruijn"),
        ("van den", "Berg Bosch Brink Heuvel"),
        ("ter", "Horst Braak"),
        ("in 't", "Veld Hout"),
    )
    for surname in names.split()
)
