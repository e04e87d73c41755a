"""What is remembered of a publication is what was published: the next ones compare with it (spec 3, Publication)."""

from __future__ import annotations

import json
from datetime import UTC, date

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.melding import Klasse, MeldingContent, Rule
from gateway.pipeline import snapshot

_REFS = st.integers(1, 2**62)
_DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))

contents = st.builds(
    MeldingContent,
    klasse=st.sampled_from([Klasse.MATCH, Klasse.SINGLE]),
    rules=st.lists(st.sampled_from(Rule), unique=True).map(tuple),
    refs=st.lists(_REFS, min_size=1).map(tuple),
    repeated=st.frozensets(_REFS),
    # further sectors bear the name that the administrator gives them
    sectors=st.lists(st.text(min_size=1), min_size=1, unique=True).map(tuple),
    first_signalled_on=_DAYS,
    first_received_at=st.datetimes(timezones=st.just(UTC)),
    oldest_since=_DAYS,
    supply_ends_on=st.none() | _DAYS,
)


@given(contents)
def test_it_comes_back_as_it_was(content):
    """Every field, under its place: the ledger reads some of them with SQL."""
    text = snapshot.dump(content)
    assert snapshot.load(text) == content
    assert json.loads(text)[MeldingContent._fields.index("refs")] == list(content.refs)
    assert json.loads(text)[MeldingContent._fields.index("total_cents")] == content.total_cents
