"""The rows of one signal file: what each does, staged in batches that nobody sees yet (spec 3, Words).

Reads and decisions happen outside write transactions; each batch is then stored in one short transaction, so
that a CLOSE never waits for a big file (spec 1, States). Rows apply in line order; what earlier rows of the
same file did is kept in memory until the delivery is made visible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from gateway.clock import add_months, local_day, month_of
from gateway.domain.codes import StatusCode
from gateway.domain.partner import Partner
from gateway.domain.policy import Grouping
from gateway.domain.signal import Mutation, RowError, RowWarning, Signal, SignalState, Withdrawal
from gateway.files.receipt import Duplicate
from gateway.files.signalrow import ParsedRow
from gateway.files.status import StatusRow
from gateway.matching import changes, keys, normalise
from gateway.matching.changes import Claim, Outcome
from gateway.matching.keys import Level, Parts
from gateway.matching.municipality import municipality_of
from gateway.matching.rules import affected_months
from gateway.pipeline.context import Context
from gateway.pipeline.places import Places
from gateway.pipeline.sealing import SIGNAL, Opener, store_key
from gateway.store import Connection, meldingen, reference, signals
from gateway.store.data_keys import NO_MUNICIPALITY
from gateway.store.queue import Claimed
from gateway.store.signals import PLACE_COLUMNS, Version
from gateway.vault.datakey import DataKey
from gateway.vault.ids import crockford, new_id, random_place
from gateway.vault.keyring import index_id
from gateway.vault.keyring import month_of as month_of_key
from gateway.vault.rows import RowSealer


@dataclass(slots=True)
class Tally:
    """What a file's rows came to; spec 1, Conservation."""

    rows: int = 0
    new: int = 0
    changed: int = 0
    withdrawn: int = 0
    rejected: int = 0
    duplicate: int = 0
    #: new, changed and withdrawn, without what was not passed on or could not be routed
    accepted: int = 0
    every_row_dated: bool = True
    errors: list[RowError] = field(default_factory=list)
    warnings: list[RowWarning] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    statuses: list[StatusRow] = field(default_factory=list)
    replaced_ids: list[int] = field(default_factory=list)
    superseded_ids: list[int] = field(default_factory=list)
    #: row id -> the signaal_id that was withdrawn
    withdrawn_ids: dict[int, str] = field(default_factory=dict)


class _Located(NamedTuple):
    """Where a signal belongs, and under which day and contents it is held."""

    municipality: str
    state: SignalState
    keeps_contents: bool


class _Keyed(NamedTuple):
    """A signal's places."""

    s1: int
    k1: int
    a1: int
    a2: int
    p1: int | None
    by_name: int | None
    person: int

    def at(self, grouping: Grouping) -> int:
        """The place of a grouping key."""
        return {Grouping.ADDRESS: self.a1, Grouping.ADDRESS_EXACT: self.a2, Grouping.PERSON: self.person}[
            grouping
        ]


@dataclass(slots=True)
class _RowKey:
    """The data key of this delivery's rows of one municipality and due day."""

    municipality: str
    due_on: date
    data_key: DataKey
    sealer: RowSealer
    id: int | None = None


class RowIntake:
    """Takes a file's rows in line order and stages what they do.

    Only for the holder of `Store.exclusive()`.
    """

    def __init__(self, context: Context, delivery: Claimed, partner: Partner) -> None:
        self._context, self._delivery, self._partner = context, delivery, partner
        self._received_on = local_day(delivery.received_at)
        self._month = month_of(self._received_on)
        self._places = Places(context.indexer, self._month)
        self._is_auto = partner.defaults.get("signaal_id") == "auto"
        self._versions: dict[int, Version] = {}
        self._by_contract: dict[int, dict[int, Version]] = {}
        self._known: dict[int, Version] = {}
        self._already_new: set[int] = set()
        self._levels: dict[tuple[str, str], Grouping] = {}
        self._row_keys: dict[tuple[str, date], _RowKey] = {}
        self._meldingen: dict[tuple[str, str, int], str | None] = {}
        self._staged: list[tuple[dict[str, Any], _RowKey | None]] = []
        self._new_meldingen: list[dict[str, Any]] = []
        self._lengthened: dict[date, set[str]] = defaultdict(set)
        self._spans: set[tuple[str, int, str, str]] = set()
        self._contract_spans: set[tuple[int, str, str]] = set()
        with context.store.read() as conn:
            self._next_id = signals.next_id(conn)
        self.tally = Tally()

    def take(self, batch: Sequence[ParsedRow]) -> None:
        """Decide on some rows and stage what they do."""
        accepted = [row for row in batch if isinstance(row, Signal)]
        located = self._locate(accepted)
        with self._context.store.read() as conn:
            s1 = self._signal_places(conn, batch)
            keyed = self._find_places(conn, accepted, located, s1)
            self._load(conn, s1.values(), (each.k1 for each in keyed.values()))
            self._load_meldingen(conn, accepted, located, keyed)
            opener = Opener(self._context, conn)
            for row in batch:
                self.tally.rows += 1
                if isinstance(row, tuple):
                    self._reject(*row)
                elif isinstance(row, Withdrawal):
                    self._withdraw(row, s1[row.line])
                else:
                    self._apply(conn, opener, row, located[row.line], keyed[row.line])
        self._store()

    # -- where a signal belongs ------------------------------------------------------------------

    def _locate(self, rows: Sequence[Signal]) -> dict[int, _Located]:
        hits = reference.find(self._context.reference, ((row.postcode, row.house_number) for row in rows))
        located: dict[int, _Located] = {}
        for row in rows:
            found = municipality_of(
                hits.get((row.postcode, row.house_number)),
                self._context.pc4.get(row.postcode[:4], ()),
                row.municipality,
            )
            if found.is_contradicted:
                self._warn(row, "W03", "gemeentecode")
            if found.code is None:
                located[row.line] = _Located("", SignalState.NOT_ROUTABLE, True)
            elif found.code not in self._context.served_by:
                located[row.line] = _Located(found.code, SignalState.NOT_CONNECTED, False)
            else:
                located[row.line] = _Located(found.code, SignalState.WAITING, True)
        return located

    def _level(self, municipality: str, month: str) -> Grouping:
        """By which key a municipality's month is grouped, settled when the month's first signal comes."""
        level = self._levels.get((municipality, month))
        if level is None:
            with self._context.store.write() as conn:
                level = meldingen.grouping_of(
                    conn, municipality, month, self._context.policy(municipality).matching.key
                )
            self._levels[municipality, month] = level
        return level

    def _month_of(self, row: Signal, before: Version | None) -> str:
        """The month that a row's signal will be in."""
        replaced = before.signalled_on if before and row.mutation is Mutation.CHANGE else None
        return month_of(
            changes.signalled_on(row.signalled_on, replaced=replaced, received_on=self._received_on)
        )

    # -- places and what is in force -------------------------------------------------------------

    def _signal_places(self, conn: Connection, batch: Sequence[ParsedRow]) -> dict[int, int]:
        """The place of each row's signaal_id, by line."""
        creditor = self._partner.id
        named: dict[int, Parts] = {}
        made: dict[int, Parts] = {}
        for row in batch:
            if isinstance(row, tuple):
                continue
            if row.signal_id is not None:
                named[row.line] = keys.signal(creditor, row.signal_id)
            elif isinstance(row, Signal):
                made[row.line] = self._auto_key(row)
        found = self._places.find(conn, (Level.SIGNAL, creditor), named.values())
        lines = {line: found[key] for line, key in named.items()}
        if made:
            automatic = self._places.find(conn, (Level.AUTO_SIGNAL, creditor), made.values())
            lines.update((line, automatic[key]) for line, key in made.items())
        return lines

    def _auto_key(self, row: Signal) -> Parts:
        exact = keys.address_exact(row.postcode, row.house_number, row.house_letter, row.house_number_suffix)
        month = month_of(row.signalled_on or self._received_on)
        return keys.auto_signal(
            customer_number=row.customer_number,
            sector=row.sector,
            signal_type=row.signal_type,
            product=row.product,
            exact=exact,
            month=month,
        )

    def _find_places(
        self,
        conn: Connection,
        rows: Sequence[Signal],
        located: dict[int, _Located],
        s1: dict[int, int],
    ) -> dict[int, _Keyed]:
        """Every place of each signal, by line; rows that go nowhere get places that nothing leads to."""
        by_municipality: dict[str, list[Signal]] = defaultdict(list)
        keyed: dict[int, _Keyed] = {}
        for row in rows:
            if located[row.line].state is SignalState.WAITING:
                by_municipality[located[row.line].municipality].append(row)
            else:
                nowhere = random_place()
                keyed[row.line] = _Keyed(s1[row.line], random_place(), nowhere, nowhere, None, None, nowhere)
        for municipality, group in by_municipality.items():
            keyed.update(self._places_in(conn, municipality, group, s1))
        return keyed

    def _places_in(
        self, conn: Connection, municipality: str, rows: Sequence[Signal], s1: dict[int, int]
    ) -> dict[int, _Keyed]:
        levels = [
            keys.levels(
                postcode=row.postcode,
                number=row.house_number,
                letter=row.house_letter,
                addition=row.house_number_suffix,
                surname=row.surname,
                born_on=row.born_on,
            )
            for row in rows
        ]
        contracts = [
            keys.contract(self._partner.id, municipality, row.customer_number, row.sector, row.product)
            for row in rows
        ]

        def find(level: Level, parts: Iterable[Parts | None]) -> dict[Parts, int]:
            return self._places.find(
                conn, (level, municipality), (each for each in parts if each is not None)
            )

        a1 = find(Level.ADDRESS, (each.address for each in levels))
        a2 = find(Level.ADDRESS_EXACT, (each.address_exact for each in levels))
        p1 = find(Level.PERSON, (each.person for each in levels))
        by_name = find(Level.ADDRESS_SURNAME, (each.address_surname for each in levels))
        k1 = find(Level.CONTRACT, contracts)
        keyed: dict[int, _Keyed] = {}
        for row, level, contract in zip(rows, levels, contracts, strict=True):
            exact = a2[level.address_exact]
            person = p1[level.person] if level.person else None
            surname = by_name[level.address_surname] if level.address_surname else None
            keyed[row.line] = _Keyed(
                s1[row.line],
                k1[contract],
                a1[level.address],
                exact,
                person,
                surname,
                person or surname or exact,
            )
        return keyed

    def _load(self, conn: Connection, s1: Iterable[int], k1: Iterable[int]) -> None:
        """Bring what is in force of these signaal_ids and contracts into memory, once."""
        for version in signals.in_force(
            conn, "place_s1", {each for each in s1 if each not in self._versions}
        ):
            known = self._known.setdefault(version.id, version)
            self._versions[known.place_s1] = known
        contracts = {each for each in k1 if each not in self._by_contract}
        self._by_contract.update((each, {}) for each in contracts)
        for version in signals.in_force(conn, "place_k1", contracts):
            known = self._known.setdefault(version.id, version)
            self._by_contract[known.place_k1][known.id] = known

    def _load_meldingen(
        self,
        conn: Connection,
        rows: Sequence[Signal],
        located: dict[int, _Located],
        keyed: dict[int, _Keyed],
    ) -> None:
        wanted: dict[tuple[str, str], set[int]] = defaultdict(set)
        for row in rows:
            if located[row.line].state is SignalState.WAITING:
                municipality = located[row.line].municipality
                month = self._month_of(row, self._versions.get(keyed[row.line].s1))
                place = keyed[row.line].at(self._level(municipality, month))
                if (municipality, month, place) not in self._meldingen:
                    wanted[municipality, month].add(place)
        for (municipality, month), places in wanted.items():
            found = meldingen.find(conn, municipality, month, self._level(municipality, month), places)
            self._meldingen.update(((municipality, month, place), found.get(place)) for place in places)

    # -- what a row does -------------------------------------------------------------------------

    def _apply(self, conn: Connection, opener: Opener, row: Signal, located: _Located, keyed: _Keyed) -> None:
        before = self._versions.get(keyed.s1)
        outcome = changes.decide(
            row.mutation,
            SignalState(before.state) if before else None,
            same_content=before is not None and self._is_same(row, before),
            is_auto=row.signal_id is None,
            already_new=keyed.s1 in self._already_new,
        )
        if outcome.is_rejected:
            self._reject(
                RowError(line=row.line, signal_id=row.signal_id or "", column="signaal_id", code=outcome.code)
            )
            return
        if row.mutation is Mutation.NEW:
            self._already_new.add(keyed.s1)
        signal_id = row.signal_id or self._auto_id(conn, opener, row, before)
        self.tally.every_row_dated &= row.signalled_on is not None
        if outcome is Outcome.UNCHANGED:
            self.tally.duplicate += 1
            self.tally.duplicates.append(Duplicate(line=row.line, signal_id=signal_id))
            self._tell(
                signal_id, row.customer_number, StatusCode.UNCHANGED, before.municipality if before else ""
            )
            return
        changed = before if outcome is Outcome.CHANGE else None
        self._accept(row, signal_id, located, keyed, changed)

    def _accept(
        self, row: Signal, signal_id: str, located: _Located, keyed: _Keyed, changed: Version | None
    ) -> None:
        signalled_on = changes.signalled_on(
            row.signalled_on,
            replaced=changed.signalled_on if changed else None,
            received_on=self._received_on,
        )
        version = self._version(located, keyed, row, signalled_on, changed)
        if changed is None:
            self.tally.new += 1
            self._supersede(version)
        else:
            self.tally.changed += 1
            self.tally.replaced_ids.append(changed.id)
            self._by_contract.get(changed.place_k1, {}).pop(changed.id, None)
            self._touch(changed)
        self._versions[keyed.s1] = version
        self._by_contract[keyed.k1][version.id] = version
        self._touch(version)
        self._stage(row, signal_id, located, keyed, version)
        if located.state is SignalState.WAITING:
            self.tally.accepted += 1
            self._check_age(row, signalled_on, located.municipality)
        else:
            code = (
                StatusCode.NOT_ROUTABLE
                if located.state is SignalState.NOT_ROUTABLE
                else StatusCode.NOT_CONNECTED
            )
            self._tell(signal_id, row.customer_number, code, located.municipality)

    def _version(
        self, located: _Located, keyed: _Keyed, row: Signal, signalled_on: date, changed: Version | None
    ) -> Version:
        """The version that this row brings into force; it keeps the first receipt of its signaal_id."""
        month = month_of(signalled_on)
        melding_id = None
        if located.state is SignalState.WAITING:
            melding_id = self._melding(located.municipality, month, keyed)
        stays = changed is not None and changed.melding_id == melding_id
        delivery = self._delivery
        version = Version(
            id=self._next_id,
            number=changed.number if changed else new_id("S", 12),
            municipality=located.municipality,
            month=month,
            state=located.state,
            signal_type=row.signal_type,
            signalled_on=signalled_on,
            first_received_at=changed.first_received_at if changed else delivery.received_at,
            first_arrival=changed.first_arrival if changed else delivery.arrival,
            first_line=changed.first_line if changed else row.line,
            place_s1=keyed.s1,
            place_k1=keyed.k1,
            place_a1=keyed.a1,
            place_a2=keyed.a2,
            place_person=keyed.person,
            content_token=self._context.indexer.content_token(self._month, self._partner.id, row.content),
            content_key=index_id(self._month),
            melding_id=melding_id,
            passed_on_at=changed.passed_on_at if changed and stays else None,
        )
        self._next_id += 1
        return version

    def _supersede(self, newer: Version) -> None:
        """D51: the same debt under another id gives way, for good."""
        for older in self._by_contract[newer.place_k1].values():
            if older.state not in changes.ENDED and changes.superseded(_claim(newer), (_claim(older),)):
                older.state = SignalState.SUPERSEDED
                self.tally.superseded_ids.append(older.id)
                self._touch(older)

    def _withdraw(self, row: Withdrawal, s1: int) -> None:
        before = self._versions.get(s1)
        outcome = changes.decide(
            Mutation.WITHDRAW, SignalState(before.state) if before else None, same_content=False
        )
        if before is None or outcome.is_rejected:
            self._reject(
                RowError(line=row.line, signal_id=row.signal_id, column="signaal_id", code=outcome.code)
            )
            return
        self.tally.withdrawn += 1
        self.tally.accepted += 1
        before.state = SignalState.WITHDRAWN
        self.tally.withdrawn_ids[before.id] = row.signal_id
        self._touch(before)

    def _is_same(self, row: Signal, before: Version) -> bool:
        month = month_of_key(before.content_key)
        token = self._context.indexer.content_token(month or self._month, self._partner.id, row.content)
        return token == before.content_token

    def _auto_id(self, conn: Connection, opener: Opener, row: Signal, before: Version | None) -> str:
        """The signaal_id made for a row without one: the stored one, else made of its token, at first use."""
        if before is not None:
            for signal in signals.sealed(conn, (before.id,)):
                if signal_id := opener.open(signal).get("signaal_id"):
                    return str(signal_id)
        token = self._context.indexer.token(
            self._month, Level.AUTO_SIGNAL, self._partner.id, self._auto_key(row)
        )
        return "A" + crockford(token)

    def _check_age(self, row: Signal, signalled_on: date, municipality: str) -> None:
        window = self._context.policy(municipality).arrears_days.get(row.sector)
        age = (signalled_on - _since(row, signalled_on)).days
        if window and (age < window[0] or (window[1] is not None and age > window[1])):
            self._warn(row, "W02", "ontstaansdatum" if row.arrears_since else "dagen_achterstand")

    # -- meldingen -------------------------------------------------------------------------------

    def _melding(self, municipality: str, month: str, keyed: _Keyed) -> str:
        level = self._level(municipality, month)
        place = keyed.at(level)
        due_on = add_months(self._received_on, self._context.term_months(municipality))
        if (municipality, month, place) not in self._meldingen:
            # a W that keeps the date of a row higher in this file
            with self._context.store.read() as conn:
                found = meldingen.find(conn, municipality, month, level, (place,))
            self._meldingen[municipality, month, place] = found.get(place)
        melding_id = self._meldingen[municipality, month, place]
        if melding_id is None:
            digits = municipality.removeprefix("GM") + month.replace("-", "")
            melding_id = self._meldingen[municipality, month, place] = new_id(f"M{digits}-", 8)
            self._new_meldingen.append(
                {
                    "id": melding_id,
                    "municipality": municipality,
                    "month": month,
                    "level": level,
                    "place": place,
                    "created_at": self._delivery.received_at,
                    "due_on": due_on,
                }
            )
        else:
            self._lengthened[due_on].add(melding_id)
        return melding_id

    def _touch(self, version: Version) -> None:
        """What this signal is in, and what looks back on it, must be looked at again."""
        if version.melding_id is None:
            return
        matching = self._context.policy(version.municipality).matching
        last = affected_months(version.month, matching)[-1]
        levels = {matching.key, self._level(version.municipality, version.month)}
        for level in levels:
            place = getattr(version, PLACE_COLUMNS[level])
            self._spans.add((version.municipality, place, version.month, last))
        self._contract_spans.add((version.place_k1, version.month, last))

    # -- staging ---------------------------------------------------------------------------------

    def _stage(self, row: Signal, signal_id: str, located: _Located, keyed: _Keyed, version: Version) -> None:
        term = add_months(self._received_on, self._context.term_months(located.municipality))
        contents_due_on = term
        if located.state is SignalState.NOT_ROUTABLE:
            contents_due_on = min(
                term, self._received_on + timedelta(days=self._context.terms.not_routable_days)
            )
        row_key = None
        if located.keeps_contents:
            row_key = self._row_key(located.municipality or NO_MUNICIPALITY, contents_due_on)
        self._staged.append(
            (
                {
                    "id": version.id,
                    "number": version.number,
                    "delivery_id": self._delivery.id,
                    "line": row.line,
                    "creditor": self._partner.id,
                    "municipality": located.municipality,
                    "month": version.month,
                    "state": located.state,
                    "sector": row.sector,
                    "signal_type": row.signal_type,
                    "is_crisis": row.is_crisis,
                    "warm_handover": row.warm_handover,
                    "amount_cents": row.amount_cents,
                    "signalled_on": version.signalled_on,
                    "since": _since(row, version.signalled_on),
                    "supply_ends_on": row.supply_ends_on,
                    "received_at": self._delivery.received_at,
                    "first_received_at": version.first_received_at,
                    "first_arrival": version.first_arrival,
                    "first_line": version.first_line,
                    "place_s1": keyed.s1,
                    "place_k1": keyed.k1,
                    "place_a1": keyed.a1,
                    "place_a2": keyed.a2,
                    "place_p1": keyed.p1,
                    "place_as": keyed.by_name,
                    "place_person": keyed.person,
                    "content_token": version.content_token,
                    "content_key": version.content_key,
                    "melding_id": version.melding_id,
                    "passed_on_at": version.passed_on_at,
                    "due_on": term,
                    "contents_due_on": contents_due_on,
                    "sealed": None
                    if row_key is None
                    else row_key.sealer.seal(
                        _contents(row, signal_id), table=SIGNAL, object_id=self._delivery.id, row=row.line
                    ),
                },
                row_key,
            )
        )

    def _row_key(self, municipality: str, due_on: date) -> _RowKey:
        key = self._row_keys.get((municipality, due_on))
        if key is None:
            data_key = DataKey.generate()
            key = self._row_keys[municipality, due_on] = _RowKey(
                municipality, due_on, data_key, RowSealer(data_key.row_key())
            )
        return key

    def _store(self) -> None:
        """One short transaction a batch; nothing of it is seen before the delivery is."""
        now = self._context.clock.now()
        with self._context.store.write() as conn:
            self._places.keep(conn)
            for key in self._row_keys.values():
                if key.id is None:
                    key.id = store_key(
                        self._context,
                        conn,
                        key.data_key,
                        object_id=self._delivery.id,
                        partner_id=self._partner.id,
                        due_on=key.due_on,
                        municipality=key.municipality,
                    )
            meldingen.add(conn, self._new_meldingen)
            for due_on, ids in self._lengthened.items():
                meldingen.extend(conn, ids, due_on)
            signals.stage(conn, [row | {"data_key_id": key.id if key else None} for row, key in self._staged])
            meldingen.touch(conn, self._spans, now)
        self._staged.clear()
        self._new_meldingen.clear()
        self._lengthened.clear()
        self._spans.clear()

    def finish(self, conn: Connection) -> None:
        """Make all visible, with the caller's transaction."""
        tally, now = self.tally, self._context.clock.now()
        signals.show(
            conn,
            self._delivery.id,
            replaced=tally.replaced_ids,
            superseded=tally.superseded_ids,
            withdrawn=tally.withdrawn_ids,
            today=local_day(now),
        )
        meldingen.touch_contracts(conn, self._contract_spans, now)
        urgent = [
            code for code in self._context.served_by if self._context.policy(code).matching.always_crisis
        ]
        meldingen.mark_urgent(conn, urgent)

    # -- telling ---------------------------------------------------------------------------------

    def _reject(self, *errors: RowError) -> None:
        self.tally.rejected += 1
        self.tally.errors += errors

    def _warn(self, row: Signal, code: str, column: str) -> None:
        self.tally.warnings.append(
            RowWarning(line=row.line, signal_id=row.signal_id or "", column=column, code=code)
        )

    def _tell(self, signal_id: str, customer_number: str, code: StatusCode, municipality: str) -> None:
        self.tally.statuses.append(
            StatusRow(
                signal_id=signal_id,
                customer_number=customer_number,
                code=code,
                municipality=municipality,
                on=local_day(self._context.clock.now()),
            )
        )


def _claim(version: Version) -> Claim:
    return Claim(version.place_s1, version.place_k1, version.signal_type, version.place_a2, version.month)


def _since(row: Signal, signalled_on: date) -> date:
    return row.arrears_since or signalled_on - timedelta(days=row.days_in_arrears or 0)


def _contents(row: Signal, signal_id: str) -> dict[str, object]:
    """What is sealed, under the wire's names; empty values are left out."""
    contents = {
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
    return {name: value for name, value in contents.items() if value not in ("", None)}
