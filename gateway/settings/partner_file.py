"""`config/partners/<id>.toml`: one organisation with one account (spec 1, Partners)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.domain.partner import TEMPORARY_NAMES, Mode, Partner, PartnerKey, PartnerLimits, Role
from gateway.errors import ConfigError
from gateway.exchange.keys import parse_public_key
from gateway.files.columns import AUTO, FORBIDDEN, SIGNAL_COLUMNS
from gateway.files.table import fold
from gateway.settings.fields import (
    Flag,
    From,
    GemeenteCode,
    Network,
    Sector,
    Table,
    Until,
    Volume,
    Whole,
    Words,
)
from gateway.settings.problems import unknown

#: What only partners of one role have; the first of each role's settings must be there.
_OF_ROLE: Mapping[Role, tuple[str, ...]] = {
    Role.CREDITOR: ("sectors", "columns", "defaults", "expected_by"),
    Role.MUNICIPALITY: ("serves",),
    Role.AUDITOR: ("scope",),
}

_MISSING: Mapping[Role, str] = {
    Role.CREDITOR: 'a creditor names its sectors, such as ["Huur"]',
    Role.MUNICIPALITY: 'a municipality names what it serves, such as ["GM1731"]',
    Role.AUDITOR: 'an auditor names its scope: "all", or a list such as ["GM0072"]',
}


def _check_id(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,31}", value):
        raise ValueError("an id has 2 to 32 characters: a-z, 0-9 and -, the first a letter")
    return value


def _check_mail(value: str) -> str:
    if value and not re.fullmatch(r"[^@\s]{1,64}@[^@\s]{1,189}\.[^@\s.]{2,63}", value):
        raise ValueError("write one mail address, such as beheer@example.nl")
    return value


def _check_pattern(value: str) -> str:
    if not value or "/" in value:
        raise ValueError('write patterns of file names, such as "*.part"')
    return value


def _read_key(value: Any) -> tuple[str, str]:
    if not isinstance(value, str):
        raise ValueError("write the line of the .pub file in quotes: `ssh-ed25519 AAAA…`")  # noqa: TRY004  # pydantic's protocol
    return parse_public_key(value)


def _read_scope(value: Any) -> Any:
    if value == "all" or isinstance(value, list):
        return None if value == "all" else value
    raise ValueError('write "all" or a list of municipality codes, such as ["GM0072"]')


class KeyTable(Table):
    """`[[keys]]`: a public key with its window."""

    #: the key and its fingerprint
    public_key: Annotated[tuple[str, str], BeforeValidator(_read_key)]
    valid_from: From = None
    valid_until: Until = None
    comment: str = ""

    def value(self) -> PartnerKey:
        """The key as a value of the domain."""
        public_key, fingerprint = self.public_key
        return PartnerKey(
            public_key=public_key,
            fingerprint=fingerprint,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            comment=self.comment,
        )


_GRANTED = PartnerLimits()


class LimitsTable(Table):
    """`[limits]` of one partner."""

    sessions: Annotated[Whole, Field(ge=1, le=10_000)] = _GRANTED.sessions
    bytes_per_day: Volume = _GRANTED.bytes_per_day
    files_per_day: Annotated[Whole, Field(ge=1, le=10_000_000)] = _GRANTED.files_per_day

    def value(self) -> PartnerLimits:
        """The limits as a value of the domain."""
        return PartnerLimits(**dict(self))


class PartnerFile(Table):
    """The whole file."""

    id: Annotated[str, AfterValidator(_check_id)] = ""
    name: Words = ""
    role: Role
    disabled: Flag = False
    mode: Mode = Mode.LIVE
    contact: Annotated[str, AfterValidator(_check_mail)] = ""
    language: Literal["nl", "en"] = "nl"
    sectors: tuple[Sector, ...] = ()
    serves: tuple[GemeenteCode, ...] = ()
    scope: Annotated[tuple[GemeenteCode, ...] | None, BeforeValidator(_read_scope)] = ()
    keys: tuple[KeyTable, ...] = ()
    allowed_networks: tuple[Network, ...] = ()
    limits: LimitsTable = LimitsTable()
    columns: Mapping[Annotated[str, Field(min_length=1)], str] = {}
    defaults: Mapping[str, Annotated[str, Field(min_length=1, max_length=1_000)]] = {}
    temporary_names: tuple[Annotated[str, AfterValidator(_check_pattern)], ...] = TEMPORARY_NAMES
    expected_by: Annotated[Whole, Field(ge=1, le=31)] | None = None

    def partner(self, partner_id: str) -> Partner:
        """The partner; only after `problems` found none.

        Args:
            partner_id: the name of the file without `.toml`.
        """
        return Partner(
            id=partner_id,
            name=self.name or partner_id,
            role=self.role,
            contact=self.contact,
            language=self.language,
            sectors=self.sectors,
            serves=self.serves,
            scope=self.scope,
            keys=tuple(key.value() for key in self.keys),
            allowed_networks=self.allowed_networks,
            limits=self.limits.value(),
            columns=dict(self.columns),
            defaults=dict(self.defaults),
            temporary_names=self.temporary_names,
            expected_by=self.expected_by,
            is_disabled=self.disabled,
            mode=self.mode,
        )

    def problems(self, partner_id: str, *, file: str) -> Iterator[ConfigError]:
        """What can't be used although every single value can."""
        if self.id and self.id != partner_id:
            yield ConfigError(f'must be the name of the file: "{partner_id}"', file=file, key="id")
        elif not self.id:
            try:
                _check_id(partner_id)
            except ValueError as exc:
                yield ConfigError(f"the name of the file is the partner's id: {exc}", file=file)
        yield from self._role_problems(file)
        yield from self._window_problems(file)
        yield from self._column_problems(file)

    def _role_problems(self, file: str) -> Iterator[ConfigError]:
        for role, names in _OF_ROLE.items():
            if role is not self.role:
                for name in names:
                    if name in self.model_fields_set:
                        reason = f"is for the role {role}, and this partner is {self.role}: take it out"
                        yield ConfigError(reason, file=file, key=name)
            elif getattr(self, names[0]) == ():
                yield ConfigError(_MISSING[role], file=file, key=names[0])

    def _window_problems(self, file: str) -> Iterator[ConfigError]:
        for place, key in enumerate(self.keys):
            if key.valid_from and key.valid_until and key.valid_from >= key.valid_until:
                yield ConfigError("ends before it begins", file=file, key=f"keys[{place}].valid_until")

    def _column_problems(self, file: str) -> Iterator[ConfigError]:
        for own, ours in self.columns.items():
            key = f"columns.{own}"
            if ours not in SIGNAL_COLUMNS:
                yield ConfigError(unknown("column", ours, SIGNAL_COLUMNS), file=file, key=key)
            elif fold(own) in map(fold, FORBIDDEN):
                yield ConfigError(
                    "a file with this column is refused, whatever it is called here", file=file, key=key
                )
            elif ours in list(self.columns.values())[: list(self.columns).index(own)]:
                yield ConfigError(
                    f"{ours} stands here twice: one header gives one column", file=file, key=key
                )
        for name, value in self.defaults.items():
            key = f"defaults.{name}"
            if name not in SIGNAL_COLUMNS:
                yield ConfigError(unknown("column", name, SIGNAL_COLUMNS), file=file, key=key)
            elif name == "signaal_id" and value != AUTO:
                yield ConfigError(
                    f'every signal has an id of its own: "{AUTO}" is the only default', file=file, key=key
                )
            elif name == "sector" and value not in self.sectors:
                yield ConfigError(f"{value!r} is none of this partner's sectors", file=file, key=key)
