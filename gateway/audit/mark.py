"""`data/restored`: a mark beside the database that says that it may be older than what `log/` and partners know.

`gateway restore` sets it, and so does who begins a lost log again; the replay takes it away once it is on record.
"""

from __future__ import annotations

import json
from pathlib import Path

from gateway.errors import StoreError
from gateway.vault.durable import place_file, sync_folder
from gateway.vault.ids import new_id

_MARK = "restored"


def set_mark(data_dir: Path) -> None:
    """Set it, durably; it tells one time from the next."""
    place_file(data_dir / _MARK, json.dumps({"id": new_id("B", 12)}).encode())
    sync_folder(data_dir)


def read_mark(data_dir: Path) -> str:
    """Its id; empty when there is none. StoreError when it is damaged."""
    try:
        return str(json.loads((data_dir / _MARK).read_bytes())["id"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise StoreError(f"{data_dir / _MARK} is damaged: run gateway restore again") from exc


def drop_mark(data_dir: Path) -> None:
    """Take it away: what it asked for is on record."""
    mark = data_dir / _MARK
    if mark.exists():
        mark.unlink()
        sync_folder(data_dir)
