"""What was made with an index key, and its change to what another version of the key makes (spec 4, Keys)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Table, delete, func, or_, select, update

from gateway.store.tables import Delivery, IndexToken, SignalRow

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_TOKEN: Table = IndexToken.__table__  # type: ignore[attr-defined]


class File(NamedTuple):
    """A received file as it is found by its name and its bytes, under which index keys."""

    id: str
    partner_id: str
    name_sealed: bytes | None
    name_token: bytes | None
    name_key: str | None
    sha256_sealed: bytes | None
    content_digest: bytes | None
    content_key: str | None


def beside(key_id: str, version: int) -> str:
    """Under what the tokens of another version lie until they take over: the id of no key."""
    return f"{key_id}.v{version}"


def count_rows(conn: Connection) -> int:
    """How many signals have sealed contents."""
    query = select(func.count()).select_from(_SIGNAL).where(_SIGNAL.c.sealed.is_not(None))
    return int(conn.execute(query).scalar_one())


def rows_after(conn: Connection, last_id: int, at_most: int) -> list[int]:
    """The ids of the signals with sealed contents that follow one."""
    query = select(_SIGNAL.c.id).where(_SIGNAL.c.id > last_id, _SIGNAL.c.sealed.is_not(None))
    return list(conn.execute(query.order_by(_SIGNAL.c.id).limit(at_most)).scalars())


def files(conn: Connection, key_id: str) -> Iterator[File]:
    """The received files that are found by what was made with an index key."""
    columns = (_DELIVERY.c[name] for name in File._fields)
    query = select(*columns).where(or_(_DELIVERY.c.name_key == key_id, _DELIVERY.c.content_key == key_id))
    return (File(*row) for row in conn.execute(query.order_by(_DELIVERY.c.id)).fetchall())


def set_name(conn: Connection, delivery_id: str, token: bytes | None) -> None:
    """By which token a file's name is found; None: by none."""
    _set(conn, delivery_id, "name_token", "name_key", token)


def set_digest(conn: Connection, delivery_id: str, digest: bytes | None) -> None:
    """By which keyed digest the same bytes are found; None: by none."""
    _set(conn, delivery_id, "content_digest", "content_key", digest)


def forget_contents(conn: Connection, key_id: str) -> None:
    """No signal is known by a token of its contents that was made with an index key."""
    conn.execute(update(_SIGNAL).where(_SIGNAL.c.content_key == key_id).values(content_token=b""))


def take_over(conn: Connection, key_id: str, beside: str) -> tuple[int, int]:
    """The tokens that lie beside take the place of a key's own; how many there are, and how many fewer than before."""
    before = conn.execute(delete(_TOKEN).where(_TOKEN.c.key_id == key_id)).rowcount
    made = conn.execute(update(_TOKEN).where(_TOKEN.c.key_id == beside).values(key_id=key_id)).rowcount
    return made, before - made


def _set(conn: Connection, delivery_id: str, token: str, key: str, value: bytes | None) -> None:
    values = {token: value} if value is not None else {token: None, key: None}
    conn.execute(update(_DELIVERY).where(_DELIVERY.c.id == delivery_id).values(values))
