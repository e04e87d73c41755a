"""What the ledger counts and what it finds (spec 1, Conservation): set-based, in one snapshot.

Each search gives the ids of what does not hold. Rows that a delivery stages are nobody's yet, and what is overdue
takes part in nothing: it goes at the next purge.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, Table, func, select, text

from gateway.domain.delivery import DeliveryState
from gateway.domain.dispatch import LISTED, NUMBERED, DispatchKind, DispatchState
from gateway.domain.ledger import MOST_IDS, Check, DeliveryFigures, Found
from gateway.domain.melding import MeldingContent
from gateway.store.tables import AnswerRow, Counter, Delivery, Dispatch, ExclusionRow, SignalRow

_DELIVERY: Table = Delivery.__table__  # type: ignore[attr-defined]
_DISPATCH: Table = Dispatch.__table__  # type: ignore[attr-defined]
_SIGNAL: Table = SignalRow.__table__  # type: ignore[attr-defined]
_ANSWER: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_EXCLUSION: Table = ExclusionRow.__table__  # type: ignore[attr-defined]
_COUNTER: Table = Counter.__table__  # type: ignore[attr-defined]

#: What the queries say in a word.
_WORDS: Mapping[str, str] = {
    # signals that are in a melding, as `store.signals.active` sees them
    "<active>": "s.in_force AND s.state IN ('waiting', 'passed_on') AND s.due_on >= :today",
    # the place of a signal under the key of a melding
    "<place>": "CASE m.level WHEN 'address' THEN s.place_a1 WHEN 'address_exact' THEN s.place_a2 "
    "ELSE s.place_person END",
    # deliveries that still stage rows, or may have left some that the next try takes away
    "<undecided>": "('arrived', 'processing', 'failed')",
    # in what was published of a melding
    **{f"<{name}>": f"'$[{place}]'" for place, name in enumerate(MeldingContent._fields)},
}

_SEARCHES: Mapping[Check, tuple[str, ...]] = {
    Check.OWNERS: (
        "SELECT s.number FROM signal s LEFT JOIN delivery d ON d.id = s.delivery_id "
        "WHERE d.id IS NULL OR d.partner_id != s.creditor OR NOT (d.state IN ('processed', 'purging') "
        "OR (d.state IN <undecided> AND NOT s.in_force))",
        "SELECT a.signal_number FROM answer a LEFT JOIN delivery d ON d.id = a.delivery_id "
        "WHERE d.id IS NULL OR d.partner_id != a.partner_id "
        "OR d.state NOT IN ('processed', 'purging', 'arrived', 'processing', 'failed')",
        "SELECT e.delivery_id FROM exclusion e LEFT JOIN delivery d ON d.id = e.delivery_id "
        "WHERE d.id IS NULL OR d.partner_id != e.partner_id OR (d.kind IS NOT NULL AND d.kind != e.kind) "
        "OR NOT (d.state IN ('processed', 'purging') OR (d.state IN <undecided> AND NOT e.in_force))",
    ),
    Check.IN_FORCE: (
        # a version that was replaced may outlive its signal by an unfinished purge
        "SELECT s.number FROM signal s JOIN delivery d ON d.id = s.delivery_id "
        "WHERE d.state NOT IN <undecided> GROUP BY s.number "
        "HAVING sum(s.in_force) > 1 OR (sum(s.in_force) = 0 AND max(s.due_on) >= :today)",
    ),
    Check.UNIQUE: (
        # an automatic id that was withdrawn may come again; nothing else may
        "SELECT max(s.number) FROM signal s WHERE s.in_force AND s.due_on >= :today "
        "GROUP BY s.creditor, s.place_s1 HAVING count(*) > 1 "
        "AND (sum(s.state != 'withdrawn') > 1 OR s.place_s1 IN "
        "(SELECT t.place FROM index_token t WHERE t.level = :signal_level))",
    ),
    Check.MELDING: (
        "SELECT s.number FROM signal s LEFT JOIN melding m ON m.id = s.melding_id "
        "LEFT JOIN grouping g ON g.municipality = s.municipality AND g.month = s.month "
        "WHERE <active> AND (m.id IS NULL OR g.level IS NOT m.level OR m.municipality != s.municipality "
        "OR m.month != s.month OR m.place != <place>)",
    ),
    Check.WAITING: (
        "SELECT s.number FROM signal s JOIN melding m ON m.id = s.melding_id "
        "WHERE <active> AND s.state = 'waiting' AND m.touched_at IS NULL",
        "SELECT s.number FROM signal s WHERE <active> AND s.state = 'passed_on' AND s.passed_on_at IS NULL",
    ),
    Check.PUBLISHED: (
        # passed on, and not in what was published
        "SELECT m.id FROM signal s JOIN melding m ON m.id = s.melding_id "
        "WHERE <active> AND s.state = 'passed_on' AND m.touched_at IS NULL AND s.id NOT IN "
        "(SELECT j.value FROM json_each(m.published, <refs>) j)",
        # published, and no longer in it; what was purged is no change
        "SELECT m.id FROM melding m, json_each(m.published, <refs>) j JOIN signal s ON s.id = j.value "
        "WHERE m.touched_at IS NULL AND s.due_on >= :today AND s.received_at <= m.published_at "
        "AND NOT (s.melding_id IS m.id AND <active>)",
    ),
    Check.FIGURES: (
        "SELECT m.id FROM melding m JOIN (SELECT s.melding_id, count(*) AS signals, sum(s.amount_cents) AS total, "
        "count(DISTINCT s.creditor) AS creditors, count(DISTINCT s.sector) AS sectors, "
        "min(s.signalled_on) AS first_on "
        "FROM signal s WHERE <active> GROUP BY s.melding_id) f ON f.melding_id = m.id "
        "WHERE m.touched_at IS NULL AND m.published IS NOT NULL "
        "AND json_array_length(m.published, <refs>) = f.signals "
        "AND (json_extract(m.published, <total_cents>) != f.total "
        "OR json_extract(m.published, <creditor_count>) != f.creditors "
        "OR json_array_length(m.published, <sectors>) != f.sectors "
        "OR json_extract(m.published, <first_signalled_on>) != f.first_on)",
    ),
    Check.VERSION: (
        "SELECT id FROM melding WHERE CASE WHEN version = 0 THEN "
        "coalesce(klasse, fingerprint, published, published_at) IS NOT NULL "
        "ELSE klasse IS NULL OR fingerprint IS NULL OR published_at IS NULL "
        "OR (klasse = 'VERVALLEN') != (published IS NULL) "
        "OR klasse != coalesce(json_extract(published, <klasse>), 'VERVALLEN') END",
    ),
    Check.TRACED: (
        "SELECT DISTINCT s.delivery_id FROM signal s WHERE <active> AND s.state = 'passed_on' "
        "AND s.delivery_id NOT IN (SELECT delivery_id FROM dispatch_content)",
    ),
    Check.CONTENTS: (
        "SELECT s.number FROM signal s LEFT JOIN data_key k ON k.id = s.data_key_id AND k.object_id = s.delivery_id "
        "WHERE (s.sealed IS NOT NULL AND k.id IS NULL) OR (<active> AND s.sealed IS NULL)",
        "SELECT e.delivery_id FROM exclusion e "
        "LEFT JOIN data_key k ON k.id = e.data_key_id AND k.object_id = e.delivery_id WHERE k.id IS NULL",
    ),
    Check.KEYS: (
        "SELECT d.id FROM delivery d WHERE d.blob IS NOT NULL AND d.state NOT IN ('receiving', 'purging') "
        "AND d.raw_gone_at IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM data_key k WHERE k.object_id = d.id AND k.municipality = '')",
        "SELECT d.id FROM dispatch d WHERE d.state IN ('ready', 'collected', 'blocked', 'replaced') "
        "AND NOT EXISTS (SELECT 1 FROM data_key k WHERE k.object_id = d.id)",
    ),
}


def deliveries(conn: Connection) -> list[DeliveryFigures]:
    """Every delivery in figures, tombstones too."""
    query_held = _spelled(
        "SELECT s.delivery_id, count(*) FROM signal s JOIN delivery d ON d.id = s.delivery_id "
        "WHERE s.in_force OR d.state NOT IN <undecided> GROUP BY s.delivery_id"
    )
    held: dict[str, int] = {row[0]: row[1] for row in conn.execute(text(query_held))}
    query_answers = select(_ANSWER.c.delivery_id, func.count()).group_by(_ANSWER.c.delivery_id)
    answers: dict[str, int] = {row[0]: row[1] for row in conn.execute(query_answers)}
    query_listed = select(_EXCLUSION.c.delivery_id, func.count()).group_by(_EXCLUSION.c.delivery_id)
    listed: dict[str, int] = {row[0]: row[1] for row in conn.execute(query_listed)}
    receipts_of = (
        select(_DISPATCH.c.delivery_id, func.count())
        .where(_DISPATCH.c.kind == DispatchKind.RECEIPT, _DISPATCH.c.delivery_id.is_not(None))
        .group_by(_DISPATCH.c.delivery_id)
    )
    receipts: dict[str, int] = {row[0]: row[1] for row in conn.execute(receipts_of)}
    columns = {
        "id": "id",
        "partner_id": "partner_id",
        "state": "state",
        "rows": "row_count",
        "new": "new_count",
        "changed": "changed_count",
        "withdrawn": "withdrawn_count",
        "rejected": "rejected_count",
        "duplicate": "duplicate_count",
        "feedback": "feedback_count",
        "answers": "answer_count",
        "listed": "listed_count",
        "ended": "ended_count",
        "requests": "request_count",
        "purged_rows": "purged_rows",
        "purged_signals": "purged_signals",
        "arrival": "arrival",
    }
    query = select(*(_DELIVERY.c[column].label(name) for name, column in columns.items()))
    return [
        DeliveryFigures(
            **row,
            held=held.get(row["id"], 0) + answers.get(row["id"], 0) + listed.get(row["id"], 0),
            receipts=receipts.get(row["id"], 0),
        )
        for row in conn.execute(query.order_by(_DELIVERY.c.id)).mappings()
    ]


def in_force(conn: Connection) -> dict[str, dict[str, int]]:
    """Signals in force: creditor -> state -> number."""
    found: dict[str, dict[str, int]] = {}
    query = (
        select(_SIGNAL.c.creditor, _SIGNAL.c.state, func.count())
        .where(_SIGNAL.c.in_force)
        .group_by(_SIGNAL.c.creditor, _SIGNAL.c.state)
    )
    for creditor, state, count in conn.execute(query):
        found.setdefault(creditor, {})[state] = count
    return found


#: Of a series: the counter of those numbers that nobody got, after a restore.
PASSED_OVER = "passed_over"
_ARRIVALS = "arrival"


def last_arrival(conn: Connection) -> int:
    """The last number of arrival that was given out."""
    return int(conn.execute(select(_COUNTER.c.value).where(_COUNTER.c.name == _ARRIVALS)).scalar() or 0)


def numbers(conn: Connection) -> dict[str, int]:
    """How many numbers were given to files, by the name of the numbers (`meldingen/middendrenthe`)."""
    rows = {row.name: row.value for row in conn.execute(select(_COUNTER.c.name, _COUNTER.c.value))}
    return {
        name: value - rows.get(f"{PASSED_OVER}/{name}", 0)
        for name, value in rows.items()
        if name.partition("/")[0] in NUMBERED.values()
    }


def numbered(conn: Connection) -> dict[str, int]:
    """Outgoing files that have a number, by the name of their numbers; purged ones too, while their tombstone stays."""
    query = (
        select(_DISPATCH.c.kind, _DISPATCH.c.partner_id, func.count())
        .where(_DISPATCH.c.kind.in_(NUMBERED))
        .group_by(_DISPATCH.c.kind, _DISPATCH.c.partner_id)
    )
    rows = conn.execute(query)
    return {f"{NUMBERED[DispatchKind(kind)]}/{partner}": count for kind, partner, count in rows}


def search(conn: Connection, check: Check, today: date, signal_level: str) -> Found:
    """What does not hold of a check. `signal_level` names the index tokens of signaal_ids that partners gave."""
    told = {"today": today.isoformat(), "signal_level": signal_level}
    count = 0
    ids: list[str] = []
    for query in map(_spelled, _SEARCHES[check]):
        used = {name: value for name, value in told.items() if f":{name}" in query}
        for row in conn.execute(text(query), used):
            count += 1
            if len(ids) < MOST_IDS:
                ids.append(str(row[0]))
    return Found(check=check, count=count, ids=tuple(dict.fromkeys(ids)))


#: The checks that `search` can make.
SEARCHED: Collection[Check] = tuple(_SEARCHES)


class Blob(NamedTuple):
    """Sealed bytes that should be there; `size` is in bytes."""

    owner: str
    name: str
    size: int


def blobs(conn: Connection) -> list[Blob]:
    """The blobs of received files and of outgoing files that are held; one that is being sent has none yet."""
    held = select(_DELIVERY.c.id, _DELIVERY.c.blob, _DELIVERY.c.sealed_bytes).where(
        _DELIVERY.c.blob.is_not(None),
        _DELIVERY.c.raw_gone_at.is_(None),
        _DELIVERY.c.state.not_in((DeliveryState.RECEIVING, DeliveryState.PURGING)),
    )
    sent = select(_DISPATCH.c.id, _DISPATCH.c.blob, _DISPATCH.c.sealed_bytes).where(
        _DISPATCH.c.state.in_((*LISTED, DispatchState.BLOCKED, DispatchState.REPLACED))
    )
    return [Blob(*row) for query in (held, sent) for row in conn.execute(query)]


def wrapping_keys(conn: Connection) -> dict[str, str]:
    """The keys of the keyring that wrap a data key, each with one of the objects it serves."""
    rows = conn.execute(text("SELECT key_id, min(object_id) FROM data_key GROUP BY key_id"))
    return {row[0]: row[1] for row in rows}


class Fingerprint(NamedTuple):
    """What is stored of a melding's last publication."""

    melding_id: str
    fingerprint: str
    published: str | None


def fingerprints(conn: Connection) -> Iterator[Fingerprint]:
    """What is stored of every published melding, a few at a time."""
    rows = conn.execution_options(yield_per=1_000).execute(
        text("SELECT id, fingerprint, published FROM melding WHERE version > 0 AND fingerprint IS NOT NULL")
    )
    return (Fingerprint(*row) for row in rows)


def _spelled(query: str) -> str:
    for word, words in _WORDS.items():
        query = query.replace(word, words)
    return query
