"""A new exclusion holds for signals that wait too: D30, out of their meldingen (spec 3, Exclusions)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from gateway.audit.log import record
from gateway.clock import local_day
from gateway.domain.codes import StatusCode
from gateway.errors import KeyMissing
from gateway.files.status import StatusRow
from gateway.matching.exclusion import Exclusions, is_excluded
from gateway.pipeline.context import Context
from gateway.pipeline.exclusions import levels_of
from gateway.pipeline.outgoing import OutgoingFile, store_files
from gateway.pipeline.removing import RemovalKind, keep_signals
from gateway.pipeline.sealing import Opener, open_key, store_key
from gateway.pipeline.statuses import next_status_number, status_file, use_status_number
from gateway.pipeline.touching import mark_urgent, touch
from gateway.store import Connection, data_keys, signals
from gateway.store.places import chunks
from gateway.store.queue import Claimed
from gateway.store.signals import Sealed, Version
from gateway.vault.datakey import DataKey
from gateway.vault.objects import SIGNAL
from gateway.vault.rows import RowSealer

#: Signals that are opened at a time.
_BATCH = 1_000


class _Excluded(NamedTuple):
    """A signal that waited, what it says, and the day its contents go."""

    version: Version
    signal: Sealed
    contents: dict[str, Any]
    contents_due_on: date


class Excluding:
    """Finds the signals that waited and are excluded now; for the holder of `Store.exclusive()`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._today = local_day(context.clock.now())
        self._found: list[_Excluded] = []
        self._files: Sequence[OutgoingFile] = ()

    def judge(self, municipality: str, fresh: Exclusions) -> None:
        """Compare the signals of a municipality that were in no publication yet."""
        with self._context.store.read() as conn:
            opener = Opener(self._context, conn)
            for some in chunks(signals.unpublished(conn, municipality, self._today), _BATCH):
                versions = {each.id: each for each in some}
                for signal in signals.sealed(conn, versions):
                    contents = opener.open(signal)
                    if contents and is_excluded(
                        fresh,
                        levels_of(contents),
                        signalled_on=signal.signalled_on,
                        is_crisis=signal.is_crisis,
                    ):
                        due_on = self._today + timedelta(days=self._context.terms.excluded_days)
                        self._found.append(
                            _Excluded(versions[signal.id], signal, contents, min(signal.due_on, due_on))
                        )

    def prepare(self) -> None:
        """Mark the meldingen that lose a signal, looked at in vain should what follows never come; seal the statuses."""
        touch(self._context, [each.version for each in self._found])
        by_creditor: dict[str, list[_Excluded]] = defaultdict(list)
        for each in self._found:
            by_creditor[each.signal.creditor].append(each)
        self._files = [
            status_file(
                self._context,
                creditor,
                next_status_number(self._context, creditor),
                [self._status(each) for each in found],
                signals_due_on=min(each.signal.due_on for each in found),
                contents=Counter(each.signal.delivery_id for each in found),
            )
            for creditor, found in sorted(by_creditor.items())
        ]

    def show(self, conn: Connection, delivery: Claimed) -> None:
        """Make all visible, with the transaction of the delivery that brought the exclusions."""
        if not self._found:
            return
        now = self._context.clock.now()
        sealers: dict[tuple[str, str, date], tuple[int, RowSealer]] = {}
        for each in self._found:
            key_id, sealer = self._key(conn, each, sealers)
            sealed = sealer.seal(
                each.contents, table=SIGNAL, object_id=each.signal.delivery_id, row=each.signal.line
            )
            signals.exclude(
                conn,
                each.signal.id,
                data_key_id=key_id,
                sealed=sealed,
                contents_due_on=each.contents_due_on,
            )
        excluded = [each.version for each in self._found]
        keep_signals(self._context, conn, RemovalKind.EXCLUSION, excluded)
        mark_urgent(self._context, conn)
        for file in self._files:
            use_status_number(conn, file.partner_id)
        store_files(self._context, conn, self._files, now)
        record(
            conn,
            action="signals.excluded",
            object_id=delivery.id,
            origin="pipeline",
            actor=delivery.partner_id,
            at=now,
            node=self._context.node,
            detail={"signals": len(self._found), "creditors": len(self._files)},
        )

    def _key(
        self,
        conn: Connection,
        each: _Excluded,
        sealers: dict[tuple[str, str, date], tuple[int, RowSealer]],
    ) -> tuple[int, RowSealer]:
        """The key of that delivery's rows of that municipality that are due so early: its contents go with it."""
        signal, due_on = each.signal, each.contents_due_on
        place = signal.delivery_id, signal.municipality, due_on
        if place not in sealers:
            stored = next(
                (
                    key
                    for key in data_keys.of_rows(conn, signal.delivery_id)
                    if (key.municipality, key.due_on) == (signal.municipality, due_on)
                ),
                None,
            )
            try:
                data_key = DataKey.generate() if stored is None else open_key(self._context, stored)
            except KeyMissing:  # destroyed before its day
                data_key, stored = DataKey.generate(), None
            key_id = (
                stored.id
                if stored is not None
                else store_key(
                    self._context,
                    conn,
                    data_key,
                    object_id=signal.delivery_id,
                    partner_id=signal.creditor,
                    due_on=due_on,
                    municipality=signal.municipality,
                )
            )
            sealers[place] = key_id, RowSealer(data_key.row_key())
        return sealers[place]

    def _status(self, each: _Excluded) -> StatusRow:
        return StatusRow(
            signal_id=str(each.contents["signaal_id"]),
            customer_number=str(each.contents["klantnummer"]),
            code=StatusCode.NOT_PASSED_ON,
            municipality=each.signal.municipality,
            on=self._today,
        )
