"""What a file does, stored in short transactions that nobody sees, and made visible in a last one (spec 1)."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from datetime import date, timedelta
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from gateway.clock import local_day
from gateway.domain.policy import Grouping
from gateway.domain.retention import contents_due, signal_due
from gateway.domain.signal import Mutation, Signal, SignalState, SignalType
from gateway.matching import normalise
from gateway.pipeline.context import Context
from gateway.pipeline.keying import Keyed, Keying
from gateway.pipeline.locate import Located
from gateway.pipeline.removing import RemovalKind, keep_signals
from gateway.pipeline.row_keys import RowKey, RowKeys
from gateway.pipeline.tally import Tally
from gateway.pipeline.touching import Touching, mark_urgent
from gateway.store import Connection, answers, data_keys, exclusions, meldingen, queue, shares, signals
from gateway.store.data_keys import NO_MUNICIPALITY
from gateway.store.meldingen import Spot
from gateway.store.places import chunks
from gateway.store.queue import Claimed, Decidable
from gateway.store.signals import Sealed, Version
from gateway.vault.ids import new_id
from gateway.vault.objects import SIGNAL

#: Rows that are dropped at a time, and those of signals that are stored at a time.
_DROP_ROWS, _STAGE_ROWS = 1_000, 250
#: How long a processor is left to who waits to write.
_TURN_S = 0.001
#: The columns of a version.
_columns = attrgetter(*Version.__slots__)

#: States of a signal that no municipality was to get.
_NOBODYS = (SignalState.NOT_ROUTABLE, SignalState.NOT_CONNECTED)


class Placed(NamedTuple):
    """A row with its signaal_id, stated or made, its municipality and its places."""

    row: Signal
    signal_id: str
    located: Located
    keyed: Keyed


class Staging:
    """Collects what a batch of rows brings, and stores it batch by batch.

    Only for the holder of `Store.exclusive()`.
    """

    def __init__(self, context: Context, delivery: Claimed | Decidable, keying: Keying) -> None:
        self._context, self._delivery, self._keying = context, delivery, keying
        self._row_keys = RowKeys(context, delivery)
        self._levels: dict[tuple[str, str], Grouping] = {}
        #: melding id, of the batch; None: looked for, and there is none
        self._meldingen: dict[Spot, str | None] = {}
        #: the columns of `signals.STAGED` but the last, and the data key that it names
        self._rows: list[tuple[tuple[Any, ...], RowKey | None]] = []
        self._moved: list[tuple[tuple[Any, ...], RowKey | None]] = []
        self._new_meldingen: list[dict[str, Any]] = []
        self._lengthened: dict[date, set[str]] = defaultdict(set)
        self._touching = Touching(context)
        self._now = context.clock.now()
        self._today = local_day(self._now)
        self._due_days: dict[str, date] = {}
        self._contents_due: dict[tuple[SignalState, date], date] = {}
        #: municipality -> signals taken for it; empty: for none
        self._shares: Counter[str] = Counter()
        self._moved_shares: Counter[str] = Counter()

    # -- meldingen -------------------------------------------------------------------------------

    def load_meldingen(
        self, conn: Connection, months: Set[tuple[str, str]], wanted: Collection[tuple[str, str, Keyed]]
    ) -> None:
        """Bring what signals of these municipalities and months join into memory, all in one query.

        `wanted` are those of them, with their places, for which there may be a melding.
        """
        self._settle_levels(conn, months)
        spots = {
            (municipality, month, (level := self._levels[municipality, month]).value, keyed.at(level))
            for municipality, month, keyed in wanted
        }
        missing = [spot for spot in spots if spot not in self._meldingen]
        found = meldingen.find(conn, missing)
        self._meldingen.update((spot, found.get(spot)) for spot in missing)

    def melding_of(self, conn: Connection, municipality: str, month: str, keyed: Keyed) -> str:
        """The melding that a signal is in: the one there is, or a new one."""
        level = self._levels.get((municipality, month))
        if level is None:
            self._settle_levels(conn, {(municipality, month)})
            level = self._levels[municipality, month]
        at = (municipality, month, level.value, keyed.at(level))
        if at not in self._meldingen:
            is_new = at[3] in self._keying.made
            self._meldingen[at] = None if is_new else meldingen.find(conn, [at]).get(at)
        due_on = self.due_on(municipality)
        melding_id = self._meldingen[at]
        if melding_id is not None:
            self._lengthened[due_on].add(melding_id)
            return melding_id
        digits = municipality.removeprefix("GM") + month.replace("-", "")
        melding_id = self._meldingen[at] = new_id(f"M{digits}-", 8)
        self._new_meldingen.append(
            {
                "id": melding_id,
                "municipality": municipality,
                "month": month,
                "level": at[2],
                "place": at[3],
                "created_at": self._delivery.received_at,
                "touched_at": self._now,
                "due_on": due_on,
            }
        )
        return melding_id

    def touch(self, version: Version, contract: Iterable[Version]) -> None:
        """What this signal is in, and what looks back on it, must be looked at again; as `Touching.add`."""
        self._touching.add(version, contract)

    def _settle_levels(self, conn: Connection, months: Set[tuple[str, str]]) -> None:
        """By which key a municipality's month is grouped: settled when the month's first signal comes."""
        unknown = months - self._levels.keys()
        if not unknown:
            return
        self._levels |= meldingen.groupings(conn, {municipality for municipality, _ in unknown})
        begun = {
            (municipality, month): self._context.policy(municipality).matching.key
            for municipality, month in sorted(unknown - self._levels.keys())
        }
        if begun:
            with self._context.store.write() as writing:
                meldingen.settle_groupings(writing, begun)
            self._levels |= begun

    # -- rows ------------------------------------------------------------------------------------

    def load_keys(self, conn: Connection) -> None:
        """The data keys of this delivery's rows that were stored earlier are used again."""
        self._row_keys.load(conn, self._today)

    def add(self, placed: Placed, version: Version) -> None:
        """A version of a signal; of a municipality that is not connected no contents are kept (D41)."""
        self._rows.append(self._values(placed, version))
        if placed.row.is_crisis and version.melding_id:
            self._touching.marked.add(version.melding_id)
        self._shares[_share(placed.located)] += 1

    def move(self, placed: Placed, version: Version) -> None:
        """A version that is stored goes to another municipality, sealed anew; as `add`."""
        self._moved.append(self._values(placed, version))
        if _share(placed.located):
            self._moved_shares.update({_share(placed.located): 1, "": -1})

    def _values(self, placed: Placed, version: Version) -> tuple[tuple[Any, ...], RowKey | None]:
        row, signal_id, located, keyed = placed
        contents_due_on = self._contents_due_on(located.state, version.due_on)
        kept: tuple[Any, ...]
        if located.state is SignalState.NOT_CONNECTED:
            key, sealed = None, None
            # nothing of what it says is kept (D41)
            kept = (False, False, 0, version.signalled_on, None)
        else:
            key = self._row_keys.get(located.municipality or NO_MUNICIPALITY, contents_due_on)
            sealed = key.sealer.seal(
                _contents(row, signal_id), table=SIGNAL, object_id=self._delivery.id, row=row.line
            )
            arrears_since = since(row, version.signalled_on)
            kept = (
                row.is_crisis,
                row.warm_handover,
                row.amount_cents,
                arrears_since,
                row.supply_ends_on,
            )
        values = (
            *_columns(version),
            self._delivery.id,
            row.line,
            self._delivery.partner_id,
            row.sector,
            *kept,
            self._delivery.received_at,
            keyed.p1,
            keyed.by_surname,
            contents_due_on,
            sealed,
        )
        return values, key

    def store(self) -> None:
        """A transaction for a short batch, several for a long one: who waits to write gets a turn between them.

        Nothing of them is seen before `show`. None waits for the disk: they are on it with the one that shows them, and
        a power cut before that undoes them as it does the claim.
        """
        store = self._context.store
        if len(self._rows) + len(self._moved) <= _STAGE_ROWS:
            with store.write(is_durable=False) as conn:
                self.store_in(conn)
            return
        for change in self._changes():
            with store.write(is_durable=False) as conn:
                change(conn)
            time.sleep(_TURN_S)

    def store_in(self, conn: Connection) -> None:
        """A batch, in the caller's transaction; what moved is seen with it."""
        for change in self._changes():
            change(conn)

    def _changes(self) -> Iterator[Callable[[Connection], None]]:
        """What stores a batch, in parts. Places first: cut off behind them, the next try finds the same."""
        made = frozenset(self._keying.made)
        yield self._keying.keep
        yield self._store_meldingen
        for rows in chunks(self._rows, _STAGE_ROWS):
            yield partial(_stage, rows)
        yield partial(self._store_rest, made)
        self._moved_shares.clear()
        self._rows.clear()
        self._moved.clear()
        self._new_meldingen.clear()
        self._meldingen.clear()
        self._lengthened.clear()

    def _store_meldingen(self, conn: Connection) -> None:
        self._row_keys.store(conn)
        meldingen.add(conn, self._new_meldingen)
        for due_on, ids in self._lengthened.items():
            meldingen.extend(conn, ids, due_on)

    def _store_rest(self, made: Set[int], conn: Connection) -> None:
        signals.move(conn, [(*values, key and key.id) for values, key in self._moved])
        shares.add(conn, self._delivery.id, self._moved_shares)
        self._touching.store(conn, self._context.clock.now(), made)

    def show(self, conn: Connection, tally: Tally) -> None:
        """Make all of the delivery visible, with the caller's transaction."""
        signals.show(
            conn,
            self._delivery.id,
            replaced=tally.replaced_ids,
            superseded=tally.superseded_ids,
            withdrawn=tally.withdrawn_ids,
            today=self._today,
        )
        withdrawn = signals.by_id(conn, tally.withdrawn_ids)
        keep_signals(self._context, conn, RemovalKind.WITHDRAWAL, withdrawn)
        shares.add(conn, self._delivery.id, self._shares)
        mark_urgent(self._context, conn, self._touching.marked)

    def due_on(self, municipality: str) -> date:
        """The due day of a signal of this delivery; tonight when it waited so long that its term is over."""
        due_on = self._due_days.get(municipality)
        if due_on is None:
            term = self._context.term_months(municipality)
            due_on = max(signal_due(self._delivery.received_at, term), self._today)
            self._due_days[municipality] = due_on
        return due_on

    def _contents_due_on(self, state: SignalState, due_on: date) -> date:
        """The due day of sealed contents; tonight when their term is over."""
        found = self._contents_due.get((state, due_on))
        if found is None:
            own = contents_due(state, self._delivery.received_at, due_on, self._context.terms)
            found = self._contents_due[state, due_on] = max(own, self._today)
        return found


def _stage(rows: Iterable[tuple[tuple[Any, ...], RowKey | None]], conn: Connection) -> None:
    signals.stage(conn, [(*values, key and key.id) for values, key in rows])


def _share(located: Located) -> str:
    """Whose share of the delivery a signal counts in: a municipality's, or nobody's."""
    return "" if located.state in _NOBODYS else located.municipality


def drop_staged(context: Context, delivery_id: str) -> None:
    """Take away what a delivery staged and never showed, if it did, in short transactions."""
    with context.store.read() as conn:
        if not queue.has_staged(conn, delivery_id):
            return
    for drop in (signals.drop_staged, answers.drop_staged, exclusions.drop_staged):
        dropped = _DROP_ROWS
        while dropped:
            with context.store.write() as conn:
                dropped = drop(conn, delivery_id, _DROP_ROWS)
    with context.store.write() as conn:
        data_keys.drop_of_rows(conn, delivery_id)


def since(row: Signal, signalled_on: date) -> date:
    """Since when the resident is in arrears."""
    return row.arrears_since or signalled_on - timedelta(days=row.days_in_arrears or 0)


def _contents(row: Signal, signal_id: str) -> dict[str, object]:
    """What is sealed, under the wire's names; empty values are left out."""
    contents: dict[str, object] = {
        "signaal_id": signal_id,
        "product": row.product,
        "klantnummer": row.customer_number,
        "voorletters": row.initials,
        "voorvoegsel": row.infix,
        "achternaam": row.surname,
        "geboortedatum": row.born_on.isoformat() if row.born_on else "",
        "straatnaam": row.street,
        "huisnummer": row.house_number,
        "huisletter": normalise.letter(row.house_letter),
        "huisnummertoevoeging": row.house_number_suffix,
        "postcode": row.postcode,
        "woonplaats": row.city,
        "telefoonnummer": row.phone,
        "emailadres": row.email,
        "ontstaansdatum": row.arrears_since.isoformat() if row.arrears_since else "",
        "dagen_achterstand": row.days_in_arrears,
    }
    return {name: value for name, value in contents.items() if value != "" and value is not None}


def signal_of(stored: Sealed, contents: Mapping[str, Any]) -> Signal:
    """The row that a stored signal came from, as far as it is kept: what it said of its municipality is not.

    `contents` are its sealed fields, opened.
    """
    return Signal(
        line=stored.line,
        mutation=Mutation.NEW,
        signal_id=contents["signaal_id"],
        sector=stored.sector,
        product=contents.get("product", ""),
        customer_number=contents["klantnummer"],
        surname=contents["achternaam"],
        postcode=contents["postcode"],
        house_number=contents["huisnummer"],
        house_letter=contents.get("huisletter", ""),
        house_number_suffix=contents.get("huisnummertoevoeging", ""),
        amount_cents=stored.amount_cents,
        arrears_since=_day(contents.get("ontstaansdatum")),
        days_in_arrears=contents.get("dagen_achterstand"),
        signal_type=SignalType(stored.signal_type),
        is_crisis=stored.is_crisis,
        signalled_on=stored.signalled_on,
        initials=contents.get("voorletters", ""),
        infix=contents.get("voorvoegsel", ""),
        born_on=_day(contents.get("geboortedatum")),
        street=contents.get("straatnaam", ""),
        city=contents.get("woonplaats", ""),
        phone=contents.get("telefoonnummer", ""),
        email=contents.get("emailadres", ""),
        warm_handover=stored.warm_handover,
        municipality="",
        supply_ends_on=stored.supply_ends_on,
        content=b"",
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
