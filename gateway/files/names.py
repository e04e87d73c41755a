"""Names of outgoing files: `[A-Za-z0-9._-]`, at most 200 characters (spec 1, States; spec 2)."""

from __future__ import annotations

import re
from datetime import date

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


def meldingen_name(municipality: str, month: str, seq: int) -> str:
    """`meldingen_GM1731_2026-11_3.csv`; `seq` is per partner."""
    return _checked(f"meldingen_{municipality}_{month}_{seq}.csv")


def worklist_name(municipality: str, month: str) -> str:
    """`werklijst_GM1731_2026-11.xlsx`; a newer one has the same name."""
    return _checked(f"werklijst_{municipality}_{month}.xlsx")


def manifest_name(name: str) -> str:
    """The manifest of a file: its whole name and `.manifest.json`."""
    return _checked(f"{name}.manifest.json")


def receipt_names(delivery_id: str) -> tuple[str, str]:
    """`ontvangst_<delivery_id>.csv` and `.json`."""
    return _checked(f"ontvangst_{delivery_id}.csv"), _checked(f"ontvangst_{delivery_id}.json")


def withdrawal_name(delivery_id: str) -> str:
    """`intrekking_<delivery_id>.txt`."""
    return _checked(f"intrekking_{delivery_id}.txt")


def status_name(on: date, seq: int) -> str:
    """`signaalstatus_2026-11-22_1.csv`; `seq` is per partner."""
    return _checked(f"signaalstatus_{on.isoformat()}_{seq}.csv")


def feedback_name(on: date, seq: int) -> str:
    """`terugkoppeling_2026-11-22_1.csv`; `seq` is per partner."""
    return _checked(f"terugkoppeling_{on.isoformat()}_{seq}.csv")


def statement_name(month: str) -> str:
    """`stand_2026-12.csv`; `month` is that in which it was made."""
    return _checked(f"stand_{month}.csv")


def deadlines_name(municipality: str, on: date) -> str:
    """`termijnen_GM1731_2026-11-23.csv`."""
    return _checked(f"termijnen_{municipality}_{on.isoformat()}.csv")


def delivery_report_name(municipality: str, month: str) -> str:
    """`aanleveroverzicht_GM1731_2026-11.csv`; `month` is the one it is about."""
    return _checked(f"aanleveroverzicht_{municipality}_{month}.csv")


def access_name(number: str) -> str:
    """`inzage_<verzoek_id>.html`."""
    return _checked(f"inzage_{number}.html")


def erasure_name(number: str) -> str:
    """`wissen_<verzoek_id>.txt`."""
    return _checked(f"wissen_{number}.txt")


def destroyed_name(on: date, seq: int) -> str:
    """`vernietigd_2027-05-23.csv`; a second one on a day ends in `_2`."""
    return _checked(f"vernietigd_{on.isoformat()}{f'_{seq}' if seq > 1 else ''}.csv")


def not_restored_name(on: date, seq: int) -> str:
    """`niet_hersteld_2026-11-26.csv`; a second one on a day ends in `_2`."""
    return _checked(f"niet_hersteld_{on.isoformat()}{f'_{seq}' if seq > 1 else ''}.csv")


def certificate_names(number: str) -> tuple[str, str]:
    """`verklaring_<nr>.json` and `.txt`; the signature of each is its name and `.sig`."""
    return _checked(f"verklaring_{number}.json"), _checked(f"verklaring_{number}.txt")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a dispatch's name is 1-200 of A-Z, a-z, 0-9, '.', '_' and '-'")
    return name
