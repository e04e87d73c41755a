"""Requests of municipalities about persons, as they come in (spec 2, Request file).

INZAGE is answered with the file; WISSEN waits, and `gateway.pipeline.erasure` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.audit.log import record
from gateway.domain.delivery import Kind
from gateway.domain.request import ERASED_AFTER, Ask, Request, RequestState, RequestWithdrawal
from gateway.domain.retention import dispatch_due
from gateway.domain.signal import RowError
from gateway.files.receipt import Sums
from gateway.files.requestfile import RequestFile, read_requests
from gateway.files.table import Table
from gateway.pipeline.access import access_files
from gateway.pipeline.context import Context
from gateway.pipeline.outgoing import OutgoingFile
from gateway.pipeline.persons import asked_by, is_ambiguous, listed_about, rows_about
from gateway.pipeline.received import Received, Taken, receipt
from gateway.pipeline.tally import Tally
from gateway.store import Connection, requests
from gateway.store.requests import Stored
from gateway.vault.ids import new_id


def take_requests(context: Context, received: Received, table: Table) -> Taken:
    """Take what a municipality asks about persons; for the holder of `Store.exclusive()`."""
    intake = RequestIntake(context, received, Tally(due_on=dispatch_due(context.clock.now(), context.terms)))
    intake.take(read_requests(table, received.received_on, context.limits))
    tally = intake.tally
    return Taken(
        kind=Kind.REQUESTS,
        tally=tally,
        counts={"request": tally.accepted},
        files=[
            *receipt(context, received, tally, Sums(requests=tally.accepted, rejected=tally.rejected)),
            *intake.files,
        ],
        show=intake.show,
    )


@dataclass(slots=True)
class RequestIntake:
    """A request file in processing; for the holder of `Store.exclusive()`."""

    context: Context
    received: Received
    tally: Tally
    #: number -> its row, for what this file asks and does not take back
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: earlier requests that it takes back, by id
    withdrawn: set[str] = field(default_factory=set)
    #: answers to INZAGE, sealed and not yet visible
    files: list[OutgoingFile] = field(default_factory=list)

    def take(self, file: RequestFile) -> None:
        """Read the whole file, and answer what can be answered."""
        self.tally.warnings.extend(file.warnings)
        with self.context.store.read() as conn:
            numbers = {row.number for row in file.rows if not isinstance(row, tuple)}
            known = requests.of_numbers(conn, self.received.partner.id, numbers)
            for row in file.rows:
                self.tally.rows += 1
                if isinstance(row, tuple):
                    self.tally.reject(*row)
                    continue
                error = (
                    self._ask(conn, row, known)
                    if isinstance(row, Request)
                    else self._take_back(row, known.get(row.number))
                )
                if error is None:
                    self.tally.accepted += 1
                else:
                    self.tally.reject(error)

    def show(self, conn: Connection) -> None:
        """Make all visible, with the caller's transaction."""
        now, delivery = self.context.clock.now(), self.received.delivery
        requests.add(conn, list(self.asked.values()))
        requests.withdraw(conn, self.withdrawn, now)
        for request_id in sorted(self.withdrawn):
            record(
                conn,
                action="request.withdrawn",
                object_id=request_id,
                origin="pipeline",
                actor=delivery.partner_id,
                at=now,
                node=self.context.node,
            )

    def _ask(self, conn: Connection, row: Request, known: dict[str, Stored]) -> RowError | None:
        if row.number in self.asked:
            return _error(row, "verzoek_id", "V13")
        if row.number in known:
            return _error(row, "verzoek_id", "V09")
        asked = asked_by(self.context, self.received.partner, row.subject)
        if not any(asked.keys):
            return _error(row, "achternaam", "V10")
        rows = rows_about(self.context, conn, asked)
        listed = listed_about(self.context, conn, asked)
        if is_ambiguous(self.context, conn, asked, rows, listed):
            return _error(row, "geboortedatum", "V01")
        delivery, now = self.received.delivery, self.context.clock.now()
        is_access = row.ask is Ask.ACCESS
        self.asked[row.number] = {
            "id": new_id("Q", 12),
            "partner_id": delivery.partner_id,
            "number": row.number,
            "ask": row.ask,
            "state": RequestState.DONE if is_access else RequestState.WAITING,
            "delivery_id": delivery.id,
            "line": row.line,
            "received_at": delivery.received_at,
            "due_at": delivery.received_at if is_access else delivery.received_at + ERASED_AFTER,
            "done_at": now if is_access else None,
        }
        if is_access and not delivery.is_trial:
            self.files += access_files(
                self.context, conn, asked, rows, listed, number=row.number, asked_at=delivery.received_at
            )
        return None

    def _take_back(self, row: RequestWithdrawal, known: Stored | None) -> RowError | None:
        """I: an earlier row of this file, or a request that has not taken effect."""
        mine = self.asked.get(row.number)
        if mine is not None and mine["state"] is RequestState.WAITING:
            mine["state"], mine["done_at"] = RequestState.WITHDRAWN, self.context.clock.now()
            return None
        if known is None or known.state is not RequestState.WAITING or known.id in self.withdrawn:
            return _error(row, "verzoek_id", "V16")
        self.withdrawn.add(known.id)
        return None


def _error(row: Request | RequestWithdrawal, column: str, code: str) -> RowError:
    return RowError(line=row.line, signal_id=row.number, column=column, code=code)
