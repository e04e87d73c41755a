"""Exclusion and known-residents files: staged, and visible with the delivery's last transaction (spec 2, spec 3).

A row with the same person and address fields replaces the earlier one, and `mutatie` I ends it. A known-residents file
replaces all that its sender listed before in the municipalities that it names. What was replaced or ended goes in the
next night.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.delivery import Kind
from gateway.domain.exclusion import HELD_DAYS, Listing
from gateway.domain.retention import dispatch_due
from gateway.domain.signal import RowError
from gateway.errors import DeliveryError
from gateway.files.exclusionfile import ExclusionFile, ParsedListing, read_listings
from gateway.files.receipt import Sums
from gateway.files.table import Table
from gateway.matching import exclusion, keys, normalise
from gateway.matching.exclusion import Exclusion, Exclusions
from gateway.pipeline.context import Context
from gateway.pipeline.excluding import Excluding
from gateway.pipeline.exclusions import meant, opened
from gateway.pipeline.locate import candidates
from gateway.pipeline.received import Received, Taken, receipt
from gateway.pipeline.row_keys import RowKey, RowKeys
from gateway.pipeline.tally import Tally
from gateway.store import Connection, exclusions
from gateway.store.places import chunks
from gateway.vault.objects import EXCLUSION

#: Rows that are decided on and stored at a time.
BATCH_ROWS = 1_000

#: Person and address fields, as they are compared.
_Who = tuple[str, ...]


class _Held(NamedTuple):
    """A row that lists somebody: its id, and who that is."""

    id: int
    exclusion: Exclusion


def take_exclusions(context: Context, received: Received, table: Table) -> Taken:
    """Stage whom a municipality wants no signals about; for the holder of `Store.exclusive()`."""
    intake = ListingIntake(context, received, Kind.EXCLUSIONS)
    intake.take(read_listings(table, Kind.EXCLUSIONS, received.received_on, context.limits))
    excluding = Excluding(context)
    if not received.delivery.is_trial:
        for municipality, fresh in intake.fresh().items():
            excluding.judge(municipality, fresh)
    excluding.prepare()

    def show(conn: Connection) -> None:
        intake.show(conn)
        excluding.show(conn, received.delivery)

    tally = intake.tally
    return Taken(
        kind=Kind.EXCLUSIONS,
        tally=tally,
        counts={"listed": intake.listed, "ended": intake.ended},
        files=receipt(
            context,
            received,
            tally,
            Sums(exclusions=intake.listed, ended=intake.ended, rejected=tally.rejected),
        ),
        show=show,
    )


def take_known_residents(context: Context, received: Received, table: Table) -> Taken:
    """Stage whom a municipality knows; for the holder of `Store.exclusive()`.

    Raises:
        DeliveryError: F11, the policy of a municipality concerned states no ground (Wgs art. 7c(2)).
    """
    if not any(context.policy(code).known_residents_basis for code in received.partner.serves):
        raise _no_ground(received.partner.serves)
    intake = ListingIntake(context, received, Kind.KNOWN_RESIDENTS)
    intake.take(read_listings(table, Kind.KNOWN_RESIDENTS, received.received_on, context.limits))
    for municipality in intake.municipalities:
        if not context.policy(municipality).known_residents_basis:
            raise _no_ground((municipality,))

    def show(conn: Connection) -> None:
        intake.show(conn)
        _record_grounds(context, conn, received, intake.municipalities)

    tally = intake.tally
    return Taken(
        kind=Kind.KNOWN_RESIDENTS,
        tally=tally,
        counts={"listed": intake.listed},
        files=receipt(context, received, tally, Sums(known_residents=intake.listed, rejected=tally.rejected)),
        show=show,
    )


def _no_ground(municipalities: Sequence[str]) -> DeliveryError:
    return DeliveryError(
        "F11", f"bekende inwoners: geen grondslag vastgelegd voor {', '.join(sorted(municipalities))}"
    )


def _record_grounds(
    context: Context, conn: Connection, received: Received, municipalities: Counter[str]
) -> None:
    """For the auditor: how many residents were listed, and on what ground: the digest of what its register reads."""
    for municipality, count in sorted(municipalities.items()):
        record(
            conn,
            action="known_residents.listed",
            object_id=municipality,
            origin="pipeline",
            actor=received.partner.id,
            at=context.clock.now(),
            node=context.node,
            detail={
                "delivery": received.delivery.id,
                "residents": count,
                "legal_basis": sha256(
                    context.policy(municipality).known_residents_basis.encode()
                ).hexdigest(),
            },
        )


class ListingIntake:
    """An exclusion or known-residents file in processing; for the holder of `Store.exclusive()`."""

    def __init__(self, context: Context, received: Received, kind: Kind) -> None:
        self._context, self._received, self._kind = context, received, kind
        self._today = local_day(context.clock.now())
        self.tally = Tally(due_on=dispatch_due(context.clock.now(), context.terms))
        #: rows that list somebody, and rows that end an exclusion
        self.listed = self.ended = 0
        #: municipality -> rows that list somebody
        self.municipalities: Counter[str] = Counter()
        #: municipality -> who -> the row that lists him, after the rows above
        self._held: dict[str, dict[_Who, _Held]] = {}
        #: ids of rows that were replaced or ended
        self._replaced: list[int] = []
        self._row_keys = RowKeys(context, received.delivery)
        self._staged: list[tuple[dict[str, Any], RowKey]] = []
        with context.store.read() as conn:
            self._first_id = self._next_id = exclusions.next_id(conn)

    def take(self, file: ExclusionFile) -> None:
        """Read the whole file and stage whom it lists."""
        self.tally.warnings.extend(file.warnings)
        for batch in file.batches:
            for some in chunks(batch, BATCH_ROWS):
                self._take(some)

    def fresh(self) -> dict[str, Exclusions]:
        """Whom this file lists, by municipality."""
        found = {
            municipality: exclusion.gather(
                held.exclusion for held in by_who.values() if held.id >= self._first_id
            )
            for municipality, by_who in self._held.items()
        }
        return {municipality: each for municipality, each in found.items() if not each.is_empty}

    def show(self, conn: Connection) -> None:
        """Make all count, with the caller's transaction."""
        exclusions.show(conn, self._received.delivery.id, replaced=self._replaced, today=self._today)

    def _take(self, batch: Sequence[ParsedListing]) -> None:
        rows = [row for row in batch if isinstance(row, Listing)]
        places = candidates(self._context, ((row.postcode, row.house_number) for row in rows))
        with self._context.store.read() as conn:
            for row in batch:
                self.tally.rows += 1
                if not isinstance(row, Listing):
                    self.tally.reject(*row)
                elif municipality := self._served(places[row.postcode, row.house_number]):
                    self._apply(conn, row, municipality)
                else:
                    self._refuse(row)
        self._store()

    def _served(self, places: Sequence[str]) -> str:
        """The municipality that a row is about: the one of these that its sender serves; empty when none is clear."""
        served = [code for code in places if code in self._received.partner.serves]
        return served[0] if len(served) == 1 else ""

    def _apply(self, conn: Connection, row: Listing, municipality: str) -> None:
        by_who = self._held_in(conn, municipality)
        contents = _contents(row)
        before = by_who.pop(_who(contents), None)
        if before is not None:
            self._replaced.append(before.id)
        if row.until is None:
            if before is None:
                self._refuse(row)
            else:
                self.ended += 1
            return
        by_who[_who(contents)] = _Held(self._next_id, meant(row.until, contents))
        self._stage(row, municipality, row.until, contents)
        self.listed += 1
        self.municipalities[municipality] += 1

    def _held_in(self, conn: Connection, municipality: str) -> dict[_Who, _Held]:
        """Whom a municipality lists; of known residents none, as all that the sender listed before is replaced."""
        by_who = self._held.get(municipality)
        if by_who is None:
            by_who = self._held[municipality] = {}
            for listed, contents in opened(self._context, conn, self._kind, municipality, self._today):
                if self._kind is Kind.EXCLUSIONS:
                    by_who[_who(contents)] = _Held(listed.id, meant(listed.until, contents))
                elif listed.partner_id == self._received.partner.id:
                    self._replaced.append(listed.id)
        return by_who

    def _refuse(self, row: Listing) -> None:
        """V16: the address is not in a municipality that the sender serves, or nobody there is listed so."""
        self.tally.reject(RowError(line=row.line, signal_id="", column="postcode", code="V16"))

    def _stage(self, row: Listing, municipality: str, until: date, contents: dict[str, object]) -> None:
        held_on = until + timedelta(days=HELD_DAYS) if self._kind is Kind.EXCLUSIONS else until
        due_on = max(held_on, self._today)  # it may have waited for long
        key = self._row_keys.get(municipality, due_on)
        values = {
            "id": self._next_id,
            "delivery_id": self._received.delivery.id,
            "line": row.line,
            "kind": self._kind,
            "partner_id": self._received.partner.id,
            "municipality": municipality,
            "in_force": False,
            "until": until,
            "due_on": due_on,
            "sealed": key.sealer.seal(
                contents, table=EXCLUSION, object_id=self._received.delivery.id, row=row.line
            ),
        }
        self._next_id += 1
        self._staged.append((values, key))

    def _store(self) -> None:
        """One short transaction a batch; nothing of it counts before `show`."""
        self._row_keys.ensure_days()
        with self._context.store.write() as conn:
            self._row_keys.store(conn)
            exclusions.stage(conn, [values | {"data_key_id": key.id} for values, key in self._staged])
        self._staged.clear()


def _contents(row: Listing) -> dict[str, Any]:
    """What is sealed, under the wire's names; empty values are left out."""
    contents: dict[str, Any] = {
        "postcode": row.postcode,
        "huisnummer": row.house_number,
        "huisletter": normalise.letter(row.house_letter),
        "huisnummertoevoeging": row.house_number_suffix,
        "achternaam": row.surname,
        "geboortedatum": row.born_on.isoformat() if row.born_on else "",
        "reden": row.reason,
    }
    return {name: value for name, value in contents.items() if value}


def _who(contents: dict[str, Any]) -> _Who:
    surname = contents.get("achternaam", "")
    return (
        *keys.address_exact(
            contents["postcode"],
            contents["huisnummer"],
            contents.get("huisletter", ""),
            contents.get("huisnummertoevoeging", ""),
        ),
        normalise.surname(surname) or surname,
        contents.get("geboortedatum", ""),
    )
