"""Changes to a partner's file by a command: whatever else stands there stays, comments too."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import tomlkit
from tomlkit.items import AoT

from gateway.clock import AMSTERDAM
from gateway.domain.partner import PartnerKey
from gateway.exchange.keys import parse_public_key


def add_key(text: str, key: PartnerKey) -> str:
    """The file with one more key, behind the others."""
    document = tomlkit.parse(text)
    keys: Any = document.setdefault("keys", tomlkit.aot())
    is_listed = not isinstance(keys, AoT)  # keys = [{…}, {…}]
    table = tomlkit.inline_table() if is_listed else tomlkit.table()
    table["public_key"] = key.public_key
    table["comment"] = key.comment
    if key.valid_from is not None:
        table["valid_from"] = _moment(key.valid_from)
    if not is_listed:
        table.add(tomlkit.nl())
        if keys and not keys[-1].as_string().endswith("\n\n"):
            keys[-1].add(tomlkit.nl())
    keys.append(table)
    return _text(document)


def end_keys(text: str, fingerprints: Collection[str], at: datetime) -> str:
    """The file with another end for some of its keys."""
    document = tomlkit.parse(text)
    for table in document.get("keys", ()):
        if _fingerprint(table) in fingerprints:
            table["valid_until"] = _moment(at)
    return _text(document)


def drop_keys(text: str, fingerprints: Collection[str]) -> str:
    """The file without some of its keys."""
    document = tomlkit.parse(text)
    keys: Any = document.get("keys", ())
    for place in reversed(range(len(keys))):
        if _fingerprint(keys[place]) in fingerprints:
            del keys[place]
    return _text(document)


def disable(text: str) -> str:
    """The file of a partner that none of its keys lets in."""
    document = tomlkit.parse(text)
    document["disabled"] = True
    return _text(document)


def _fingerprint(table: Any) -> str:
    return parse_public_key(str(table["public_key"]))[1]


def _moment(at: datetime) -> datetime:
    """As an administrator reads it: the time of the Netherlands, with its offset."""
    return at.astimezone(AMSTERDAM).replace(microsecond=0)


def _text(document: tomlkit.TOMLDocument) -> str:
    return tomlkit.dumps(document).rstrip("\n") + "\n"
