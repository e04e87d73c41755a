"""What a file's rows came to: the sums of the receipt, and what each outcome says (spec 1, Conservation)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from gateway.domain.signal import RowError, RowWarning
from gateway.files.receipt import Duplicate
from gateway.files.status import StatusRow


@dataclass(slots=True)
class Tally:
    """Counts and lines of one file; `rows` = new + changed + withdrawn + rejected + duplicate.

    `due_on` is the earliest due day of the signals that its receipt is about.
    """

    due_on: date
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
    #: row ids of versions that a W replaced, and of signals that a newer one superseded
    replaced_ids: list[int] = field(default_factory=list)
    superseded_ids: list[int] = field(default_factory=list)
    #: row id -> the signaal_id that was withdrawn, empty when the row had none (automatic ids)
    withdrawn_ids: dict[int, str] = field(default_factory=dict)

    def note_due(self, due_on: date) -> None:
        """The receipt is about a signal that is due on a day."""
        self.due_on = min(self.due_on, due_on)

    def reject(self, *errors: RowError) -> None:
        """One row is rejected, for one reason or several."""
        self.rejected += 1
        self.errors += errors
