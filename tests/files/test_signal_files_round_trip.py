"""A signal that is written as a creditor would, in any layout, is read as it was."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.partner import Partner, Role
from gateway.domain.signal import Signal
from gateway.files.signalfile import read_signals

PARTNER = Partner(id="x", name="x", role=Role.CREDITOR, sectors=("Huur", "Energie", "Water", "Zorg"))
RECEIVED_ON = date(2026, 11, 22)

NAMES = st.text(st.sampled_from("abcXYZ éëüÑ'-.;,\""), min_size=1, max_size=20).map(str.strip).filter(bool)


def amounts(cents: int) -> st.SearchStrategy[str]:
    """Ways to write an amount."""
    euro, rest = divmod(cents, 100)
    grouped = f"{euro:,}"
    return st.sampled_from(
        [
            f"{euro},{rest:02d}",
            f"{euro}.{rest:02d}",
            f"€ {grouped}.{rest:02d}",
            f"{grouped.replace(',', '.')},{rest:02d}",
        ]
    )


def days(day: date) -> st.SearchStrategy[str]:
    """Ways to write a day."""
    return st.sampled_from([f"{day:%Y-%m-%d}", f"{day:%d-%m-%Y}", f"{day:%d/%m/%Y}", f"{day:%Y%m%d}"])


@st.composite
def written_rows(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, object]]:
    """Cells of a row, and what they mean."""
    cents = draw(st.integers(1, 999_999_999))
    since = RECEIVED_ON - timedelta(days=draw(st.integers(0, 900)))
    meant: dict[str, object] = {
        "sector": draw(st.sampled_from(PARTNER.sectors)),
        "customer_number": draw(NAMES),
        "surname": draw(NAMES),
        "postcode": f"{draw(st.integers(1000, 9999))}{draw(st.sampled_from(['AB', 'XZ']))}",
        "house_number": draw(st.integers(1, 99_999)),
        "amount_cents": cents,
        "arrears_since": since,
        "city": draw(st.one_of(st.just(""), NAMES)),
    }
    cells = {
        "signaal_id": draw(st.text("abcXYZ019._-", min_size=1, max_size=64)),
        "sector": str(meant["sector"]),
        "klantnummer": str(meant["customer_number"]),
        "achternaam": str(meant["surname"]),
        "postcode": str(meant["postcode"]),
        "huisnummer": str(meant["house_number"]),
        "bedrag": draw(amounts(cents)),
        "ontstaansdatum": draw(days(since)),
        "sociaal_incasso": draw(st.sampled_from(["J", "ja", "TRUE", "1"])),
        "woonplaats": str(meant["city"]),
    }
    return cells, {**meant, "signal_id": cells["signaal_id"]}


@given(
    rows=st.lists(written_rows(), min_size=1, max_size=4),
    delimiter=st.sampled_from(";,\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    order=st.randoms(),
)
def test_written_is_read(rows, delimiter, end, encoding, order):
    """Any delimiter, line end, encoding and order of columns; and equal rows have equal content."""
    columns = list(rows[0][0])
    plain = read(rows, columns, ";", "\n", "utf-8")
    order.shuffle(columns)
    signals = read(rows, columns, delimiter, end, encoding)
    for signal, (_, meant) in zip(signals, rows, strict=True):
        assert {name: getattr(signal, name) for name in meant} == meant
    assert [signal.content for signal in signals] == [signal.content for signal in plain]


def read(rows, columns, delimiter: str, end: str, encoding: str) -> list[Signal]:
    """The signals of a file that is written in one way."""
    lines = [columns, *([cells[name] for name in columns] for cells, _ in rows)]
    quoted = ['"{}"'.format(f'"{delimiter}"'.join(c.replace('"', '""') for c in line)) for line in lines]
    data = (end.join(quoted) + end).encode(encoding)
    found = read_signals(lambda: iter([data]), PARTNER, RECEIVED_ON)
    parsed = [row for batch in found.batches for row in batch.rows]
    assert all(isinstance(row, Signal) for row in parsed), parsed
    return [row for row in parsed if isinstance(row, Signal)]
