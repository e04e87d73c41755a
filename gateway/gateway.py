"""One gateway, opened: every part of it, built from the settings, for the daemon and the administrator's commands."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway import logs
from gateway.audit.checkpoint import Signer, load_signing_key
from gateway.audit.continuation import older
from gateway.audit.loss import check_not_lost, loss
from gateway.audit.mark import read_mark, set_mark
from gateway.audit.publish import begin_again, seal_log
from gateway.audit.removals import write_out
from gateway.audit.sequencer import Sequencer
from gateway.clock import Clock, SystemClock, local_day
from gateway.domain.approval import Approval, Subject
from gateway.errors import AuditError, CommandError
from gateway.pipeline.context import Context
from gateway.pipeline.erasure import carry_out
from gateway.pipeline.outgoing import post
from gateway.pipeline.policies import policy_hash
from gateway.retention import approvals, clock_guard, ring
from gateway.retention import holds as hold
from gateway.retention.hold_records import keep_holds
from gateway.retention.keys import ensure_keys, warn_of_few
from gateway.retention.notary import Notary
from gateway.retention.purge import PurgeReport, purge, would_go
from gateway.retention.ring import replace_master
from gateway.retention.run import Progress
from gateway.settings import Home, Settings, load_settings
from gateway.settings.gemeenten import gemeente_names, pc4_gemeenten
from gateway.store import heartbeat, holds, key_versions, requests
from gateway.store.engine import Store
from gateway.vault.blobs import BlobFolder
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring
from gateway.vault.reserve import Reserve

_log = logs.get("retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway, opened: what the daemon and the administrator's commands work with."""

    settings: Settings
    store: Store
    keyring: Keyring
    indexer: Indexer
    blobs: BlobFolder
    reserve: Reserve
    signer: Signer
    sequencer: Sequencer
    clock: Clock
    #: whether nothing is destroyed by a clock that went back or jumped: the system's, not one that is passed
    guards_clock: bool
    node: str

    @property
    def home(self) -> Home:
        """Where everything lies."""
        return self.settings.home

    def pipeline(self) -> Context:
        """The gateway as the pipeline sees it."""
        settings = self.settings
        return Context(
            store=self.store,
            keyring=self.keyring,
            indexer=self.indexer,
            blobs=self.blobs,
            clock=self.clock,
            partners=settings.partners,
            policies=settings.policies,
            served_by=settings.served_by,
            successors=settings.successors,
            further_sectors=settings.further_sectors,
            terms=settings.terms,
            limits=settings.limits,
            reference=settings.home.reference,
            pc4=pc4_gemeenten(),
            node=self.node,
            approvers=settings.approvers,
            scanner=settings.scanner,
            write_removals=self.write_removals,
        )

    def make_keys(self, *, origin: str = "schedule") -> list[str]:
        """Make the keys of the days and months to come; the ids of those that were missing."""
        made = ensure_keys(
            self.store, self.keyring, self.clock.now(), self.settings.terms, node=self.node, origin=origin
        )
        # what a purge that was cut off left to do
        replace_master(
            self.store, self.keyring, self.clock.now(), node=self.node, origin=origin, actor="gateway"
        )
        return made

    def warn_of_few_keys(self) -> bool:
        """Log an error when there are keys for fewer than 3 days to come; whether there are so few."""
        return warn_of_few(self.keyring, self.clock.now(), self.settings.terms)

    def purge(
        self,
        *,
        origin: str = "schedule",
        actor: str = "gateway",
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> PurgeReport:
        """Let go of what is due and approved, and sign the log that tells of it.

        Raises:
            ClockRefused: the clock can't be believed, and nothing was changed.
        """
        terms = self.settings.terms
        if dry_run:
            return would_go(self.store, self.keyring, local_day(self.clock.now()), terms)
        self.carry_out_approved(origin=origin, actor=actor)
        self._check_clock()
        self._ask_approval()
        self._wait_for_approval()
        report = purge(
            self.store,
            self.keyring,
            self.blobs,
            self.clock,
            terms=terms,
            notary=self.notary(),
            node=self.node,
            actor=actor,
            origin=origin,
            progress=progress,
        )
        self.sign()
        return report

    def write_removals(self) -> None:
        """Put the list of early removals outside the data; for the holder of the store's exclusive lock.

        What `log/` does not take now, the next checkpoint brings, or says why not.
        """
        try:
            keep_holds(self.store, self.keyring, self.clock.now())
            write_out(self.store, self.home.log)
        except AuditError as exc:
            _log.error("removals.left", error=str(exc))

    def carry_out_requests(self) -> int:
        """WISSEN whose 24 hours are over: what they cover goes now, with certificates; how many took effect."""
        with self.store.read() as conn:
            if not requests.due(conn, self.clock.now()) and not requests.erasing(conn):
                return 0
        self._check_clock()
        count = carry_out(self.pipeline())
        with self.store.read() as conn:
            under_way = requests.erasing(conn)
        if under_way:
            self.purge()
        return count

    def beat(self) -> None:
        """Note the time, by which the next purge sees whether the clock goes on steadily."""
        if self.guards_clock:
            clock_guard.look(self.store, self.clock.now(), node=self.node)

    def tend_approvals(self) -> None:
        """Do what two people approved, then ask what they must be asked in time."""
        self.carry_out_approved()
        self.beat()
        if not self.clock_refusal():
            self._ask_approval()

    def carry_out_approved(self, *, origin: str = "schedule", actor: str = "gateway") -> dict[str, str]:
        """Do what two people approved and is not done; number -> why it could not be done, empty when it is."""
        return approvals.carry_out(
            self.store,
            self.clock,
            partial(self._do, origin=origin, actor=actor),
            origin=origin,
            actor=actor,
            node=self.node,
        )

    def clock_refusal(self) -> str:
        """Why nothing is destroyed by the clock as it stands, and what to do; empty when it can be believed."""
        if not self.guards_clock:
            return ""
        with self.store.read() as conn:
            last = heartbeat.last(conn)
        return clock_guard.refusal(last, self.clock.now())

    def _ask_approval(self) -> None:
        approvals.tend(
            self.store,
            self.notary(),
            self.clock,
            self.settings.terms,
            notice_days=self.settings.notice_days,
            node=self.node,
        )

    def _do(self, given: Approval, *, origin: str, actor: str) -> None:
        """Do once what two people approved."""
        store, keyring, node, what = self.store, self.keyring, self.node, given.object_id
        who = [each.principal for each in given.signatures]
        if given.subject is Subject.HOLD:
            hold.place(store, keyring, what, who, clock=self.clock, node=node, actor=actor, origin=origin)
        elif given.subject is Subject.LIFT:
            hold.lift(store, keyring, what, who, clock=self.clock, node=node, actor=actor, origin=origin)
        elif given.subject is Subject.KEY:
            now, terms = self.clock.now(), self.settings.terms
            ring.destroy(store, keyring, what, now, terms, node=node, actor=actor, approved=True)
        elif given.subject is Subject.CLOCK:
            clock_guard.accept(store, what)
        if given.subject in {Subject.HOLD, Subject.LIFT}:
            with store.exclusive():
                self.write_removals()

    def _wait_for_approval(self) -> None:
        """What is due without the leave that its municipality wants stays, out of sight, and is told of."""
        today = local_day(self.clock.now())
        with self.store.write() as conn:
            through = approvals.waiting(conn, self.settings.mandates, today)
            holds.set_waiting(conn, through)
            late = approvals.overdue(conn, through, today)
        for each in late:
            _log.error("approval.awaited", municipality=each.municipality, count=sum(each.counts.values()))

    def _check_clock(self) -> None:
        if self.guards_clock:
            clock_guard.check(self.store, self.clock.now(), node=self.node)

    def notary(self) -> Notary:
        """What certificates of destruction are made with."""
        settings = self.settings
        return Notary(
            signer=self.signer,
            sequencer=self.sequencer,
            log_dir=self.home.log,
            partners=settings.partners,
            served_by=settings.served_by,
            names=gemeente_names(),
            policy_versions={code: policy_hash(policy) for code, policy in settings.policies.items()},
            mandates=settings.mandates,
            post=partial(post, self.pipeline()),
        )

    def sign(self) -> None:
        """Number the new entries of the audit log, sign a checkpoint, and put it outside the data."""
        # one at a time, in whatever process: two sequencers would number the same entries
        with self.store.exclusive():
            keep_holds(self.store, self.keyring, self.clock.now())
            seal_log(self.store, self.sequencer, self.signer, self.home.log, self.clock.now())

    def begin_log_again(self, actor: str) -> str:
        """Begin a new audit log after one was lost; its note. Raises CommandError when none was.

        The database may be an older one: at the start that follows nothing of it comes back that was let go.
        """
        with self.store.exclusive():
            with self.store.read() as conn:
                if older(conn, self.home.log, self.signer.public_key):
                    raise CommandError(
                        "log/ continues the audit log of this database: start without --accept-loss"
                    )
                was_restored = bool(read_mark(self.home.data))
                lost = loss(conn, self.home.log, self.signer.public_key, is_restored=was_restored)
            if lost:
                set_mark(self.home.data)
            return begin_again(
                self.store,
                self.sequencer,
                self.signer,
                self.home.log,
                actor=actor,
                at=self.clock.now(),
                node=self.node,
                is_restored=was_restored,
            )

    def check_log(self) -> None:
        """Raises AuditError when the audit log was lost: nothing more would be signed. `log/` may have more of it."""
        with self.store.read() as conn:
            if older(conn, self.home.log, self.signer.public_key) is None:
                is_restored = bool(read_mark(self.home.data))
                check_not_lost(conn, self.home.log, self.signer.public_key, is_restored=is_restored)

    def wake(self) -> None:
        """Tell a running daemon to look: its worker sees the file change."""
        (self.home.run / "wake").touch()

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()


def open_gateway(
    home: Path, clock: Clock | None = None, *, any_root: bool = False, guards_clock: bool | None = None
) -> Gateway:
    """Open the gateway of a home folder.

    Args:
        home: the folder.
        clock: the system's clock if not given.
        guards_clock: whether nothing is destroyed by a clock that went back or jumped; if not given, that of the
            system is guarded, and one that is passed is believed.
        any_root: whether the root key may come from elsewhere than `[keys] provider` says: it is being replaced.

    Raises:
        ConfigErrors: the configuration can't be used.
        KeyringError: the keys can't be used.
        StoreError: the database can't be used.
    """
    settings = load_settings(home)
    keyring = Keyring.open(
        settings.home.keys, None if any_root else settings.root_provider, token=settings.root_token
    )
    signer = load_signing_key(settings.home.keys)
    reserve = Reserve(settings.home.reserve)
    store = Store(settings.home.db, make_room=reserve.release)
    return Gateway(
        settings=settings,
        store=store,
        keyring=keyring,
        indexer=Indexer(keyring, partial(_versions, store)),
        blobs=BlobFolder(settings.home.vault),
        reserve=reserve,
        signer=signer,
        sequencer=Sequencer(signer),
        clock=clock or SystemClock(),
        guards_clock=clock is None if guards_clock is None else guards_clock,
        node=node_id(),
    )


def _versions(store: Store) -> Mapping[str, int]:
    with store.read() as conn:
        return key_versions.in_force(conn)


def node_id() -> str:
    """This host in audit entries."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "node"
