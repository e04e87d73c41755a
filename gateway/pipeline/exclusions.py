"""Whom municipalities list, opened in memory for who compares with it (spec 3, Exclusions; spec 4, Rows and index)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from gateway.domain.delivery import Kind
from gateway.domain.signal import Signal, SignalState
from gateway.matching import exclusion, keys
from gateway.matching.exclusion import Exclusion, Exclusions
from gateway.matching.keys import Levels
from gateway.pipeline.context import Context
from gateway.pipeline.locate import Located
from gateway.pipeline.sealing import Opener
from gateway.store import Connection
from gateway.store import exclusions as stored
from gateway.store.exclusions import Listed
from gateway.vault.objects import EXCLUSION


def excluded_residents(
    context: Context, conn: Connection, municipalities: Iterable[str], today: date
) -> dict[str, Exclusions]:
    """Whom each of these municipalities wants no signals about, each until his last day."""
    codes = {code: {code, *context.predecessors(code)} for code in municipalities}
    rows = list(stored.in_force(conn, Kind.EXCLUSIONS, set().union(*codes.values()), today))
    if not rows:
        return dict.fromkeys(codes, exclusion.gather(()))
    opener = Opener(context, conn)
    opener.load(row.data_key_id for row in rows)
    found = [(row.municipality, meant(row.until, opener.open(row, EXCLUSION))) for row in rows]
    return {code: exclusion.gather(each for of, each in found if of in its) for code, its in codes.items()}


def judged(located: Located, row: Signal, signalled_on: date, excluded: Exclusions | None) -> Located:
    """D30: where a signal belongs, unless its municipality excludes whom it is about."""
    if not located.is_routed or excluded is None or excluded.is_empty:
        return located
    levels = keys.levels(
        postcode=row.postcode,
        number=row.house_number,
        letter=row.house_letter,
        addition=row.house_number_suffix,
        surname=row.surname,
        born_on=row.born_on,
    )
    if exclusion.is_excluded(excluded, levels, signalled_on=signalled_on, is_crisis=row.is_crisis):
        return located._replace(state=SignalState.EXCLUDED)
    return located


def known_residents(context: Context, conn: Connection, municipality: str, today: date) -> Exclusions:
    """Whom a municipality knows already, each until his last day; nobody while its policy states no ground."""
    if not context.policy(municipality).known_residents_basis:
        return exclusion.gather(())
    found = opened(context, conn, Kind.KNOWN_RESIDENTS, municipality, today)
    return exclusion.gather(meant(listed.until, contents) for listed, contents in found)


def opened(
    context: Context, conn: Connection, kind: Kind, municipality: str, today: date
) -> Iterator[tuple[Listed, dict[str, Any]]]:
    """The rows in force of a municipality, and of those that merged into it, with their contents; oldest first."""
    codes = (municipality, *context.predecessors(municipality))
    rows = list(stored.in_force(conn, kind, codes, today))
    opener = Opener(context, conn)
    opener.load(row.data_key_id for row in rows)
    for row in rows:
        yield row, opener.open(row, EXCLUSION)


def meant(until: date, contents: Mapping[str, Any]) -> Exclusion:
    """Who is meant by the contents of a row, under the wire's names; empty ones are left out there."""
    born_on = contents.get("geboortedatum")
    return Exclusion(
        postcode=contents["postcode"],
        house_number=contents["huisnummer"],
        house_letter=contents.get("huisletter", ""),
        house_number_suffix=contents.get("huisnummertoevoeging", ""),
        surname=contents.get("achternaam", ""),
        born_on=date.fromisoformat(born_on) if born_on else None,
        until=until,
    )


def levels_of(contents: Mapping[str, Any]) -> Levels:
    """What the sealed contents of a signal or a listed resident are compared by."""
    born_on = contents.get("geboortedatum")
    return keys.levels(
        postcode=contents["postcode"],
        number=contents["huisnummer"],
        letter=contents.get("huisletter", ""),
        addition=contents.get("huisnummertoevoeging", ""),
        surname=contents.get("achternaam", ""),
        born_on=date.fromisoformat(born_on) if born_on else None,
    )
