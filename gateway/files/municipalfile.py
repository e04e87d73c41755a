"""A municipality's file: which of its kinds it is, decided by its columns and not by its name (spec 2, Reading)."""

from __future__ import annotations

from gateway.domain.delivery import Kind
from gateway.files import csvfile
from gateway.files.layout import MUNICIPAL_NAMES, municipal_kind
from gateway.files.table import Limits, OpenStream, ReadTable, Table


def read_municipal(
    open_stream: OpenStream, limits: Limits, read_table: ReadTable = csvfile.read_table
) -> tuple[Kind, Table]:
    """What a municipality's file is, and its table.

    Args:
        open_stream: opens the file from its first byte; called several times.
        limits: how much is read.
        read_table: reads the kinds of file that are expected.

    Raises:
        DeliveryError: the file is refused: F01, F03, F04, F06, F07, F09, or F11 when it is none that a municipality
            sends.
    """
    table = read_table(open_stream, limits, MUNICIPAL_NAMES)
    return municipal_kind(table.header, table.above), table
