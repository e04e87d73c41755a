"""`config/approvers`: who may approve, in the format of OpenSSH's allowed signers (ssh-keygen(1); spec 4, Approvals).

    archivaris namespaces="retention@gateway",valid-before="20280101" ssh-ed25519 AAAA… comment

A principal stands on certificates, which hold no personal data: a function or a staff number, no mail address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.clock import AMSTERDAM
from gateway.domain.approval import NAMESPACE, Approver
from gateway.errors import ConfigError
from gateway.exchange.keys import parse_public_key
from gateway.settings.problems import unknown

APPROVERS_FILE = "config/approvers"

_LINE = re.compile(
    r"(?P<principal>\S+)[ \t]+(?:(?P<options>(?!(?:ssh-|ecdsa-|sk-))(?:[^\s\"]|\"[^\"]*\")+)[ \t]+)?(?P<key>\S.*)"
)
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_OPTION = re.compile(r"(?P<name>[A-Za-z-]+)(?:=(?:\"(?P<quoted>[^\"]*)\"|(?P<bare>[^\s\",]*)))?(?:,|$)")
_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(Z)?")
_OPTIONS = ("namespaces", "valid-after", "valid-before")


def read_approvers(content: bytes, problems: list[ConfigError]) -> tuple[Approver, ...]:
    """The approvers of the file; what can't be used of it is added to `problems`, with its line."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        problems.append(
            ConfigError(f"not UTF-8 text (byte {exc.start + 1}): save it as UTF-8", file=APPROVERS_FILE)
        )
        return ()
    found: list[Approver] = []
    known: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        reason = ""
        try:
            approver = _read_line(line.strip())
        except ValueError as exc:
            reason = str(exc)
        else:
            first = known.setdefault(approver.fingerprint, number)
            if first == number:
                found.append(approver)
            else:
                reason = f"this key stands on line {first} too: each has a key of their own"
        if reason:
            problems.append(ConfigError(reason, file=APPROVERS_FILE, key=f"line {number}"))
    return tuple(found)


def _read_line(line: str) -> Approver:
    """One approver; ValueError says what to write instead."""
    read = _LINE.fullmatch(line)
    if read is None:
        raise ValueError(f'write `archivaris namespaces="{NAMESPACE}" ssh-ed25519 AAAA…`')
    principal = read["principal"].strip('"')
    if not _PRINCIPAL.fullmatch(principal):
        raise ValueError(
            "the principal stands on certificates: write one function or staff number of at most 40 letters, digits, "
            "dots, dashes and underscores; no mail address, list or pattern"
        )
    options = dict(_options(read["options"] or ""))
    namespaces = options.get("namespaces")
    if namespaces is not None and NAMESPACE not in namespaces.split(","):
        raise ValueError(f'namespaces must name {NAMESPACE}, or this key approves nothing: "{NAMESPACE}"')
    after, before = (_time(name, options.get(name)) for name in ("valid-after", "valid-before"))
    if after is not None and before is not None and after >= before:
        raise ValueError("valid-before lies before valid-after")
    public_key, fingerprint = parse_public_key(read["key"])
    return Approver(
        principal=principal,
        public_key=public_key,
        fingerprint=fingerprint,
        valid_after=after,
        valid_before=before,
    )


def _options(text: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    at = 0
    while at < len(text):
        read = _OPTION.match(text, at)
        if read is None:
            raise ValueError(f'can\'t read the options: write namespaces="{NAMESPACE}"')
        name, at = read["name"].lower(), read.end()
        if name == "cert-authority":
            raise ValueError("cert-authority is not accepted: each approver has a key of their own")
        if name not in _OPTIONS:
            raise ValueError(unknown("option", name, _OPTIONS))
        if name in seen:
            raise ValueError(f"{name} stands here twice")
        seen.add(name)
        yield name, read["quoted"] if read["quoted"] is not None else read["bare"] or ""


def _time(name: str, value: str | None) -> datetime | None:
    """A moment as ssh-keygen reads it: `YYYYMMDD[HHMM[SS]][Z]`; without Z in the Netherlands."""
    if value is None:
        return None
    read = _TIME.fullmatch(value)
    try:
        if read is not None:
            zone = UTC if read[7] else AMSTERDAM
            year, month, day, hour, minute, second = (int(part or 0) for part in read.groups()[:6])
            return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
    except ValueError:
        pass
    raise ValueError(f"{name} must be a time such as 20271231 or 202712311200")
