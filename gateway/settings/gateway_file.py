"""`config/gateway.toml`: where to listen, limits, boxes, retention."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.cron import check_line
from gateway.domain.retention import Terms
from gateway.settings.fields import Days, Months, Port, Size, Span, Table, Whole


class ListenTable(Table):
    """`[listen]`."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,255}$")] = "0.0.0.0"  # noqa: S104  # partners come from outside
    port: Port = 2222


class BoxesTable(Table):
    """`[boxes]`."""

    listed_for: Span = timedelta(hours=24)
    staged_for: Span = timedelta(hours=24)


class LimitsTable(Table):
    """`[limits]` of one uploaded file (spec 2, Reading)."""

    file: Size = 64 * 1024**2
    rows: Annotated[Whole, Field(ge=1, le=10_000_000)] = 100_000
    columns: Annotated[Whole, Field(ge=1, le=10_000)] = 200
    field: Annotated[Whole, Field(ge=200, le=100_000)] = 1_000
    line: Size = 64 * 1024


class RetentionTable(Table):
    """`[retention]` (spec 4)."""

    signals: Months = 6
    raw: Days = 14
    dispatches: Months = 6
    excluded: Days = 1
    notice: Days = 14
    schedule: Annotated[str, AfterValidator(check_line)] = "30 2 * * *"

    def terms(self) -> Terms:
        """The terms as a value of the domain."""
        return Terms(
            signals_months=self.signals,
            raw_days=self.raw,
            dispatches_months=self.dispatches,
            excluded_days=self.excluded,
        )


class GatewayFile(Table):
    """The whole file."""

    listen: ListenTable = ListenTable()
    boxes: BoxesTable = BoxesTable()
    limits: LimitsTable = LimitsTable()
    retention: RetentionTable = RetentionTable()
