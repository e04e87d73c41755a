"""`config/gateway.toml`: where to listen, limits, boxes, retention."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.cron import check_line
from gateway.domain.guard import GuardTerms
from gateway.domain.retention import Terms
from gateway.domain.signal import SECTORS
from gateway.errors import ConfigError
from gateway.settings.fields import (
    Days,
    GemeenteCode,
    Months,
    Network,
    Port,
    RecordMonths,
    Size,
    Span,
    Table,
    Wait,
    Whole,
    Words,
)
from gateway.vault.pkcs11 import Token
from gateway.vault.root import Provider


class ListenTable(Table):
    """`[listen]`."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,255}$")] = "0.0.0.0"  # noqa: S104  # partners come from outside
    port: Port = 2222
    processes: Annotated[Whole, Field(ge=1, le=64)] | None = None


class LegacyTable(Table):
    """`[legacy]`: a second listener, there only when it has a port."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,255}$")] | None = None
    port: Port | None = None


class BoxesTable(Table):
    """`[boxes]`."""

    listed_for: Span = timedelta(hours=24)
    staged_for: Span = timedelta(hours=24)


class LimitsTable(Table):
    """`[limits]` of one uploaded file (spec 2, Reading)."""

    file: Size = 64 * 1024**2
    rows: Annotated[Whole, Field(ge=1, le=10_000_000)] = 100_000
    columns: Annotated[Whole, Field(ge=1, le=10_000)] = 200
    field: Annotated[Whole, Field(ge=200, le=100_000)] = 1_000
    line: Size = 64 * 1024
    unpacked: Size = 200 * 1024**2
    ratio: Annotated[Whole, Field(ge=2, le=10_000)] = 100


def _check_socket(value: Path) -> Path:
    # a socket's path has at most 107 bytes (unix(7))
    if not value.is_absolute() or len(str(value).encode()) > 107:
        raise ValueError("write the whole path of clamd's LocalSocket, such as /run/clamav/clamd.ctl")
    return value


class ScannerTable(Table):
    """`[scanner]`: files are looked at for viruses when it names one."""

    clamd: Annotated[Path, Field(strict=False), AfterValidator(_check_socket)] | None = None


_GRANTED = GuardTerms()


class GuardTable(Table):
    """`[guard]` (docs/operations.md, Who is kept out)."""

    login: Wait = _GRANTED.login
    connections: Annotated[Whole, Field(ge=1, le=10_000)] = _GRANTED.connections
    connections_per_address: Annotated[Whole, Field(ge=1, le=10_000)] = _GRANTED.connections_per_address
    idle: Wait = _GRANTED.idle
    stall: Wait = _GRANTED.stall
    refusals: Annotated[Whole, Field(ge=1, le=1_000)] = _GRANTED.refusals
    penalty: Wait = _GRANTED.penalty
    longest_penalty: Span = _GRANTED.longest_penalty
    half_life: Span = _GRANTED.half_life
    safe_networks: tuple[Network, ...] = _GRANTED.safe_networks

    def terms(self) -> GuardTerms:
        """The terms as a value of the domain; only after `problems` found none."""
        return GuardTerms(**dict(self))

    def problems(self, *, file: str) -> Iterator[ConfigError]:
        """What can't be used although every single value can."""
        if self.longest_penalty < self.penalty:
            yield ConfigError("is shorter than the first one", file=file, key="guard.longest_penalty")


class RetentionTable(Table):
    """`[retention]` (spec 4)."""

    signals: Months = 6
    raw: Days = 14
    dispatches: Months = 6
    excluded: Days = 1
    audit: RecordMonths = 84
    notice: Days = 14
    schedule: Annotated[str, AfterValidator(check_line)] = "30 2 * * *"

    def terms(self) -> Terms:
        """The terms as a value of the domain."""
        return Terms(
            signals_months=self.signals,
            raw_days=self.raw,
            dispatches_months=self.dispatches,
            excluded_days=self.excluded,
            audit_months=self.audit,
        )


def _check_further(value: str) -> str:
    """A name that stands on its own in files and lists."""
    if not re.fullmatch(r"[^\W\d_][\w ./-]{1,39}", value) or value != value.strip():
        raise ValueError(
            "write 2 to 40 letters, digits, spaces or . / -, the first a letter, such as Hypotheek"
        )
    if value.lower() in map(str.lower, SECTORS):
        raise ValueError(f"{value} needs no table of its own: the Wgs names it")
    return value


def _check_named(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must name at least one")
    return value


class SectorTable(Table):
    """`[[sector]]`: a further sector, whose signals may come for the municipalities that its legal basis names."""

    name: Annotated[str, AfterValidator(_check_further)]
    legal_basis: Words
    municipalities: Annotated[tuple[GemeenteCode, ...], AfterValidator(_check_named)]


def _check_library(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError(
            "write the whole path of the token's library, such as /usr/lib/softhsm/libsofthsm2.so"
        )
    return value


def _check_label(value: str) -> str:
    # CK_TOKEN_INFO has room for 32 bytes (PKCS #11 v2.40, 3.2)
    if not 0 < len(value.encode()) <= 32 or not value.isprintable() or value != value.strip():
        raise ValueError("write the token's label, at most 32 bytes")
    return value


class TokenTable(Table):
    """`[keys.pkcs11]`: the token that seals the root key."""

    library: Annotated[Path, Field(strict=False), AfterValidator(_check_library)]
    token: Annotated[str, AfterValidator(_check_label)]


class KeysTable(Table):
    """`[keys]` (spec 4, Keys)."""

    provider: Provider = Provider.FILE
    #: may stand while the root key moves from or to it
    pkcs11: TokenTable | None = None

    def token(self) -> Token | None:
        """The token as a value."""
        return None if self.pkcs11 is None else Token(library=self.pkcs11.library, label=self.pkcs11.token)

    def problems(self, *, file: str) -> Iterator[ConfigError]:
        """What can't be used although every single value can."""
        if self.provider is Provider.PKCS11 and self.pkcs11 is None:
            yield ConfigError(
                'must be there for provider = "pkcs11": give library and token', file=file, key="keys.pkcs11"
            )


class GatewayFile(Table):
    """The whole file."""

    listen: ListenTable = ListenTable()
    legacy: LegacyTable = LegacyTable()
    boxes: BoxesTable = BoxesTable()
    limits: LimitsTable = LimitsTable()
    scanner: ScannerTable = ScannerTable()
    guard: GuardTable = GuardTable()
    retention: RetentionTable = RetentionTable()
    keys: KeysTable = KeysTable()
    sector: tuple[SectorTable, ...] = ()

    def problems(self, *, file: str) -> Iterator[ConfigError]:
        """What can't be used although every single value can."""
        yield from self.guard.problems(file=file)
        yield from self.keys.problems(file=file)
        if self.legacy.port and self.legacy.port == self.listen.port:
            yield ConfigError("is the port of [listen]: take another", file=file, key="legacy.port")
        names = [each.name.lower() for each in self.sector]
        for place, name in enumerate(names):
            if name in names[:place]:
                yield ConfigError("stands twice: take one out", file=file, key=f"sector[{place}].name")
