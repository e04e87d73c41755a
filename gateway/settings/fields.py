"""Kinds of values that settings have: durations, sizes, euros, codes; each refusal says what to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationInfo

from gateway.clock import AMSTERDAM, end_of_day
from gateway.domain.certificate import CERTIFICATE_MONTHS
from gateway.domain.guard import Network as _Network
from gateway.domain.signal import SECTORS
from gateway.settings.gemeenten import gemeente_names

_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_HOURS = {"minute": 1 / 60, "hour": 1, "day": 24}
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}
_BYTES = {"byte": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


class Table(BaseModel):
    """A TOML table: unknown keys are refused, values stay as they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _amount_of(units: dict[str, Any], example: str, most: int) -> Callable[[Any], Any]:
    """Reads `<whole number> <unit>` as a number of the unit that counts 1, from 1 to `most`."""

    def read(value: Any) -> Any:
        found = re.fullmatch(r"(\d{1,9}) ?([A-Za-z]+)", value) if isinstance(value, str) else None
        unit = found and (found[2] if found[2] in units else found[2].removesuffix("s"))
        if not found or unit not in units:
            raise ValueError(
                f'write a whole number and a unit, such as "{example}" (units: {", ".join(units)})'
            )
        amount = int(found[1]) * units[unit]
        if not 0 < amount <= most:
            raise ValueError(
                f"must be more than nothing and at most {most:,} {next(u for u in units if units[u] == 1)}s"
            )
        return amount

    return read


def _read_cents(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError("write an amount in euro, such as 500 or 99.50")  # noqa: TRY004  # pydantic's protocol
    try:
        cents = Decimal(value) * 100
    except InvalidOperation:
        raise ValueError("write an amount in euro, such as 500 or 99.50") from None
    if not cents.is_finite() or cents < 0 or cents != cents.to_integral_value():
        raise ValueError("an amount in euro is not negative and has at most two decimals")
    return int(cents)


def _read_moment(value: Any, of_day: Callable[[date], datetime]) -> datetime | None:
    """A date (a whole day in the Netherlands) or a moment with its offset; text is read as ISO 8601."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if isinstance(value, date) and not isinstance(value, datetime):
        return of_day(value)
    raise ValueError("write a day (2026-12-31) or a moment with its offset (2026-12-31T12:00:00+01:00)")


def _read_day(value: Any) -> date | None:
    """A date, or nothing."""
    if value == "":
        return None
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError("write a day, such as 2026-12-31")


def _read_network(value: Any) -> _Network:
    """An address with or without the length of its network."""
    try:
        if isinstance(value, str):
            return ip_network(value)
    except ValueError as exc:
        if "host bits" in str(exc):
            raise ValueError(
                f"{value} is one address with a length: the network is {ip_network(value, strict=False)}"
            ) from None
    raise ValueError('write networks, such as "203.0.113.0/24" or "2001:db8::/32", or single addresses')


def _start_of_day(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=AMSTERDAM)


def _check_sector(value: str, info: ValidationInfo) -> str:
    """One of the Wgs, or one that `config/gateway.toml` names: the context of the validation."""
    known = (*SECTORS, *(info.context or ()))
    if value not in known:
        raise ValueError(
            f"{value!r} is no sector: {', '.join(known)}; a further one needs a [[sector]] in config/gateway.toml"
        )
    return value


def _check_postcode(value: str) -> str:
    text = value.upper().replace(" ", "")
    if not re.fullmatch(r"[1-9][0-9]{3}([A-Z]{2})?", text):
        raise ValueError(f"{value!r} is no postcode: write four digits, or all of it, such as 3311 or 3312AB")
    return text


def _check_gemeente(value: str) -> str:
    if not re.fullmatch(r"GM\d{4}", value):
        raise ValueError(f"{value!r} is no municipality code: write GM and four digits, such as GM1731")
    if value not in gemeente_names():
        raise ValueError(f"{value} is no municipality in the list of CBS")
    return value


def _check_record(value: int) -> int:
    if value < CERTIFICATE_MONTHS:
        raise ValueError(
            f"must be at least {CERTIFICATE_MONTHS // 12} years: a certificate is kept that long, and must be found "
            "in the log"
        )
    return value


def _check_words(value: str) -> str:
    if not 1 <= len(value) <= 200 or not value.isprintable() or value != value.strip():
        raise ValueError("write 1 to 200 printable characters without white space around them")
    return value


Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
#: Printable text of one line.
Words = Annotated[str, AfterValidator(_check_words)]
#: Calendar months, at most a year.
Months = Annotated[int, BeforeValidator(_amount_of(_MONTHS, "6 months", 12))]
#: Calendar months, from as long as certificates are kept (they must be found in the log) to twenty years.
RecordMonths = Annotated[
    int, BeforeValidator(_amount_of(_MONTHS, "7 years", 240)), AfterValidator(_check_record)
]
#: Days, at most two months.
Days = Annotated[int, BeforeValidator(_amount_of(_DAYS, "14 days", 62))]
#: A span of time, at most two weeks.
Span = Annotated[
    timedelta, BeforeValidator(lambda value: timedelta(hours=_amount_of(_HOURS, "24 hours", 336)(value)))
]
#: A wait that is counted in seconds, at most a day.
Wait = Annotated[
    timedelta,
    BeforeValidator(lambda value: timedelta(seconds=_amount_of(_SECONDS, "30 seconds", 86_400)(value))),
]
#: A span of time, at most two months.
LongSpan = Annotated[
    timedelta, BeforeValidator(lambda value: timedelta(hours=_amount_of(_HOURS, "30 days", 1488)(value)))
]
#: Bytes, at most 4 GiB.
Size = Annotated[int, BeforeValidator(_amount_of(_BYTES, "64 MiB", 4 * 1024**3))]
#: Bytes of many files, at most 1 TiB.
Volume = Annotated[int, BeforeValidator(_amount_of(_BYTES, "10 GiB", 1024**4))]
#: A network in CIDR, or one address.
Network = Annotated[_Network, BeforeValidator(_read_network)]
#: Euro in the file, cents inside.
Cents = Annotated[int, BeforeValidator(_read_cents)]
Sector = Annotated[str, AfterValidator(_check_sector)]
#: Four digits, or four digits and two letters.
Postcode = Annotated[str, AfterValidator(_check_postcode)]
#: `GM` and four digits, known to CBS.
GemeenteCode = Annotated[str, AfterValidator(_check_gemeente)]
#: The first instant that counts: a day counts from its start.
From = Annotated[datetime | None, BeforeValidator(lambda value: _read_moment(value, _start_of_day))]
#: The first instant that counts no more: a day counts until its end.
Until = Annotated[datetime | None, BeforeValidator(lambda value: _read_moment(value, end_of_day))]
#: A calendar day; empty text: none.
Day = Annotated[date | None, BeforeValidator(_read_day)]
Port = Annotated[int, Strict(), Field(ge=0, le=65_535)]
