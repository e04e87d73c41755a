"""What keys of the ring are called: after the day, month or hold that they serve, and by version (spec 4, Keys)."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

_KEY_ID = re.compile(r"until-\d{4}-\d{2}-\d{2}|index-\d{4}-\d{2}|hold-[0-9A-Z][0-9A-Z-]{0,63}", re.ASCII)
_VERSION = re.compile(r"[2-9]|[1-9]\d{1,8}", re.ASCII)


def until_id(day: date) -> str:
    """The id of the key of what must be gone after `day`."""
    return f"until-{day.isoformat()}"


def index_id(month: str) -> str:
    """The id of the key of the index tokens of what is received in `month` (`YYYY-MM`)."""
    return f"index-{month}"


def hold_key_id(hold_id: str) -> str:
    """The id of the key of what a hold keeps past its day."""
    return f"hold-{hold_id}"


def hold_of(key_id: str) -> str | None:
    """The hold in a `hold-` id; None for another key."""
    kind, _, rest = key_id.partition("-")
    return rest if kind == "hold" else None


def day_of(key_id: str) -> date | None:
    """The day in an `until-` id; None for another key."""
    kind, _, rest = key_id.partition("-")
    return date.fromisoformat(rest) if kind == "until" else None


def month_of(key_id: str) -> str | None:
    """The month (`YYYY-MM`) in an `index-` id; None for another key."""
    kind, _, rest = key_id.partition("-")
    return rest if kind == "index" else None


def name_of(key_id: str, version: int) -> str:
    """What a version of a key is called in its folder, and inside its file."""
    return key_id if version == 1 else f"{key_id}.v{version}"


@lru_cache(maxsize=1024)
def split(name: str) -> tuple[str, int] | None:
    """The id and version of a name; None when it is not one."""
    key_id, dotted, version = name.partition(".v")
    if not _KEY_ID.fullmatch(key_id) or (dotted and not _VERSION.fullmatch(version)):
        return None
    return key_id, int(version) if dotted else 1


def is_version(name: str, key_id: str, before: int | None) -> bool:
    """Whether a name is of a version of a key, `before` one if that is given."""
    parts = split(name)
    return parts is not None and parts[0] == key_id and (before is None or parts[1] < before)


def version_in(name: str) -> int:
    """The version in a name; 0 when it is not one."""
    parts = split(name)
    return 0 if parts is None else parts[1]
