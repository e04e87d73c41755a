"""Which parts of a file were seen, and bytes that come ahead of their turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.protocol import Refused
from gateway.exchange.spans import MOST_SPANS, WINDOW_BYTES, ReorderWindow, Spans

SPAN = st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(SPAN, max_size=20))
def test_spans_are_the_set_of_their_offsets(added):
    """`reach` and `end` say what the set of offsets says, and spans that touch are one."""
    spans, offsets = Spans(), set()
    for start, end in added:
        spans.add(start, end)
        offsets |= set(range(start, end))
    for start in range(82):
        reach = start
        while reach in offsets:
            reach += 1
        assert spans.reach(start) == reach
    assert spans.end == max((end for _, end in added), default=0)
    assert len(spans) == sum(1 for offset in offsets if offset - 1 not in offsets)


@given(st.binary(min_size=1, max_size=64), st.data())
def test_a_window_gives_every_byte_once_in_order(content, data):
    """Whatever order pieces come in, overlapping or not, what comes out is the content."""
    window, out = ReorderWindow(), b""
    while len(out) < len(content):
        start = data.draw(st.integers(len(out), len(content) - 1))
        end = data.draw(st.integers(start + 1, len(content)))
        out += window.put(start, memoryview(content)[start:end], start=len(out))
    assert (out, len(window)) == (content, 0)


def test_a_window_is_bounded():
    """Neither far-ahead bytes nor a swarm of pieces are held."""
    window = ReorderWindow()
    with pytest.raises(Refused):
        window.put(WINDOW_BYTES, memoryview(b"x"), start=0)
    for number in range(1, MOST_SPANS + 1):
        assert window.put(number * 2, memoryview(b"x"), start=0) == b""
    with pytest.raises(Refused):
        window.put(MOST_SPANS * 2 + 4, memoryview(b"x"), start=0)
