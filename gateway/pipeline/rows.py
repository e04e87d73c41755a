"""The rows of one signal file: what each does to its signaal_id, in line order (spec 3, Words).

Reads and decisions happen outside write transactions; each batch is then stored in one short transaction.
What earlier rows of the same file did is kept in memory until the delivery is made visible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from gateway.clock import local_day, month_of
from gateway.domain.codes import StatusCode
from gateway.domain.delivery import Kind
from gateway.domain.signal import Mutation, RowError, RowWarning, Signal, SignalState, Withdrawal
from gateway.errors import KeyMissing, VaultError
from gateway.files.receipt import Duplicate, Sums
from gateway.files.signalfile import SignalFile
from gateway.files.signalrow import ParsedRow
from gateway.files.status import StatusRow
from gateway.matching import changes
from gateway.matching.changes import Claim, Outcome
from gateway.matching.exclusion import Exclusions
from gateway.matching.normalise import letter
from gateway.pipeline.context import Context
from gateway.pipeline.exclusions import excluded_residents, judged
from gateway.pipeline.keying import Keyed, Keying
from gateway.pipeline.locate import Located, locate
from gateway.pipeline.received import Received, Taken, receipt
from gateway.pipeline.sealing import Opener
from gateway.pipeline.staging import Placed, Staging, signal_of, since
from gateway.pipeline.statuses import status_of_delivery
from gateway.pipeline.tally import Tally
from gateway.store import Connection, signals
from gateway.store.queue import Claimed
from gateway.store.signals import Version
from gateway.vault.ids import crockford, new_id
from gateway.vault.key_ids import index_id
from gateway.vault.key_ids import month_of as month_of_key

#: Rows that are decided on and stored at a time: a transaction of a few dozen milliseconds.
BATCH_ROWS = 1_000

#: What is told at once of a signal that is not in a melding.
_UNPLACED = {
    SignalState.EXCLUDED: StatusCode.NOT_PASSED_ON,
    SignalState.NOT_ROUTABLE: StatusCode.NOT_ROUTABLE,
    SignalState.NOT_CONNECTED: StatusCode.NOT_CONNECTED,
}


def take_signals(context: Context, received: Received, file: SignalFile) -> Taken:
    """Stage what a creditor's file does; for the holder of `Store.exclusive()`."""
    intake = RowIntake(context, received.delivery)
    tally = intake.tally
    tally.warnings.extend(file.warnings)
    for batch in file.batches:
        tally.warnings.extend(batch.warnings)
        tally.every_row_dated &= batch.every_row_dated
        for start in range(0, len(batch.rows), BATCH_ROWS):
            intake.take(batch.rows[start : start + BATCH_ROWS])
    sums = Sums(
        signals=tally.new,
        changes=tally.changed,
        withdrawals=tally.withdrawn,
        rejected=tally.rejected,
        duplicates=tally.duplicate,
    )
    return Taken(
        kind=Kind.SIGNALS,
        tally=tally,
        counts={
            "new": tally.new,
            "changed": tally.changed,
            "withdrawn": tally.withdrawn,
            "duplicate": tally.duplicate,
        },
        files=[
            *receipt(context, received, tally, sums),
            *status_of_delivery(context, received.delivery, tally),
        ],
        show=intake.show,
    )


class RowIntake:
    """Takes a file's rows in line order and stages what they do.

    Only for the holder of `Store.exclusive()`.
    """

    def __init__(self, context: Context, delivery: Claimed) -> None:
        self._context, self._delivery = context, delivery
        self._received_on, self._today = local_day(delivery.received_at), local_day(context.clock.now())
        self._month = month_of(self._received_on)
        self._keying = Keying(
            context.indexer, delivery.partner_id, self._received_on, self._today, context.predecessors
        )
        self._staging = Staging(context, delivery, self._keying)
        self._content_key = index_id(self._month)
        #: line -> what its row is known by when it comes again, of the batch
        self._content: dict[int, bytes] = {}
        #: place of S1 -> the version in force, after the rows above
        self._versions: dict[int, Version] = {}
        #: place of K1 -> the versions in force
        self._by_contract: dict[int, list[Version]] = defaultdict(list)
        #: place of K1 -> the first month of which its versions were loaded, and the rows that were
        self._since: dict[int, str] = {}
        self._standing: set[int] = set()
        self._loaded: dict[int, Version] = {}
        #: place of S1 -> the signaal_id that was made for it
        self._auto_ids: dict[int, str] = {}
        self._already_new: set[int] = set()
        #: municipality -> whom it wants no signals about
        self._excluded: dict[str, Exclusions] = {}
        with context.store.read() as conn:
            self._next_id = signals.next_id(conn)
        self.tally = Tally(due_on=self._staging.due_on(""))

    def take(self, batch: Sequence[ParsedRow]) -> None:
        """Decide on some rows and stage what they do."""
        rows = [row for row in batch if isinstance(row, Signal)]
        located = locate(self._context, rows)
        tokens = self._context.indexer.content_tokens(
            self._month, self._delivery.partner_id, [row.content for row in rows]
        )
        self._content = dict(zip([row.line for row in rows], tokens, strict=True))
        with self._context.store.read() as conn:
            s1 = self._keying.signal_places(conn, batch)
            keyed = self._keying.places(conn, rows, located, s1)
            self._load_versions(conn, rows, s1, keyed)
            self._load_auto_ids(conn, rows, s1)
            self._load_meldingen(conn, rows, located, keyed)
            self._load_excluded(conn, {each.municipality for each in located.values() if each.is_routed})
            for row in batch:
                self.tally.rows += 1
                if isinstance(row, tuple):
                    self.tally.reject(*row)
                elif isinstance(row, Withdrawal) or row.mutation is Mutation.WITHDRAW:
                    self._withdraw(row.line, row.signal_id or "", self._versions.get(s1[row.line]))
                else:
                    self._apply(conn, row, located[row.line], keyed[row.line])
        self._staging.store()

    def show(self, conn: Connection) -> None:
        """Make all visible, with the caller's transaction."""
        self._staging.show(conn, self.tally)

    # -- what is in force ------------------------------------------------------------------------

    def _load_versions(
        self, conn: Connection, rows: Iterable[Signal], s1: Mapping[int, int], keyed: Mapping[int, Keyed]
    ) -> None:
        """Bring what is in force of these signaal_ids and contracts into memory, each version once.

        Of a contract only the months from those of the rows on: no row looks back, nor ends what came before. What
        is seen for the first time has no version.
        """
        made = self._keying.made
        days = [row.signalled_on or self._received_on for row in rows]
        months = [month_of(min(days, default=self._received_on))]
        contracts = {each.k1 for each in keyed.values()} - made
        ids = {each for each in s1.values() if each not in self._versions} - made
        for version in signals.in_force(conn, "place_s1", ids, self._today):
            self._versions[version.place_s1] = self._loaded.setdefault(version.id, version)
            contracts.add(version.place_k1)
            months.append(version.month)
        since = min(months)
        contracts = {each for each in contracts if self._since.get(each, "9") > since}
        self._since.update(dict.fromkeys(contracts, since))
        for version in signals.in_force(conn, "place_k1", contracts, self._today, since=since):
            if version.id not in self._standing:
                self._standing.add(version.id)
                self._by_contract[version.place_k1].append(self._loaded.setdefault(version.id, version))

    def _load_auto_ids(self, conn: Connection, rows: Sequence[Signal], s1: dict[int, int]) -> None:
        """The signaal_ids made for rows without one: what is stored of them, else made of their tokens."""
        fresh = {s1[row.line]: row for row in rows if row.signal_id is None}
        fresh = {place: row for place, row in fresh.items() if place not in self._auto_ids}
        if not fresh:
            return
        stored = {version.id: place for place in fresh if (version := self._versions.get(place)) is not None}
        opener = Opener(self._context, conn)
        for signal in signals.sealed(conn, stored):
            if signal_id := opener.open(signal).get("signaal_id"):
                self._auto_ids[stored[signal.id]] = str(signal_id)
        for place, row in fresh.items():
            self._auto_ids.setdefault(place, "A" + crockford(self._keying.auto_token(row)))

    def _load_meldingen(
        self, conn: Connection, rows: Sequence[Signal], located: dict[int, Located], keyed: dict[int, Keyed]
    ) -> None:
        made, months, wanted = self._keying.made, set(), set()
        for row in rows:
            municipality, state, _ = located[row.line]
            if state is SignalState.WAITING:
                of = keyed[row.line]
                month = month_of(self._signalled_on(row, self._versions.get(of.s1)))
                months.add((municipality, month))
                if not {of.a1, of.a2, of.person} <= made:
                    wanted.add((municipality, month, of))
        self._staging.load_meldingen(conn, months, wanted)

    def _load_excluded(self, conn: Connection, municipalities: Iterable[str]) -> None:
        """Open whom these municipalities exclude, once for the file."""
        fresh = {code for code in municipalities if code not in self._excluded}
        self._excluded |= excluded_residents(self._context, conn, fresh, self._today)

    def _judged(self, row: Signal, located: Located, replaced: Version | None) -> Located:
        return judged(
            located, row, self._signalled_on(row, replaced), self._excluded.get(located.municipality)
        )

    def _signalled_on(self, row: Signal, replaced: Version | None) -> date:
        return changes.signalled_on(
            row.signalled_on,
            replaced=replaced.signalled_on if replaced else None,
            received_on=self._received_on,
        )

    def _touch(self, version: Version) -> None:
        self._staging.touch(version, self._by_contract[version.place_k1])

    # -- what a row does -------------------------------------------------------------------------

    def _apply(self, conn: Connection, row: Signal, located: Located, keyed: Keyed) -> None:
        before = self._versions.get(keyed.s1)
        outcome = changes.decide(
            row.mutation,
            SignalState(before.state) if before else None,
            same_content=before is not None and self._is_same(conn, row, before),
            is_auto=row.signal_id is None,
            already_new=keyed.s1 in self._already_new,
        )
        if outcome.is_rejected:
            self._refuse(row.line, row.signal_id or "", outcome)
            return
        if row.mutation is Mutation.NEW:
            self._already_new.add(keyed.s1)
        signal_id = row.signal_id or self._auto_ids[keyed.s1]
        if before is not None and outcome is Outcome.UNCHANGED:
            self.tally.note_due(before.due_on)
            self.tally.duplicate += 1
            self.tally.duplicates.append(Duplicate(line=row.line, signal_id=signal_id))
            self._tell(signal_id, row, StatusCode.UNCHANGED, before.municipality)
            return
        replaced = before if outcome is Outcome.CHANGE else None
        self._accept(conn, Placed(row, signal_id, self._judged(row, located, replaced), keyed), replaced)

    def _accept(self, conn: Connection, placed: Placed, replaced: Version | None) -> None:
        row, signal_id, located, keyed = placed
        version = self._version(conn, placed, replaced)
        if replaced is None:
            self.tally.new += 1
            self._supersede(version)
        else:
            self.tally.changed += 1
            self.tally.replaced_ids.append(replaced.id)
            self._by_contract[replaced.place_k1].remove(replaced)
            self._touch(replaced)
        self._versions[keyed.s1] = version
        self._by_contract[keyed.k1].append(version)
        self._touch(version)
        self.tally.note_due(version.due_on)
        self._staging.add(placed, version)
        self.tally.warnings += place_warnings(row, located)
        if located.is_routed:
            self.tally.accepted += 1
            self.tally.warnings += age_warnings(
                self._context, row, version.municipality, version.signalled_on
            )
        else:
            self._tell(signal_id, row, _UNPLACED[located.state], located.municipality)

    def _version(self, conn: Connection, placed: Placed, replaced: Version | None) -> Version:
        """The version that this row brings into force; it keeps the first receipt of its signaal_id."""
        row, _, located, keyed = placed
        signalled_on = self._signalled_on(row, replaced)
        month = month_of(signalled_on)
        melding_id = None
        if located.is_routed:
            melding_id = self._staging.melding_of(conn, located.municipality, month, keyed)
        stays = replaced is not None and replaced.melding_id == melding_id
        delivery = self._delivery
        version = Version(
            id=self._next_id,
            number=replaced.number if replaced else new_id("S", 12),
            municipality=located.municipality,
            month=month,
            # plain text: of another type SQLite's driver asks first what it is
            state=located.state.value,
            signal_type=row.signal_type.value,
            signalled_on=signalled_on,
            first_received_at=replaced.first_received_at if replaced else delivery.received_at,
            first_arrival=replaced.first_arrival if replaced else delivery.arrival,
            first_line=replaced.first_line if replaced else row.line,
            place_s1=keyed.s1,
            place_k1=keyed.k1,
            place_a1=keyed.a1,
            place_a2=keyed.a2,
            place_person=keyed.person,
            content_token=self._content[row.line],
            content_key=self._content_key,
            melding_id=melding_id,
            passed_on_at=replaced.passed_on_at if replaced and stays else None,
            reported_before=replaced.reported_before if replaced and stays else False,
            due_on=self._staging.due_on(located.municipality),
        )
        self._next_id += 1
        return version

    def _supersede(self, newer: Version) -> None:
        """D51: the same debt under another id gives way, for good."""
        for older in self._by_contract[newer.place_k1]:
            if older.state not in changes.ENDED and changes.superseded(claim_of(newer), (claim_of(older),)):
                older.state = SignalState.SUPERSEDED
                self.tally.superseded_ids.append(older.id)
                self._touch(older)

    def _withdraw(self, line: int, signal_id: str, before: Version | None) -> None:
        state = SignalState(before.state) if before else None
        outcome = changes.decide(Mutation.WITHDRAW, state, same_content=False)
        if before is None or outcome.is_rejected:
            self._refuse(line, signal_id, outcome)
            return
        self.tally.withdrawn += 1
        self.tally.accepted += 1
        self.tally.withdrawn_ids[before.id] = signal_id
        before.state = SignalState.WITHDRAWN
        self._touch(before)

    def _is_same(self, conn: Connection, row: Signal, before: Version) -> bool:
        if not before.content_token:
            return self._is_as_kept(conn, row, before)
        month = month_of_key(before.content_key) or self._month
        return self._content_token(row, month) == before.content_token

    def _is_as_kept(self, conn: Connection, row: Signal, before: Version) -> bool:
        """Whether it says what is kept of a version whose token went with a compromised index key."""
        (stored,) = signals.sealed(conn, (before.id,))
        try:
            contents = Opener(self._context, conn).open(stored)
        except (KeyMissing, VaultError):
            return False
        if not contents:
            return False
        kept = signal_of(stored, contents)
        said = replace(
            row,
            line=kept.line,
            mutation=kept.mutation,
            signal_id=kept.signal_id,
            house_letter=kept.house_letter
            if letter(row.house_letter) == kept.house_letter
            else row.house_letter,
            signalled_on=row.signalled_on or kept.signalled_on,
            municipality=kept.municipality,
            content=kept.content,
        )
        return said == kept

    def _content_token(self, row: Signal, month: str) -> bytes:
        return self._context.indexer.content_token(month, self._delivery.partner_id, row.content)

    # -- telling ---------------------------------------------------------------------------------

    def _refuse(self, line: int, signal_id: str, outcome: Outcome) -> None:
        self.tally.reject(RowError(line=line, signal_id=signal_id, column="signaal_id", code=outcome.code))

    def _tell(self, signal_id: str, row: Signal, code: StatusCode, municipality: str) -> None:
        self.tally.statuses.append(
            StatusRow(
                signal_id=signal_id,
                customer_number=row.customer_number,
                code=code,
                municipality=municipality,
                on=local_day(self._context.clock.now()),
            )
        )


def place_warnings(row: Signal, located: Located) -> list[RowWarning]:
    """W03: it lies elsewhere than it says."""
    return [_warning(row, "W03", "gemeentecode")] if located.is_contradicted else []


def age_warnings(context: Context, row: Signal, municipality: str, signalled_on: date) -> list[RowWarning]:
    """W02: younger or older than the sector's term."""
    window = context.policy(municipality).arrears_days.get(row.sector)
    age = (signalled_on - since(row, signalled_on)).days
    if window and (age < window[0] or (window[1] is not None and age > window[1])):
        return [_warning(row, "W02", "ontstaansdatum" if row.arrears_since else "dagen_achterstand")]
    return []


def _warning(row: Signal, code: str, column: str) -> RowWarning:
    return RowWarning(line=row.line, signal_id=row.signal_id or "", column=column, code=code)


def claim_of(version: Version) -> Claim:
    """What decides whether a signal supersedes another."""
    return Claim(version.place_s1, version.place_k1, version.signal_type, version.place_a2, version.month)
