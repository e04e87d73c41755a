"""The auditor's box, rendered on read: certificates and registers, within the auditor's scope (spec 2).

    verklaringen/   verklaring_<nr>.json and .txt, a .sig of each, allowed_signers
    registers/      aankondiging.csv, bewaringen.csv, grondslagen.csv, bewaarregister_<YYYY-MM>.csv,
                    sleutelregister_<YYYY-MM>.csv

A scope is a list of municipalities; what is only a creditor's own (its received files) is seen with scope "all".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from gateway.audit.checkpoint import Signer
from gateway.audit.sshsig import allowed_signers
from gateway.clock import AMSTERDAM, Clock, local_day, month_of, shift_month
from gateway.domain.hold import HeldOut
from gateway.domain.shelf import Document, Shown
from gateway.files.names import certificate_names
from gateway.files.registers import (
    HoldLine,
    KeyLine,
    RegisterRow,
    render_grounds,
    render_holds,
    render_keys,
    render_notice,
    render_register,
)
from gateway.retention.notary import Notary
from gateway.retention.ring import Standing
from gateway.store import Connection, certificates, destruction, holds
from gateway.store.destruction import Recorded
from gateway.store.engine import Store
from gateway.store.going import Going, going
from gateway.store.holds import Hold

SIGNERS_FILE = "allowed_signers"
NOTICE_FILE = "aankondiging.csv"
GROUNDS_FILE = "grondslagen.csv"
HOLDS_FILE = "bewaringen.csv"

_CERTIFICATE = re.compile(r"verklaring_(\d{4}-\d{6})\.(json|txt)(\.sig)?")

_KEYS = "sleutelregister"
_REGISTERS = ("bewaarregister", _KEYS)

Scope = Collection[str] | None


class CertificateShelf:
    """The certificates of the parties in scope, each with its signatures."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self._store = store
        self._signers = allowed_signers(signer.public_key).encode()

    def listing(self, path: Sequence[str], scope: Sequence[str] | None) -> list[Shown] | None:
        """What is in the folder; it has no folders."""
        if path:
            return None
        shown = [Shown(name=SIGNERS_FILE, size=len(self._signers))]
        with self._store.read() as conn:
            for one in certificates.certificates(conn, scope):
                as_json, as_text = certificate_names(one.number)
                for name, size in (
                    (as_json, one.as_json_bytes),
                    (f"{as_json}.sig", one.json_signature_bytes),
                    (as_text, one.as_text_bytes),
                    (f"{as_text}.sig", one.text_signature_bytes),
                ):
                    shown.append(Shown(name=name, size=size, at=one.made_at))
        return sorted(shown, key=lambda each: each.name)

    def document(self, path: Sequence[str], scope: Sequence[str] | None) -> Document | None:
        """A file, as it was signed."""
        if tuple(path) == (SIGNERS_FILE,):
            return Document(data=self._signers)
        found = _CERTIFICATE.fullmatch(path[0]) if len(path) == 1 else None
        if found is None:
            return None
        with self._store.read() as conn:
            signed = certificates.certificate(conn, found[1])
        if signed is None or (scope is not None and signed.party not in scope):
            return None
        if found[2] == "json":
            data = signed.json_signature if found[3] else signed.as_json
        else:
            data = signed.text_signature if found[3] else signed.as_text
        return Document(data=data, at=signed.made_at)


class RegisterShelf:
    """What will go, what is held and was destroyed, the keys, and the grounds: municipality code -> text, not empty."""

    def __init__(
        self,
        store: Store,
        notary: Notary,
        clock: Clock,
        notice_days: int,
        *,
        grounds: Mapping[str, str],
        keys: Callable[[], Sequence[Standing]],
    ) -> None:
        self._store, self._notary, self._clock, self._notice_days = store, notary, clock, notice_days
        self._grounds, self._keys = grounds, keys

    def listing(self, path: Sequence[str], scope: Sequence[str] | None) -> list[Shown] | None:
        """What is in the folder; it has no folders."""
        if path:
            return None
        keys = self._keys()
        with self._store.read() as conn:
            months = self._months(conn)
            names = [
                NOTICE_FILE,
                HOLDS_FILE,
                GROUNDS_FILE,
                *(f"{kind}_{month}.csv" for kind in _REGISTERS for month in months),
            ]
            return [
                Shown(name=name, size=len(self._render(conn, name, scope, keys) or b""), at=self._clock.now())
                for name in names
            ]

    def document(self, path: Sequence[str], scope: Sequence[str] | None) -> Document | None:
        """A register, as it is now."""
        if len(path) != 1:
            return None
        keys = self._keys() if path[0].startswith(_KEYS) else ()
        with self._store.read() as conn:
            data = self._render(conn, path[0], scope, keys)
        return None if data is None else Document(data=data, at=self._clock.now())

    def _render(self, conn: Connection, name: str, scope: Scope, keys: Sequence[Standing]) -> bytes | None:
        if name == NOTICE_FILE:
            return self._notice(conn, scope)
        if name == HOLDS_FILE:
            return self._holds(conn, scope)
        if name == GROUNDS_FILE:
            grounds = {code: text for code, text in self._grounds.items() if scope is None or code in scope}
            return b"".join(render_grounds(grounds))
        kind, _, month = name.removesuffix(".csv").partition("_")
        if kind not in _REGISTERS or name != f"{kind}_{month}.csv" or month not in self._months(conn):
            return None
        since, until = _month(month)
        if kind == "bewaarregister":
            lines = destruction.register(conn, since, until, scope)
            return b"".join(render_register(map(_line, lines)))
        made = [_key(key, key.made_at) for key in keys if key.made_at and since <= key.made_at < until]
        return b"".join(render_keys(made))

    def _months(self, conn: Connection) -> list[str]:
        span = destruction.months(conn)
        if span is None:
            return []
        months, last = [month_of(local_day(span[0]))], month_of(local_day(self._clock.now()))
        while months[-1] < last:
            months.append(shift_month(months[-1], 1))
        return months

    def _holds(self, conn: Connection, scope: Scope) -> bytes:
        """Legal holds, and what waits for approval, with how much of the scope's each keeps past its day now."""
        kept: dict[HeldOut, int] = {}
        for one in holds.left_out(conn, local_day(self._clock.now())):
            if scope is None or self._notary.party_for(one.municipality, one.partner_id) in scope:
                held = replace(one.held, objects=0)
                kept[held] = kept.get(held, 0) + one.held.objects
        legal = [
            each
            for each in holds.listed(conn)
            if each.placed_at is not None
            and (
                scope is None
                or any(self._notary.party_for(*of) in scope for of in holds.owners(conn, each.id))
            )
        ]
        counts = {held.hold_id: count for held, count in kept.items()}
        lines = [_hold(each, counts.get(each.id, 0)) for each in legal]
        lines += [
            HoldLine(hold_id=held.hold_id, grounds=held.grounds, objects=count)
            for held, count in sorted(kept.items(), key=lambda one: one[0].hold_id)
            if held.review_on is None
        ]
        return b"".join(render_holds(lines))

    def _notice(self, conn: Connection, scope: Scope) -> bytes:
        """What goes up to and including the last day of the notice, also what waits for approval."""
        today = local_day(self._clock.now())
        lines = [
            _announced(one, self._notary.party_of(one), today)
            for one in going(conn, today + timedelta(days=self._notice_days + 1), ahead=True)
            if scope is None or self._notary.party_of(one) in scope
        ]
        return b"".join(render_notice(sorted(lines, key=lambda line: (line.due_on or today, line.object_id))))


def _hold(hold: Hold, objects: int) -> HoldLine:
    return HoldLine(
        hold_id=hold.id,
        grounds=hold.grounds,
        authority=hold.authority,
        reference=hold.reference,
        placed_on=hold.placed_at and local_day(hold.placed_at),
        review_on=hold.review_on,
        lifted_on=hold.lifted_at and local_day(hold.lifted_at),
        deliveries=hold.deliveries,
        objects=objects,
    )


def _announced(one: Going, party: str, today: date) -> RegisterRow:
    return RegisterRow(
        object_id=one.object_id,
        kind=one.kind,
        partner_id=one.partner_id,
        municipality=party if party.startswith("GM") else "",
        received_on=one.received_at and local_day(one.received_at),
        # refused or replaced: it goes at the next purge
        due_on=max(one.due_on or today, today - timedelta(days=1)),
        signal_count=one.rows if one.kind.is_rows else None,
        never_collected=one.never_collected,
    )


def _line(one: Recorded) -> RegisterRow:
    return RegisterRow(
        object_id=one.object_id,
        kind=one.kind,
        partner_id=one.partner_id,
        municipality=one.municipality if one.municipality.startswith("GM") else "",
        received_on=one.received_at and local_day(one.received_at),
        due_on=one.due_on,
        signal_count=one.rows,
        never_collected=one.never_collected,
        destroyed_on=one.destroyed_at and local_day(one.destroyed_at),
        certificate=one.certificate or "",
        hold_id=one.hold_id,
    )


def _key(key: Standing, made_at: datetime) -> KeyLine:
    return KeyLine(
        key_id=key.id,
        state=key.state,
        made_on=local_day(made_at),
        destroyed_on=key.destroyed_at and local_day(key.destroyed_at),
    )


def _month(month: str) -> tuple[datetime, datetime]:
    """The first instants of a month and of the next."""

    def first(of: str) -> datetime:
        return datetime(int(of[:4]), int(of[5:]), 1, tzinfo=AMSTERDAM).astimezone(UTC)

    return first(month), first(shift_month(month, 1))
