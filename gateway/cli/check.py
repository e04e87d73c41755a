"""`gateway check`: whether the gateway could start, without starting it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import typer
from rich.markup import escape

from gateway.audit.checkpoint import load_signing_key
from gateway.cli import screen
from gateway.clock import SystemClock, local_day
from gateway.domain.approval import ApprovalMode
from gateway.domain.certificate import Mandate
from gateway.domain.host_key import turns
from gateway.domain.partner import Mode
from gateway.domain.policy import Policy
from gateway.errors import KeyringError
from gateway.exchange import host_keys
from gateway.settings import Home, Settings, load_settings
from gateway.store.engine import Store
from gateway.vault.keyring import Keyring


def check(context: typer.Context) -> None:
    """Say whether configuration, keys and database can be used; names file, key and reason."""
    home: Home = context.obj
    settings = load_settings(home.root)
    now = SystemClock().now()
    check_keys(home, Keyring.open(home.keys, settings.root_provider), now)
    Store(home.db).close()
    for remark in remarks(settings, now):
        screen.out.print(f"[yellow]![/] {escape(remark)}")
    partners = screen.counted(len(settings.partners), "partner")
    municipalities = screen.counted(len(settings.policies), "municipality", "municipalities")
    screen.done(f"Ready to serve: {partners}, {municipalities}")


def remarks(settings: Settings, now: datetime) -> Iterator[str]:
    """What can be used but deserves a look."""
    for turn in turns(host_keys.calendar(settings.home.keys), now):
        yield f"{turn.on}: host key {turn.fingerprint} {turn.what}"
    for code, policy in settings.policies.items():
        if code not in settings.served_by:
            yield f"{code} {policy.name} has a policy and no partner that serves it: its signals are not passed on"
        mandate = settings.mandates.get(code, Mandate())
        if not mandate.reference:
            yield f"{code} {policy.name} has no mandate for destruction on file: its certificates will say so"
        elif mandate.until is not None and mandate.until < local_day(now):
            yield f"{code} {policy.name}: its mandate for destruction ended on {mandate.until}"
        if mandate.approval is not ApprovalMode.MANDATE and lacks_approvers(settings, now):
            yield (
                f'{code} {policy.name} has approval = "{mandate.approval}", and config/approvers does not name two '
                "people: nothing of it will be destroyed, nor used once it is due"
            )
        yield from _route_remarks(settings, policy)
    for partner in settings.partners.values():
        if partner.mode is Mode.TRIAL:
            yield f'{partner.id} has mode "{partner.mode}": its files are checked and answered, and count for nothing'
        if partner.is_disabled:
            yield f"{partner.id} is disabled: it can't log in"
            continue
        if not any(key.is_valid(now) for key in partner.keys):
            yield f"{partner.id} has no key that is valid now: it can't log in"
        for key in partner.keys:
            if (last := key.last_day) is not None and key.is_ending(now):
                yield f"{partner.id}: key {key.fingerprint} ends on {last}: ask for a new one"
    for approver in settings.approvers:
        if approver.valid_before is not None and approver.valid_before <= now:
            yield f"config/approvers: the key of {approver.principal} has ended: nobody approves with it"


def lacks_approvers(settings: Settings, now: datetime) -> bool:
    """Whether there are not two people whose signatures count now."""
    return len({approver.principal for approver in settings.approvers if approver.is_valid(now)}) < 2


def _route_remarks(settings: Settings, policy: Policy) -> Iterator[str]:
    """Routes that can't be what was meant."""
    past = False
    for route in policy.routes:
        if past:
            yield f"{policy.code}: its route to {route.to} stands below one that takes all: nothing comes to it"
        elif policy.code not in settings.partners[route.to].serves:
            yield f"{policy.code}: a route goes to {route.to}, which does not serve it: is that meant?"
        past = past or route.takes_all


def check_keys(home: Home, keyring: Keyring, now: datetime) -> None:
    """Every key is there, opens, and is its owner's only.

    Raises:
        KeyringError: one is not.
    """
    if problems := keyring.verify():
        raise KeyringError("; ".join(problems))
    load_signing_key(home.keys)
    for path in host_keys.check(home.keys, now):
        if path.stat().st_mode & 0o077:
            raise KeyringError(f"{path} can be read by others: run `chmod 600 {path}`")
