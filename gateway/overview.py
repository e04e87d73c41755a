"""How a gateway stands, in one value: for `gateway status`, people and programs; ids and figures only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from gateway import cron
from gateway.clock import local_day
from gateway.domain.approval import Approval
from gateway.domain.delivery import DeliveryState
from gateway.domain.guard import is_closed_out
from gateway.domain.host_key import HostKey
from gateway.domain.partner import Mode, Partner, Role
from gateway.domain.retention import KEYS_AHEAD_DAYS
from gateway.exchange import host_keys
from gateway.exchange.room import look_at
from gateway.gateway import Gateway
from gateway.pipeline.worker import due_at
from gateway.retention import approvals
from gateway.retention.approvals import Overdue
from gateway.retention.due import DueDay, due
from gateway.retention.keys import reach
from gateway.running import Running, running
from gateway.store import guard, holds, meldingen, partner_keys, registers, status
from gateway.store.holds import Hold
from gateway.store.partner_keys import Use
from gateway.store.status import AuditFigures, DeliveryLine, Uncollected

#: How far ahead is told what falls due.
AHEAD = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDelivery:
    """A delivery that waits for a person, and how many of its partner wait behind it."""

    delivery: DeliveryLine
    behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Meldingen that are new or changed and not published; `due_at` is None where nobody serves them."""

    municipality: str
    name: str
    count: int
    urgent: int
    since: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Keys of due days: up to `until` no day lacks one, here and in every copy; `days_ahead` is how far that is beyond
    what is needed today, `wanted_days_ahead` what it should be. Below 0, files can't be received.
    """

    until: date | None
    days_ahead: int
    wanted_days_ahead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What waits for two people: requests to sign, what is overdue without them, and why the clock is not believed."""

    to_sign: tuple[Approval, ...]
    overdue: tuple[Overdue, ...]
    clock: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Bytes used by sealed files and by the database with its journal, and free beside them and the reserve.

    `takes_files`: a file of the largest size fits; otherwise none is received.
    """

    vault_bytes: int
    vault_files: int
    database_bytes: int
    free_bytes: int
    reserve_bytes: int
    takes_files: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerLine:
    """A partner: when its last file was received, and what it has not collected."""

    id: str
    role: Role
    mode: Mode
    last_received_at: datetime | None
    uncollected: Uncollected | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Who is in and who is kept out: SFTP sessions, and addresses that are closed out."""

    sessions: int
    penalised: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndingKey:
    """A partner's key that lets it in, and not for long any more; `last_used_at` is None if it never did."""

    partner_id: str
    fingerprint: str
    last_day: date
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How a gateway stands at an instant."""

    at: datetime
    daemon: Running | None
    #: whether the daemon works with what stands in `config/`
    is_config_in_force: bool
    door: Door
    deliveries: Mapping[DeliveryState, int]
    oldest_waiting_at: datetime | None
    failed: tuple[FailedDelivery, ...]
    waiting: tuple[Waiting, ...]
    next_purge_at: datetime
    last_purge: registers.Run | None
    due: tuple[DueDay, ...]
    consent: Consent
    #: legal holds in force, the first to be looked at again first
    holds: tuple[Hold, ...]
    keys: Keys
    audit: AuditFigures
    disk: Disk
    partners: tuple[PartnerLine, ...]
    ending_keys: tuple[EndingKey, ...]
    #: ids of partners that none of their keys lets in
    locked_out: tuple[str, ...]
    host_keys: tuple[HostKey, ...]


def overview(gateway: Gateway) -> Overview:
    """Look at everything once; changes nothing and waits for nobody."""
    settings, now = gateway.settings, gateway.clock.now()
    daemon = running(gateway.home)
    context = gateway.pipeline()
    with gateway.store.read() as conn:
        failed = tuple(
            FailedDelivery(delivery=each, behind=status.behind(conn, each))
            for each in status.deliveries(conn, state=DeliveryState.FAILED)
        )
        waiting = tuple(
            Waiting(
                municipality=each.municipality,
                name=context.policy(each.municipality).name,
                count=each.count,
                urgent=each.urgent,
                since=each.since,
                due_at=due_at(context, each) if context.server_of(each.municipality) else None,
            )
            for each in meldingen.waiting(conn)
        )
        received, uncollected = status.last_deliveries(conn), status.uncollected(conn)
        runs = registers.runs(conn)
        counts, oldest = status.count_by_state(conn), status.oldest_waiting(conn)
        audit = status.audit_figures(conn)
        door = Door(
            sessions=sum(guard.sessions(conn, now).values()),
            penalised=sum(
                is_closed_out(each, now, settings.guard) for each in guard.standings(conn, after=now).values()
            ),
        )
        used = partner_keys.uses(conn)
        held = sorted(holds.held(conn), key=lambda hold: (hold.review_on, hold.id))
    return Overview(
        at=now,
        daemon=daemon,
        is_config_in_force=daemon is None or daemon.config == settings.digest,
        door=door,
        deliveries=counts,
        oldest_waiting_at=oldest,
        failed=failed,
        waiting=waiting,
        next_purge_at=cron.next_time(settings.purge_schedule, now),
        last_purge=runs[0] if runs else None,
        due=tuple(due(gateway.store, now, local_day(now) + AHEAD, settings.terms)),
        consent=consent(gateway, now),
        holds=tuple(held),
        keys=keys_ahead(gateway, now),
        audit=audit,
        disk=_disk(gateway),
        partners=tuple(
            PartnerLine(
                id=partner.id,
                role=partner.role,
                mode=partner.mode,
                last_received_at=received.get(partner.id),
                uncollected=uncollected.get(partner.id),
            )
            for partner in settings.partners.values()
        ),
        ending_keys=tuple(_ending(settings.partners.values(), used, now)),
        locked_out=tuple(each.id for each in settings.partners.values() if not each.can_log_in(now)),
        host_keys=host_keys.calendar(gateway.home.keys),
    )


def _ending(
    partners: Iterable[Partner], used: Mapping[tuple[str, str], Use], now: datetime
) -> Iterator[EndingKey]:
    for partner in partners:
        for key in partner.ending_keys(now):
            use = used.get((partner.id, key.fingerprint))
            if key.last_day is not None:
                yield EndingKey(
                    partner_id=partner.id,
                    fingerprint=key.fingerprint,
                    last_day=key.last_day,
                    last_used_at=None if use is None else use.last_used_at,
                )


def consent(gateway: Gateway, now: datetime) -> Consent:
    """What waits for two people."""
    today = local_day(now)
    with gateway.store.read() as conn:
        through = approvals.waiting(conn, gateway.settings.mandates, today)
        return Consent(
            to_sign=tuple(approvals.to_sign(conn)),
            overdue=tuple(approvals.overdue(conn, through, today)),
            clock=gateway.clock_refusal(),
        )


def keys_ahead(gateway: Gateway, now: datetime) -> Keys:
    """How far the keys reach that are made ahead."""
    found = reach(gateway.keyring, now, gateway.settings.terms)
    return Keys(until=found.until, days_ahead=found.days_ahead, wanted_days_ahead=KEYS_AHEAD_DAYS)


def _disk(gateway: Gateway) -> Disk:
    home = gateway.home
    sizes = []
    for entry in os.scandir(home.vault):
        try:
            sizes.append(entry.stat(follow_symlinks=False).st_size)
        except FileNotFoundError:
            continue  # purged while we looked
    room = look_at(gateway.reserve, gateway.settings.limits.file_bytes)
    return Disk(
        vault_bytes=sum(sizes),
        vault_files=len(sizes),
        database_bytes=sum(path.stat().st_size for path in home.data.glob(f"{home.db.name}*")),
        free_bytes=room.free_bytes,
        reserve_bytes=room.reserve_bytes if room.is_held else 0,
        takes_files=room.takes_files,
    )
