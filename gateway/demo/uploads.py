"""The files that the creditors send, each in the way of its own system, mistakes included."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random

from gateway.demo.arrears import Arrear, invent_arrears
from gateway.demo.cast import CREDITORS, MONTHS, Creditor, Spelling

#: Fixes everything that is invented.
SEED = 1731

Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as a creditor sends it on a day; `rows` are its data rows."""

    day: date
    creditor_id: str
    name: str
    data: bytes
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A row that was sent with an arrear's month, to be changed or withdrawn later in it."""

    arrear: Arrear
    row: Row


def invent_uploads(seed: int = SEED, months: Sequence[date] = MONTHS) -> list[Upload]:
    """Everything that is uploaded in some months, in the order of sending; the same for the same seed and months."""
    random = Random(seed)  # noqa: S311  # invented residents, not secrets
    arrears = invent_arrears(random, months)
    found: list[Upload] = []
    for at, month in enumerate(months):
        for creditor in CREDITORS:
            own = [each for each in arrears if each.month == month and each.creditor is creditor]
            found += _of_month(random, creditor, month, own, at=at)
    return sorted(found, key=lambda upload: upload.day)


def _of_month(
    random: Random, creditor: Creditor, month: date, arrears: Sequence[Arrear], *, at: int
) -> list[Upload]:
    """A creditor's two files of a month, and what happens to go wrong with them in the month `at` of all."""
    first, later = (_workday(month, day) for day in creditor.days)
    sent = [_Sent(arrear=arrear, row=_row(arrear, number)) for number, arrear in enumerate(arrears, start=1)]
    good, rows = _with_mistakes(random, sent)
    if creditor.sector == "Zorg":
        rows.append(_moved_away(rows[0]))
    main = _upload(creditor, first, "signalen", rows)
    changes = _upload(creditor, later, "mutaties", _changes(random, good, later))
    match creditor.id, at:
        case "duinlicht", 1:
            # a column that no creditor may send: the file is refused unread, and comes again without it
            spoiled = [row | {"bsn": "000000000"} for row in rows]
            again = _upload(creditor, _workday(first, first.day + 1), "signalen", rows)
            return [_upload(creditor, first, "signalen", spoiled), again, changes]
        case "zilverlinde", 2:
            # the same file again, by mistake: no signal counts twice
            again = Upload(
                day=_workday(first, first.day + 1),
                creditor_id=creditor.id,
                name=main.name,
                data=main.data,
                rows=main.rows,
            )
            return [main, again, changes]
        case _:
            return [main, changes]


def invent_sample(creditor: Creditor, municipality: str, months: Sequence[date], day: date) -> Upload:
    """A file to try an upload with, on a day after `months`: three good signals, one a crisis, and a bad postcode.

    Its residents have bills with other creditors in the last of the months: in that month two are MEERVOUDIG.
    """
    arrears = invent_arrears(Random(SEED), months)  # noqa: S311  # as above
    here = [
        each
        for each in arrears
        if each.month == months[-1] and each.resident.address.municipality == municipality
    ]
    own = {each.resident.email for each in here if each.creditor is creditor}
    chosen = {
        each.resident.email: each
        for each in here
        if creditor.id in each.resident.customer_numbers and each.resident.email not in own
    }
    rows = [
        _row(replace(arrear, creditor=creditor, since=day - timedelta(days=45)), number)
        | {"signaal_id": f"{creditor.id[:2].upper()}{day:%y%m%d}-{number:04d}"}
        for number, arrear in enumerate(list(chosen.values())[:4], start=1)
    ]
    rows[2] |= {"crisissignaal": "J"}
    rows[3] |= {"postcode": "94O1 XK"}
    return _upload(creditor, day, "proef", rows)


# -- rows ------------------------------------------------------------------------------------------


def _row(arrear: Arrear, number: int) -> Row:
    """An arrear as a new signal."""
    resident, creditor, address = arrear.resident, arrear.creditor, arrear.resident.address
    row = {
        "signaal_id": f"{creditor.id[:2].upper()}{arrear.month:%y%m}-{number:04d}",
        "sector": creditor.sector,
        creditor.customer_column: resident.customer_numbers[creditor.id],
        "voorletters": resident.initials,
        **_name(resident.infix, resident.surname, creditor),
        "geboortedatum": resident.born_on.strftime(creditor.date_format),
        "straatnaam": address.street,
        "huisnummer": str(address.number),
        "huisletter": address.letter,
        "huisnummertoevoeging": address.suffix,
        "postcode": address.postcode,
        "woonplaats": address.city,
        "telefoonnummer": resident.phone,
        "emailadres": resident.email,
        "bedrag": _euros(arrear.cents, creditor),
        "ontstaansdatum": arrear.since.strftime(creditor.date_format),
        "sociaal_incasso": "J",
        "mutatie": "N",
    }
    if creditor.sector == "Huur":
        row["crisissignaal"] = "J" if arrear.is_crisis else "N"
    if creditor.sector == "Energie":
        row |= {
            "product": "Gas" if int(row[creditor.customer_column]) % 2 else "Elektra",
            "signaaltype": "VROEGSIGNAAL",
            "datum_einde_levering": "",
        }
    if creditor.has_remarks:
        row["opmerking"] = "belt terug"
    return row


def _name(infix: str, surname: str, creditor: Creditor) -> Row:
    whole = f"{infix} {surname}".strip()
    match creditor.spelling:
        case Spelling.APART:
            return {"voorvoegsel": infix, "achternaam": surname}
        case Spelling.TOGETHER:
            return {"achternaam": whole}
        case Spelling.CAPITALS:
            return {"achternaam": whole.upper()}


def _with_mistakes(random: Random, sent: Sequence[_Sent]) -> tuple[list[_Sent], list[Row]]:
    """What arrives well, and all rows: one in forty bears a mistake that such files really have."""
    good: list[_Sent] = []
    rows: list[Row] = []
    for each in sent:
        if random.random() < 1 / 40:
            column, value = random.choice(_MISTAKES)
            rows.append(each.row | {column: value})
        else:
            good.append(each)
            rows.append(each.row)
    return good, rows


_MISTAKES = (
    ("postcode", "94O1 XK"),
    ("achternaam", ""),
    ("bedrag", "1.234"),
    ("sociaal_incasso", "N"),
    ("ontstaansdatum", "31-02-2026"),
    ("huisnummer", "t.o. 12"),
    ("emailadres", "onbekend"),
)


def _moved_away(row: Row) -> Row:
    """A resident who moved to a municipality that is not connected: D41, nothing of it is kept."""
    elsewhere = {
        "postcode": "7811 AP",
        "huisnummer": "15",
        "straatnaam": "Hoofdstraat",
        "woonplaats": "Emmen",
    }
    return (
        row
        | elsewhere
        | {"signaal_id": f"{row['signaal_id']}-E", "huisletter": "", "huisnummertoevoeging": ""}
    )


def _changes(random: Random, sent: Sequence[_Sent], day: date) -> list[Row]:
    """Later in the month: paid, partly paid, sent once more, replaced, and the end of supply."""
    rows: list[Row] = []
    for each in sent:
        creditor, row, chance = each.arrear.creditor, each.row, random.random()
        if chance < 0.06:
            rows.append(dict.fromkeys(row, "") | {"signaal_id": row["signaal_id"], "mutatie": "I"})
        elif chance < 0.13:
            half = _euros(each.arrear.cents // 2, creditor)
            rows.append(row | {"mutatie": "W", "bedrag": half})
        elif chance < 0.15:
            rows.append(row)
        elif chance < 0.16:
            higher = _euros(each.arrear.cents + 5_000, creditor)
            rows.append(row | {"signaal_id": f"{row['signaal_id']}-B", "bedrag": higher})
        elif chance < 0.17 and creditor.sector == "Energie":
            ends_on = (day + timedelta(days=35)).strftime(creditor.date_format)
            rows.append(
                row
                | {
                    "signaal_id": f"{row['signaal_id']}-EL",
                    "signaaltype": "EINDELEVERING",
                    "datum_einde_levering": ends_on,
                }
            )
    # somebody mistypes an id: a withdrawal of what was never sent
    if sent and random.random() < 0.3:
        rows.append(dict.fromkeys(sent[0].row, "") | {"signaal_id": "XX9999-0001", "mutatie": "I"})
    return rows or [sent[0].row]


# -- files -----------------------------------------------------------------------------------------


def _upload(creditor: Creditor, day: date, kind: str, rows: Sequence[Row]) -> Upload:
    return Upload(
        day=day,
        creditor_id=creditor.id,
        name=f"{kind}_{day:%Y%m%d}.csv",
        data=_csv(rows, creditor),
        rows=len(rows),
    )


def _csv(rows: Sequence[Mapping[str, str]], creditor: Creditor) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=creditor.delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(_writable(rows, creditor.encoding))
    return text.getvalue().encode(creditor.encoding)


def _writable(rows: Iterable[Mapping[str, str]], encoding: str) -> Iterable[Row]:
    """An old system knows no letters beyond Windows-1252: it writes an i for the Turkish one without a dot."""
    if encoding != "cp1252":
        return (dict(row) for row in rows)
    return ({name: value.replace("\u0131", "i") for name, value in row.items()} for row in rows)


def _euros(cents: int, creditor: Creditor) -> str:
    return f"{cents / 100:.2f}".replace(".", creditor.decimal_sign)


def _workday(month: date, day: int) -> date:
    """That day of the month, or the Monday after it."""
    found = month.replace(day=day)
    return found + timedelta(days=max(0, 7 - found.weekday()) if found.weekday() >= 5 else 0)
