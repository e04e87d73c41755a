"""A partner's file changed by a command: what an administrator wrote there stays."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime

import asyncssh
import pytest

from gateway.domain.partner import PartnerKey
from gateway.exchange.keys import parse_public_key
from gateway.settings import edit

AT = datetime(2026, 12, 26, 11, 35, 14, 999, tzinfo=UTC)
WRITTEN = "2026-12-26T12:35:14+01:00"


@pytest.fixture(scope="session")
def keys() -> list[PartnerKey]:
    """Three keys."""
    made = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(3)]
    lines = [parse_public_key(key.export_public_key("openssh").decode()) for key in made]
    return [PartnerKey(public_key=line, fingerprint=fingerprint, comment="c") for line, fingerprint in lines]


FILE = """\
# Written by hand.
role = "creditor"   # what it is
sectors = [
  "Huur",  # no more
]

[[keys]]
public_key = "{0}"   # anna's
# valid_from = 2026-01-01

[columns]                       # its own header -> our column
"Debiteurnummer" = "klantnummer"

[[keys]]
public_key = "{1}"
valid_until = 2027-12-31   # on paper
[defaults]
# signaal_id = "auto"
"""
LISTED = """\
role = "creditor"
keys = [
  # anna's
  {{public_key = "{0}"}},
  {{public_key = "{1}", valid_until = 2027-12-31}},  # on paper
]
[columns]   # none
"""
NO_END = """\
role = "creditor"
[[keys]]
public_key = "{0}"
[[keys]]
public_key = "{1}\""""
SHAPES = {"tables": FILE, "listed": LISTED, "without a last line end": NO_END}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def text(request, keys) -> str:
    """A file with the first two keys, in one of the forms that TOML has for them."""
    return request.param.format(*(key.public_key for key in keys))


def comments(text: str) -> list[str]:
    """Every comment; tables of one name that stand apart may come to stand together."""
    return sorted(line.split("#", 1)[1].strip() for line in text.splitlines() if "#" in line)


def meaning(text: str) -> dict:
    """What TOML makes of it."""
    return tomllib.loads(text)


def test_a_key_is_added_behind_the_others(text, keys):
    """With its window; nothing else changes in what the file means, and no comment is lost."""
    new = keys[2]
    changed = edit.add_key(
        text, PartnerKey(public_key=new.public_key, fingerprint="", comment='"c"', valid_from=AT)
    )
    before, after = meaning(text), meaning(changed)
    assert after["keys"][:2] == before["keys"]
    assert after["keys"][2] == {
        "public_key": new.public_key,
        "comment": '"c"',
        "valid_from": datetime.fromisoformat(WRITTEN),
    }
    assert after | {"keys": 0} == before | {"keys": 0}
    assert comments(changed) == comments(text)
    assert changed.endswith("\n")
    assert not changed.endswith("\n\n")


def test_keys_are_ended(text, keys):
    """Only those that are meant, in the time of the Netherlands, to the second."""
    changed = edit.end_keys(text, [keys[1].fingerprint], AT)
    before, after = meaning(text), meaning(changed)
    assert after["keys"][0] == before["keys"][0]
    assert after["keys"][1] == before["keys"][1] | {"valid_until": datetime.fromisoformat(WRITTEN)}
    assert after | {"keys": 0} == before | {"keys": 0}
    assert WRITTEN in changed
    assert comments(changed) == comments(text)


def test_keys_are_dropped(text, keys):
    """A key that will never be used goes; the others and everything else stay."""
    before, after = meaning(text), meaning(edit.drop_keys(text, [keys[0].fingerprint]))
    assert after["keys"] == before["keys"][1:]
    assert after | {"keys": 0} == before | {"keys": 0}
    assert meaning(edit.drop_keys(text, [])) == before


def test_a_partner_is_disabled(text):
    """One line, before the tables."""
    changed = edit.disable(text)
    assert meaning(changed) == meaning(text) | {"disabled": True}
    assert comments(changed) == comments(text)


def test_the_first_key(keys):
    """A file without keys gets the table."""
    text = 'role = "creditor"  # c\n[columns]\na = "b"\n'
    changed = edit.add_key(text, keys[0])
    assert meaning(changed)["keys"] == [{"public_key": keys[0].public_key, "comment": "c"}]
    assert meaning(changed) | {"keys": 0} == meaning(text) | {"keys": 0}
