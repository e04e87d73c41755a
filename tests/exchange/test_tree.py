"""What a client's path means."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.partner import BOXES, Box, Role
from gateway.exchange.tree import (
    BadName,
    File,
    Folder,
    Nowhere,
    Root,
    canonical,
    file_attributes,
    folder_attributes,
    is_name,
    long_name,
    resolve,
)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"", Root()),
        (b"/", Root()),
        (b"..", Root()),
        (b"/inbox", Folder(Box.INBOX)),
        (b"inbox/", Folder(Box.INBOX)),
        (b"/inbox/../returns", Folder(Box.RETURNS)),
        (b"inbox/a.csv", File(Box.INBOX, "a.csv")),
        ("inbox/e\u0301.csv".encode(), File(Box.INBOX, "é.csv")),
        (b"inbox/..a", File(Box.INBOX, "..a")),
        (b"inbox/%2e%2e", File(Box.INBOX, "%2e%2e")),
        (b"inbox/a\\..\\b", File(Box.INBOX, "a\\..\\b")),
        (b"inbox/a\0b", BadName(Box.INBOX)),
        (b"inbox/" + b"x" * 201, BadName(Box.INBOX)),
        (b"outbox", Nowhere(in_root=True)),
        (b"INBOX", Nowhere(in_root=True)),
        (b"outbox/a.csv", Nowhere()),
        (b"inbox/a/b", Nowhere()),
        (b"inbox/\xc0\xae\xc0\xae/x", Nowhere()),
        (b"a/" * 3000, Nowhere()),
    ],
)
def test_places(path, place):
    """A creditor's paths, plain and hostile."""
    assert resolve(Role.CREDITOR, path) == place


@given(
    st.sampled_from(Role),
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "ignore")),
)
def test_no_path_leaves_the_boxes(role, path):
    """Any bytes lead to a box of this role and one plain name in it, or to nothing."""
    place = resolve(role, path)
    if isinstance(place, File):
        assert place.box in BOXES[role]
        assert is_name(place.name)
        assert "/" not in place.name
        assert place.name not in {".", ".."}
    elif isinstance(place, Folder | BadName):
        assert place.box in BOXES[role]


@given(st.text(max_size=80).map(lambda text: text.encode("utf-8", "ignore")))
def test_canonical_is_its_own_canonical(path):
    """REALPATH of its own answer is the same; it is absolute, NFC and without dots."""
    once = canonical(path)
    assert once is not None
    assert canonical(once.encode()) == once
    assert once.startswith("/")
    assert unicodedata.is_normalized("NFC", once)
    assert not {".", ".."} & set(once.split("/"))


def test_long_names():
    """A line as ls -l prints it: the time within half a year, the year before."""
    shown = file_attributes(Box.OUTBOX, size=1234, at=1_700_000_000)
    assert long_name("a.csv", shown, 1_700_000_100.0) == (
        "-r--r-----    1 partner  gateway          1234 Nov 14 22:13 a.csv"
    )
    assert long_name("a.csv", shown, 1_800_000_000.0).endswith("Nov 14  2023 a.csv")
    assert long_name("inbox", folder_attributes(Box.INBOX), 0.0).startswith("drwx-wx---")
