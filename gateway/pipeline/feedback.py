"""Feedback of municipalities: who may answer what, and what the creditors are told of it (spec 2, Feedback file).

Answers are staged batch by batch and count with the delivery's last transaction. A creditor is told when what it may
know of its signal changed; day 14 and day 28 without an answer are told too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import chain
from typing import Any

from gateway import logs
from gateway.audit.log import record
from gateway.clock import end_of_day, local_day
from gateway.domain.delivery import Kind
from gateway.domain.dispatch import DispatchKind
from gateway.domain.feedback import NONE_YET, SILENT_DAYS, Feedback, News, concerns_one, news
from gateway.domain.partner import Box
from gateway.domain.retention import dispatch_due
from gateway.domain.signal import RowError
from gateway.files import names
from gateway.files.feedback import FeedbackRow, render_feedback
from gateway.files.feedbackfile import FeedbackFile, ParsedFeedback, on_sheet, read_feedback
from gateway.files.layout import municipal_kind
from gateway.files.receipt import Sums
from gateway.files.table import Table
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile, seal_file, store_files
from gateway.pipeline.received import Received, Taken, receipt
from gateway.pipeline.sealing import Opener
from gateway.pipeline.tally import Tally
from gateway.store import Connection, answers, outgoing, signals
from gateway.store.answers import Subject
from gateway.store.places import chunks
from gateway.store.queue import Claimed

_log = logs.get("feedback")

#: Rows that are decided on and stored at a time.
BATCH_ROWS = 1_000
#: The counter that holds the last day whose silent signals were told, as an ordinal.
SILENCE = "silence"
#: How far the first look goes back: nothing is held longer.
_LONGEST = timedelta(days=366)


def take_feedback(context: Context, received: Received, table: Table) -> Taken:
    """Stage what a municipality answers; for the holder of `Store.exclusive()`."""
    tally = Tally(due_on=dispatch_due(context.clock.now(), context.terms))
    intake = FeedbackIntake(context, received.delivery, tally)
    for each in chain((table,), table.more):
        # a forbidden column may stand on the second sheet of a worklist
        municipal_kind(each.header, each.above)
        intake.take(read_feedback(each, received.received_on, context.limits))
    told = [] if received.delivery.is_trial else intake.told()
    return Taken(
        kind=Kind.FEEDBACK,
        tally=tally,
        counts={"feedback": tally.accepted, "answer": intake.answers},
        files=receipt(
            context,
            received,
            tally,
            Sums(
                feedback=tally.accepted,
                rejected=tally.rejected,
                skipped=intake.skipped if table.sheet else None,
            ),
        ),
        show=lambda conn: store_feedback(context, conn, told),
    )


@dataclass(slots=True)
class FeedbackIntake:
    """A feedback file in processing; for the holder of `Store.exclusive()`."""

    context: Context
    delivery: Claimed
    tally: Tally
    #: signal number -> row id, for every signal that is answered
    answered: dict[str, int] = field(default_factory=dict)
    #: answers that were staged
    answers: int = 0
    #: lines of a worklist without an answer
    skipped: int = 0
    #: signal numbers that the sheet Signalen of a worklist answers, well or not: it goes before Meldingen
    named: set[str] = field(default_factory=set)

    def take(self, file: FeedbackFile) -> None:
        """Read the whole file, or a sheet of a worklist, and stage its answers."""
        self.tally.warnings.extend(file.warnings)
        named: set[str] = set()
        for batch in file.batches:
            for some in chunks(batch, BATCH_ROWS):
                self._take(some, file.sheet)
                named.update(filter(None, map(_about, some)))
        self.named |= named

    def told(self) -> list[OutgoingFile]:
        """What each creditor is told because of this file, sealed and not yet visible."""
        with self.context.store.read() as conn:
            before = answers.of_signals(conn, self.answered)
            fresh = answers.staged(conn, self.delivery.id, self.answered)
            told: dict[int, News] = {}
            for number, row_id in self.answered.items():
                if found := news(before.get(number, []), fresh[number], self.context.feedback_policy):
                    told[row_id] = found
            return _files(self.context, conn, told)

    def _take(self, batch: Sequence[ParsedFeedback | None], sheet: str) -> None:
        today = local_day(self.context.clock.now())
        rows = [row for row in batch if isinstance(row, Feedback)]
        with self.context.store.read() as conn:
            numbered = {
                each.number: [each]
                for each in answers.by_number(
                    conn, {row.signal_number for row in rows if row.signal_number}, today
                )
            }
            of_melding: dict[str, list[Subject]] = defaultdict(list)
            for each in answers.by_melding(conn, {row.melding_id for row in rows if row.melding_id}, today):
                of_melding[each.melding_id].append(each)
        staged: list[dict[str, Any]] = []
        for row in batch:
            if row is None:
                self.skipped += 1
                continue
            self.tally.rows += 1
            if not isinstance(row, Feedback):
                self._reject(sheet, *row)
                continue
            found = numbered if row.signal_number else of_melding
            subjects = found.get(row.signal_number or row.melding_id, [])
            if code := _refused(row, subjects, self.delivery.partner_id):
                self._reject(sheet, _error(row, code))
                continue
            self.tally.accepted += 1
            for subject in subjects:
                if row.melding_id and subject.number in self.named:
                    continue
                self.tally.note_due(subject.due_on)
                self.answered[subject.number] = subject.id
                staged.append(self._stored(row, subject))
        self.answers += len(staged)
        with self.context.store.write() as conn:
            answers.stage(conn, staged)

    def _reject(self, sheet: str, *errors: RowError) -> None:
        self.tally.reject(*(replace(each, column=on_sheet(sheet, each.column)) for each in errors))

    def _stored(self, row: Feedback, subject: Subject) -> dict[str, Any]:
        return {
            "delivery_id": self.delivery.id,
            "arrival": self.delivery.arrival,
            "line": row.line,
            "signal_number": subject.number,
            "melding_id": subject.melding_id,
            "municipality": subject.municipality,
            "partner_id": self.delivery.partner_id,
            "outcome": row.outcome,
            "on": row.on,
            "contact": row.contact,
            "reached": row.reached,
            "consents": row.consents,
            "suspend_until": row.suspend_until,
            "due_on": subject.due_on,
        }


def _about(row: ParsedFeedback | None) -> str:
    """The signal or melding that a row names; empty when it names none."""
    match row:
        case None:
            return ""
        case Feedback():
            return row.signal_number or row.melding_id
        case _:
            return row[0].signal_id


def _refused(row: Feedback, subjects: Sequence[Subject], partner_id: str) -> str:
    """Why a row can't be taken; empty when it can."""
    if not subjects or any(subject.holder != partner_id for subject in subjects):
        return "V16"
    if row.melding_id and not concerns_one([(each.place_p1, each.place_as) for each in subjects]):
        return "V18"
    return ""


def _error(row: Feedback, code: str) -> RowError:
    return RowError(
        line=row.line,
        signal_id=row.signal_number or row.melding_id,
        column="signaalnummer" if row.signal_number else "melding_id",
        code=code,
    )


def tell_silence(context: Context) -> int:
    """NOG_GEEN_TERUGKOPPELING for signals on day 14 and 28 without an answer; how many are told of.

    Days that were missed are made up for, each once: the last day told is in the same transaction as the files.
    """
    now = context.clock.now()
    today = local_day(now)
    with context.store.exclusive():
        with context.store.read() as conn:
            last = outgoing.last_number(conn, SILENCE)
            told: dict[int, News] = {}
            for days in SILENT_DAYS:
                first = date.fromordinal(last) if last else today - _LONGEST
                since = end_of_day(first - timedelta(days=days))
                until = end_of_day(today - timedelta(days=days))
                for row_id in answers.silent(conn, since, until, today):
                    told[row_id] = News(NONE_YET, today)
            files = _files(context, conn, told)
        with context.store.write() as conn:
            outgoing.use_number(conn, SILENCE, max(last, today.toordinal()))
            store_feedback(context, conn, files)
            if files:
                record(
                    conn,
                    action="silence.reported",
                    object_id=today.isoformat(),
                    origin="schedule",
                    actor="gateway",
                    at=now,
                    node=context.node,
                    detail={"signals": len(told), "creditors": len(files)},
                )
    if files:
        _log.info("silence.reported", count=len(told))
    return len(told)


def store_feedback(context: Context, conn: Connection, files: Iterable[OutgoingFile]) -> None:
    """The files are listed with the caller's transaction, and their numbers used."""
    files = list(files)
    for file in files:
        number = outgoing.last_number(conn, _numbers(file.partner_id)) + 1
        outgoing.use_number(conn, _numbers(file.partner_id), number)
    store_files(context, conn, files, context.clock.now())


def _files(context: Context, conn: Connection, told: dict[int, News]) -> list[OutgoingFile]:
    """One terugkoppeling for each creditor, of its own signals only."""
    now = context.clock.now()
    rows: dict[str, list[FeedbackRow]] = defaultdict(list)
    due: dict[str, list[date]] = defaultdict(list)
    contents: dict[str, Counter[str]] = defaultdict(Counter)
    opener, found = Opener(context, conn), list(signals.sealed(conn, told))
    opener.load(signal.data_key_id for signal in found)
    for signal in found:
        sealed = opener.open(signal)
        row = FeedbackRow(
            signal_id=sealed["signaal_id"],
            customer_number=sealed["klantnummer"],
            municipality=signal.municipality,
            told=told[signal.id].told,
            on=told[signal.id].on,
        )
        rows[signal.creditor].append(row)
        due[signal.creditor].append(signal.due_on)
        contents[signal.creditor][signal.delivery_id] += 1
    return [
        seal_file(
            context,
            render_feedback(rows[creditor]),
            partner_id=creditor,
            box=Box.RETURNS,
            name=names.feedback_name(local_day(now), outgoing.last_number(conn, _numbers(creditor)) + 1),
            kind=DispatchKind.FEEDBACK,
            due_on=dispatch_due(now, context.terms, min(due[creditor])),
            contents=contents[creditor],
        )
        for creditor in sorted(rows)
    ]


def _numbers(partner_id: str) -> str:
    return f"terugkoppeling/{partner_id}"
