"""Cells of a worksheet as the text that a CSV file would hold (spec 2, Reading).

A workbook keeps a number without its format: `850,00` is 850.0, and of 0042 the zeros are gone for good. What a person
saw is given back where only one thing can be meant; what is lost becomes U+FFFD, which no column accepts.
"""

from __future__ import annotations

from datetime import date, datetime

#: Stands for what can't be read; as in a CSV file for what can't be decoded.
LOST = "\ufffd"
#: A workbook keeps 15 digits: from here on the last ones of a whole number are not those that were typed.
_FIRST_INEXACT = 1e15


def cell_text(value: object) -> str:
    """A cell as text.

    Numbers have as many digits as a workbook keeps, so that 850.3000000000001 is 850.3 and 850.0 is 850. A day becomes
    what databases write, `2026-11-22 00:00:00`: a number that a spreadsheet took for a date (12-3) is so refused where
    text is expected. Its time of day is dropped.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(float(value))
    if isinstance(value, datetime | date):
        return f"{value:%Y-%m-%d} 00:00:00" if value.year >= 1000 else LOST
    return LOST


def _number(value: float) -> str:
    if not abs(value) < _FIRST_INEXACT:
        return LOST
    return format(value, ".15g") if value % 1 else str(int(value))
