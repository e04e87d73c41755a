"""Files of a partner on trial: validated and receipted, never matched, gone after a day (spec 1, Partners, `mode`).

What such a file says is not stored, so nothing is known of an earlier one: W and I find what stands higher in the same
file only (V14), and neither D50 nor D51 comes of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

from gateway.domain.delivery import Kind
from gateway.domain.signal import Mutation, RowError, Signal, SignalState, Withdrawal
from gateway.files.receipt import Sums
from gateway.files.signalfile import SignalFile
from gateway.files.signalrow import ParsedRow
from gateway.matching import changes
from gateway.matching.changes import Outcome
from gateway.pipeline.context import Context
from gateway.pipeline.keying import made_of
from gateway.pipeline.locate import Located, locate
from gateway.pipeline.received import Received, Taken, receipt
from gateway.pipeline.rows import age_warnings, place_warnings
from gateway.pipeline.staging import drop_staged
from gateway.pipeline.tally import Tally


def try_signals(context: Context, received: Received, file: SignalFile) -> Taken:
    """What a creditor's file would come to; nothing of it is staged."""
    trial = _Trial(context, received)
    tally = trial.tally
    tally.warnings.extend(file.warnings)
    for batch in file.batches:
        tally.warnings.extend(batch.warnings)
        located = locate(context, [row for row in batch.rows if isinstance(row, Signal)])
        for row in batch.rows:
            trial.take(row, located)
    counts = {"new": tally.new, "changed": tally.changed, "withdrawn": tally.withdrawn}
    sums = Sums(
        signals=tally.new, changes=tally.changed, withdrawals=tally.withdrawn, rejected=tally.rejected
    )
    return Taken(
        kind=Kind.SIGNALS,
        tally=tally,
        counts=counts,
        files=receipt(context, received, tally, sums),
        show=lambda _: None,
    )


def without_effect(context: Context, received: Received, taken: Taken) -> Taken:
    """What a file came to, but for its receipt: what was staged goes, and nothing is shown."""
    drop_staged(context, received.delivery.id)
    taken.tally.accepted = 0  # the same bytes may come again, for real
    stored = sum(taken.counts.get(name, 0) for name in ("new", "changed", "answer", "listed"))
    return replace(
        taken,
        show=lambda _: None,
        gone={"purged_rows": stored, "purged_signals": taken.counts.get("new", 0)},
    )


class _Trial:
    """The rows of one file, in line order."""

    def __init__(self, context: Context, received: Received) -> None:
        self._context, self._received_on = context, received.received_on
        self.tally = Tally(due_on=received.delivery.raw_due_on)
        #: what tells a signal -> its state after the rows above
        self._states: dict[Hashable, SignalState] = {}

    def take(self, row: ParsedRow, located: Mapping[int, Located]) -> None:
        self.tally.rows += 1
        if isinstance(row, tuple):
            self.tally.reject(*row)
            return
        mutation = Mutation.WITHDRAW if isinstance(row, Withdrawal) else row.mutation
        known_by, is_auto = self._known_by(row), row.signal_id is None
        outcome = changes.decide(
            mutation,
            self._states.get(known_by),
            same_content=False,
            is_auto=is_auto,
            # nothing is known but what stands above
            already_new=known_by in self._states,
        )
        if outcome.is_rejected:
            self.tally.reject(
                RowError(line=row.line, signal_id=row.signal_id or "", column="signaal_id", code=outcome.code)
            )
        elif isinstance(row, Withdrawal) or outcome is Outcome.WITHDRAW:
            self.tally.withdrawn += 1
            self._states[known_by] = SignalState.WITHDRAWN
        else:
            self._accept(row, located[row.line], known_by, outcome)

    def _accept(self, row: Signal, located: Located, known_by: Hashable, outcome: Outcome) -> None:
        self._states[known_by] = located.state
        if outcome is Outcome.NEW:
            self.tally.new += 1
        else:
            self.tally.changed += 1
        self.tally.warnings += place_warnings(row, located)
        if located.is_routed:
            signalled_on = row.signalled_on or self._received_on
            self.tally.warnings += age_warnings(self._context, row, located.municipality, signalled_on)

    def _known_by(self, row: Signal | Withdrawal) -> Hashable:
        """The signaal_id, or what it would be made of."""
        if isinstance(row, Withdrawal) or row.signal_id is not None:
            return row.signal_id
        return made_of(row, self._received_on)
