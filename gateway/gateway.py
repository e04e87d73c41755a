"""One gateway, opened: every part of it, built from the settings, for the daemon and the administrator's commands."""

from __future__ import annotations

import re
import socket
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
from gateway.errors import AuditError, CommandError
from gateway.pipeline.context import Context
from gateway.pipeline.erasure import carry_out
from gateway.pipeline.outgoing import post
from gateway.pipeline.policies import policy_hash
from gateway.retention.hold_records import keep_holds
from gateway.retention.keys import ensure_keys
from gateway.retention.notary import Notary
from gateway.retention.purge import PurgeReport, purge, would_go
from gateway.retention.run import Progress
from gateway.settings import Home, Settings, load_settings
from gateway.settings.gemeenten import gemeente_names, pc4_gemeenten
from gateway.store import requests
from gateway.store.engine import Store
from gateway.vault.blobs import BlobFolder
from gateway.vault.index import Indexer
from gateway.vault.keyring import Keyring
from gateway.vault.reserve import Reserve

_log = logs.get("gateway")


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
            scanner=settings.scanner,
            write_removals=self.write_removals,
        )

    def make_keys(self, *, origin: str = "schedule") -> list[str]:
        """Make the keys of the days and months to come; the ids of those that were missing."""
        return ensure_keys(
            self.store, self.keyring, self.clock.now(), self.settings.terms, node=self.node, origin=origin
        )

    def purge(
        self,
        *,
        origin: str = "schedule",
        actor: str = "gateway",
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> PurgeReport:
        """Let go of what is due, and sign the log that tells of it."""
        terms = self.settings.terms
        if dry_run:
            return would_go(self.store, self.keyring, local_day(self.clock.now()), terms)
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
        count = carry_out(self.pipeline())
        with self.store.read() as conn:
            under_way = requests.erasing(conn)
        if under_way:
            self.purge()
        return count

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


def open_gateway(home: Path, clock: Clock | None = None, *, any_root: bool = False) -> Gateway:
    """Open the gateway of a home folder.

    Args:
        home: the folder.
        clock: the system's clock if not given.
        any_root: whether the root key may come from elsewhere than `[keys] provider` says: it is being replaced.

    Raises:
        ConfigErrors: the configuration can't be used.
        KeyringError: the keys can't be used.
        StoreError: the database can't be used.
    """
    settings = load_settings(home)
    keyring = Keyring.open(settings.home.keys, None if any_root else settings.root_provider)
    signer = load_signing_key(settings.home.keys)
    reserve = Reserve(settings.home.reserve)
    return Gateway(
        settings=settings,
        store=Store(settings.home.db, make_room=reserve.release),
        keyring=keyring,
        indexer=Indexer(keyring),
        blobs=BlobFolder(settings.home.vault),
        reserve=reserve,
        signer=signer,
        sequencer=Sequencer(signer),
        clock=clock or SystemClock(),
        node=node_id(),
    )


def node_id() -> str:
    """This host in audit entries."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "node"
