"""The steps of the purge, in their order (spec 4, Retention); each may be repeated at any time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from gateway.domain.retention import Terms, index_due
from gateway.errors import KeyringError
from gateway.retention import ring
from gateway.retention.erasures import waiting_letters
from gateway.retention.holds import key_of, rewrap, warn_of_reviews, wrapped_again
from gateway.retention.run import Run
from gateway.store import Connection, holds, registers, requests, retention
from gateway.store.data_keys import StoredKey
from gateway.store.holds import Misplaced
from gateway.store.retention import Ended, Held
from gateway.vault.key_ids import day_of, hold_of, month_of, until_id
from gateway.vault.keyring import Keyring

#: Index tokens in one transaction: their rows are short.
TOKENS = 1000


def rewrap_unprocessed(run: Run) -> None:
    """A received file that is still needed is kept one day more, under today's key."""
    with run.store.read() as conn:
        due = retention.unprocessed_due(conn, run.today)
    if not due:
        return
    key_id = until_id(run.today)
    run.keyring.ensure([key_id])

    def rewrap(batch: list[StoredKey]) -> None:
        with run.transaction(rewrapped=len(batch)) as conn:
            registers.register_keys(conn, [key_id], run.now)
            for stored in batch:
                wrapped = wrapped_again(run.keyring, stored, key_id)
                retention.rewrap(
                    conn,
                    stored,
                    key_id=wrapped.key_id,
                    key_version=wrapped.key_version,
                    wrapped=wrapped.wrapped,
                    due_on=run.today,
                )
                run.note(conn, "delivery.rewrapped", stored.object_id, {"due": run.today.isoformat()})

    run.each("rewrap", due, rewrap, lambda stored: stored.object_id)


def hold(run: Run) -> None:
    """What a legal hold covers or what waits for approval gets a key that outlives its day; what waits is out of sight.

    A hold that was lifted gives back what has time left, and a request to destroy that waited for that goes on.
    """
    warn_of_reviews(run.store, run.today)
    with run.store.read() as conn:
        found = holds.misplaced(conn, run.today)
        waiting = retention.dispatches_waiting(conn, run.today)
        lifted = [
            each for each in requests.held(conn) if not holds.covering(conn).keys() & {*each.deliveries}
        ]
    if lifted:
        with run.transaction() as conn:
            for request in lifted:
                requests.go_on(conn, request.id)
                run.note(conn, "request.resumed", request.id)
    run.keyring.ensure(sorted({key_of(one) for one in found}))

    def move(batch: list[Misplaced]) -> None:
        keys = rewrap(run.store, run.keyring, batch, run.now)
        with run.transaction() as conn:
            for key_id in keys:
                count = sum(key_of(one) == key_id for one in batch)
                run.note(conn, "data_keys.rewrapped", key_id, {"count": count})

    def block_waiting(batch: list[str]) -> None:
        with run.transaction() as conn:
            retention.withhold_dispatches(conn, batch)
            for dispatch_id in batch:
                run.note(conn, "dispatch.blocked", dispatch_id)

    run.each("hold", found, move, lambda one: one.stored.object_id)
    run.each("hold", waiting, block_waiting)


def block(run: Run) -> None:
    """What goes is out of sight from here on."""
    with run.store.read() as conn:
        deliveries = retention.deliveries_ending(conn, run.today)
        dispatches = [held.id for held in retention.dispatches_going(conn, run.today)]

    def block_deliveries(batch: list[str]) -> None:
        with run.transaction() as conn:
            retention.block_deliveries(conn, batch)

    def block_dispatches(batch: list[str]) -> None:
        with run.transaction() as conn:
            retention.block_dispatches(conn, batch)

    run.each("block", deliveries, block_deliveries)
    run.each("block", dispatches, block_dispatches)


def remove_blobs(run: Run) -> None:
    """Sealed bytes are removed and seen to be absent; only then does a row say so."""
    with run.store.read() as conn:
        raws = retention.raws_going(conn, run.today)
        dispatches = [held for held in retention.dispatches_going(conn, run.today) if held.blob is not None]

    def remove_raws(batch: list[Held]) -> None:
        names = _blobs(batch)
        run.blobs.remove(*names)
        with run.transaction(raws=len(batch), blobs=len(names)) as conn:
            retention.forget_raws(conn, [held.id for held in batch], run.now)
            for held in batch:
                run.note(conn, "delivery.raw_purged", held.id, _particulars(held))

    def remove_dispatches(batch: list[Held]) -> None:
        names = _blobs(batch)
        run.blobs.remove(*names)
        with run.transaction(blobs=len(names)) as conn:
            retention.forget_blobs(conn, [held.id for held in batch])

    run.each("blobs", raws, remove_raws, lambda held: held.id)
    run.each("blobs", dispatches, remove_dispatches, lambda held: held.id)


def purge_rows(run: Run) -> None:
    """Sealed contents, rows of signals, what was answered on them, listed residents, and emptied meldingen."""
    with run.store.read() as conn:
        contents = retention.contents_going(conn, run.today)
        rows = retention.rows_going(conn, run.today)
        answers = retention.answers_going(conn, run.today)
        exclusions = retention.exclusions_going(conn, run.today)

    def purge_contents(batch: list[int]) -> None:
        with run.transaction(contents=len(batch)) as conn:
            counts = retention.purge_contents(conn, batch)
            run.note(conn, "contents.purged", run.object_id, counts)

    def purge_signals(batch: list[int]) -> None:
        with run.transaction(signals=len(batch)) as conn:
            counts = retention.purge_rows(conn, batch)
            run.note(conn, "signals.purged", run.object_id, counts)

    def purge_answers(batch: list[int]) -> None:
        with run.transaction(answers=len(batch)) as conn:
            counts = retention.purge_answers(conn, batch)
            run.note(conn, "answers.purged", run.object_id, counts)

    def purge_exclusions(batch: list[int]) -> None:
        with run.transaction(exclusions=len(batch)) as conn:
            counts = retention.purge_exclusions(conn, batch)
            run.note(conn, "exclusions.purged", run.object_id, counts)

    def purge_meldingen(batch: list[str]) -> None:
        with run.transaction(meldingen=len(batch)) as conn:
            retention.purge_meldingen(conn, batch)
            run.note(conn, "meldingen.purged", run.object_id, {"count": len(batch)})

    run.each("rows", contents, purge_contents)
    run.each("rows", rows, purge_signals)
    run.each("rows", answers, purge_answers)
    run.each("rows", exclusions, purge_exclusions)
    with run.store.read() as conn:
        meldingen = retention.meldingen_going(conn, run.today)
    run.each("rows", meldingen, purge_meldingen)


def purge_tokens(run: Run) -> None:
    """The index tokens of a month of receipt of which nothing is held any more."""
    with run.store.read() as conn:
        keys = _months_over(conn, run.keyring, run.today, run.terms)

    def purge_month(batch: list[str]) -> None:
        for key_id in batch:
            while _purge_some(key_id):
                pass
            with run.transaction() as conn:
                retention.forget_month(conn, key_id)

    def _purge_some(key_id: str) -> int:
        with run.transaction() as conn:
            count = retention.purge_tokens(conn, key_id, TOKENS)
            registers.count(conn, run.id, {"tokens": count})
        return count

    run.each("tokens", keys, purge_month)


def purge_data_keys(run: Run) -> None:
    """Wrapped data keys: without them their objects can't be opened, even while the day key is there."""
    with run.store.read() as conn:
        going = retention.data_keys_going(conn, run.today)

    def purge_some(batch: list[int]) -> None:
        with run.transaction(data_keys=len(batch)) as conn:
            retention.purge_data_keys(conn, batch)
            run.note(conn, "data_keys.purged", run.object_id, {"count": len(batch)})

    run.each("data_keys", going, purge_some)


def destroy_keys(run: Run) -> None:
    """The keys of the days and months that are over. One that still wraps a data key stays, as an error."""
    with run.store.read() as conn:
        going = due_keys(conn, run.keyring, run.today, run.terms)

    def destroy(batch: list[str]) -> None:
        for key_id in batch:
            with run.store.read() as conn:
                if retention.is_key_used(conn, key_id):
                    raise KeyringError(f"{key_id} still wraps a data key: it is kept until that is gone")
            run.keyring.destroy(key_id)
            with run.transaction(keys=1) as conn:
                registers.mark_destroyed(conn, key_id, run.now, run.id)
                run.note(conn, "key.destroyed", key_id)
                for name in run.keyring.unconfirmed(key_id):
                    run.note(conn, "key.destroyed", key_id, {"copy": name}, result="unconfirmed")
            run.destroyed.append(key_id)

    for key_id in going:
        run.each("keys", [key_id], destroy)


def replace_master(run: Run) -> None:
    """Where a token seals the root key: its master key is replaced, so that older copies of the keyring open nothing."""
    try:
        ring.replace_master(
            run.store, run.keyring, run.now, node=run.node, origin=run.origin, actor=run.actor
        )
    except KeyringError as exc:
        run.fail("master", "root", str(exc))


def leave_tombstones(run: Run) -> None:
    """What is wholly gone is PURGED; what is not stays PURGING and is tried again at the next purge."""
    with run.store.read() as conn:
        dispatches = retention.dispatches_gone(conn)
        deliveries = retention.deliveries_gone(conn)

    def bury_dispatches(batch: list[Held]) -> None:
        with run.transaction(dispatches=len(batch)) as conn:
            retention.bury_dispatches(conn, [held.id for held in batch], run.now)
            for held in batch:
                run.note(conn, "dispatch.purged", held.id, _particulars(held))

    def bury_deliveries(batch: list[Ended]) -> None:
        with run.transaction(deliveries=len(batch)) as conn:
            retention.bury_deliveries(conn, [ended.id for ended in batch], run.now)
            for ended in batch:
                run.note(
                    conn,
                    "delivery.purged",
                    ended.id,
                    {
                        "bytes": ended.sealed_bytes,
                        "rows": ended.purged_rows,
                        "sha256": (ended.sealed_sha256 or b"").hex() or "none",
                    },
                )

    run.each("tombstones", dispatches, bury_dispatches, lambda held: held.id)
    run.each("tombstones", deliveries, bury_deliveries, lambda ended: ended.id)


def verify(run: Run) -> None:
    """Nothing that was due is left, but for what was reported."""
    with run.store.read() as conn:
        left = retention.overdue(conn, run.today)
        keys = due_keys(conn, run.keyring, run.today, run.terms)
    if run.failures:
        return
    for kind, count in left.items():
        run.fail("verify", run.object_id, f"{count} of kind {kind} are left")
    for key_id in keys:
        run.fail("verify", key_id, f"{key_id} is left")


def finish_requests(run: Run) -> None:
    """What was marked for requests to destroy is gone, and certified; with an error they wait for the next run.

    Of what a legal hold keeps the municipality is told that it waits for the lift.
    """
    with run.store.read() as conn:
        marked = requests.erasing(conn)
        kept = holds.covering(conn)
        legal = {each.id: each for each in holds.held(conn)}
    if not marked or run.failures:
        return
    waiting = {
        request.id: [
            legal[hold_id] for hold_id in sorted({h for d in request.deliveries for h in kept.get(d, ())})
        ]
        for request in marked
    }
    told = [request for request in marked if waiting[request.id] and request.held_at is None]
    store_letters = run.notary.post(
        [letter for request in told for letter in waiting_letters(run, request, waiting[request.id])]
    )
    done = [request for request in marked if not waiting[request.id]]
    with run.transaction() as conn:
        requests.finish(conn, [request.id for request in done], run.now)
        for request in marked:
            if waiting[request.id]:
                requests.hold(conn, request.id, run.now)
            action = "request.held" if waiting[request.id] else "request.finished"
            run.note(conn, action, request.id)
        store_letters(conn, run.now)


def due_keys(conn: Connection, keyring: Keyring, today: date, terms: Terms) -> list[str]:
    """The keys of days and months that are over, oldest first, and of holds that keep nothing any more.

    In the keyring or a copy of it, or in the register as not destroyed: an interruption may lie between the two.
    """
    days = [key_id for key_id in _live(conn, keyring) if (day := day_of(key_id)) is not None and day < today]
    of_holds = [key_id for key_id in _live(conn, keyring) if hold_of(key_id) is not None]
    return [
        *days,
        *_months_over(conn, keyring, today, terms),
        *holds.keys_over(conn, of_holds, today),
    ]


def _months_over(conn: Connection, keyring: Keyring, today: date, terms: Terms) -> list[str]:
    """Index keys of months whose last due day is over and of which no row is held (under an older, longer term)."""
    return [
        key_id
        for key_id in _live(conn, keyring)
        if (month := month_of(key_id)) is not None
        and index_due(month, terms) < today
        and not retention.is_month_held(conn, key_id, today)
    ]


def _live(conn: Connection, keyring: Keyring) -> list[str]:
    return sorted({*keyring.ids(), *keyring.ids_in_copies(), *registers.live_keys(conn)})


def _blobs(held: Sequence[Held]) -> list[str]:
    return [one.blob for one in held if one.blob is not None]


def _particulars(held: Held) -> dict[str, int | str]:
    """What the audit log says of sealed bytes that went."""
    digest = "none" if held.sealed_sha256 is None else held.sealed_sha256.hex()
    found: dict[str, int | str] = {"bytes": held.sealed_bytes, "sha256": digest}
    if held.due_on is not None:
        found["due"] = held.due_on.isoformat()
    return found
