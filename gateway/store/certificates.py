"""Certificates of destruction, kept as they were signed, in little room (spec 4, Retention: certify).

Those of one run of the purge say the same, but for what their party had. So each is packed (RFC 1950) against the shortest
of them, and takes a tenth of its size: a run may make one for every municipality, and they are kept for years.

Each function works in the caller's transaction.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select

from gateway.errors import StoreError
from gateway.store import outgoing
from gateway.store.ledger import PASSED_OVER
from gateway.store.retention_tables import CertificateRow

_CERTIFICATE: Table = CertificateRow.__table__  # type: ignore[attr-defined]

#: What is packed, in this order; the size of each is beside it.
_FORMS = ("as_json", "json_signature", "as_text", "text_signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A certificate as it was signed: the exact bytes of both forms."""

    number: str
    run_id: int
    party: str
    made_at: datetime
    is_complete: bool
    as_json: bytes
    json_signature: bytes
    as_text: bytes
    text_signature: bytes
    keep_until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A certificate in a list; sizes of its four files in bytes."""

    number: str
    run_id: int
    party: str
    made_at: datetime
    is_complete: bool
    as_json_bytes: int
    json_signature_bytes: int
    as_text_bytes: int
    text_signature_bytes: int


_PLAIN = [field.name for field in fields(Signed) if field.name not in _FORMS]
_LISTED = [_CERTIFICATE.c[field.name] for field in fields(Listed)]


def add(conn: Connection, made: Sequence[Signed]) -> None:
    """Store the certificates that a run made at once: they are forgotten at once too."""
    shortest = min(made, key=lambda one: len(_forms(one)))
    base = _forms(shortest)
    conn.execute(
        insert(_CERTIFICATE),
        [
            {
                **{name: getattr(one, name) for name in _PLAIN},
                **{f"{name}_bytes": len(getattr(one, name)) for name in _FORMS},
                "base": "" if one is shortest else shortest.number,
                "packed": _packed(_forms(one), b"" if one is shortest else base),
            }
            for one in made
        ],
    )


def certificate(conn: Connection, number: str) -> Signed | None:
    """A certificate by its number.

    Raises:
        StoreError: what is kept of it was altered.
    """
    row = conn.execute(select(_CERTIFICATE).where(_CERTIFICATE.c.number == number)).mappings().one_or_none()
    if row is None:
        return None
    packed = select(_CERTIFICATE.c.packed).where(_CERTIFICATE.c.number == row["base"])
    base: bytes | None = conn.execute(packed).scalar_one_or_none()
    try:
        content = _unpacked(row["packed"], b"" if base is None else _unpacked(base, b""))
    except zlib.error as exc:
        raise StoreError(f"certificate {number} can't be unpacked: it was altered in the database") from exc
    forms: dict[str, Any] = {}
    for name in _FORMS:
        forms[name], content = content[: row[f"{name}_bytes"]], content[row[f"{name}_bytes"] :]
    return Signed(**forms, **{name: row[name] for name in _PLAIN})


def certificates(conn: Connection, parties: Collection[str] | None = None) -> list[Listed]:
    """Every certificate of these parties (None: of all), newest first."""
    query = select(*_LISTED).order_by(_CERTIFICATE.c.made_at.desc(), _CERTIFICATE.c.number.desc())
    if parties is not None:
        query = query.where(_CERTIFICATE.c.party.in_(parties))
    return [Listed(**row) for row in conn.execute(query).mappings()]


def last_number(conn: Connection, year: int) -> int:
    """The number of the last certificate of a year, without the year; 0: it has none. Higher after a restore."""
    passed = outgoing.last_number(conn, f"{PASSED_OVER}/certificate/{year}")
    query = select(func.max(_CERTIFICATE.c.number)).where(_CERTIFICATE.c.number.startswith(f"{year}-"))
    last: str | None = conn.execute(query).scalar_one()
    return max(0 if last is None else int(last.partition("-")[2]), passed)


def forget(conn: Connection, today: date) -> None:
    """They go when their own term is over."""
    conn.execute(delete(_CERTIFICATE).where(_CERTIFICATE.c.keep_until < today))


def _forms(one: Signed) -> bytes:
    return b"".join(getattr(one, name) for name in _FORMS)


def _packed(content: bytes, base: bytes) -> bytes:
    packer = zlib.compressobj(zdict=base)
    return packer.compress(content) + packer.flush()


def _unpacked(packed: bytes, base: bytes) -> bytes:
    unpacker = zlib.decompressobj(zdict=base)
    content = unpacker.decompress(packed)
    if not unpacker.eof:
        raise zlib.error("the end is missing")
    return content
