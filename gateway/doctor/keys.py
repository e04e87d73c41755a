"""The keyring: every key opens, and none is missing for the days to come (spec 4, Keys); and the host keys."""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway.clock import local_day, month_of
from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.domain.host_key import turns
from gateway.domain.retention import FEW_KEY_DAYS, Terms, key_days, key_months
from gateway.errors import KeyringError
from gateway.exchange import host_keys
from gateway.retention.keys import reach
from gateway.settings import Home
from gateway.vault.key_ids import index_id, until_id
from gateway.vault.keyring import Keyring


def whole(keyring: Keyring) -> Finding:
    """Whether every key in the ring opens with the root key."""
    problems = keyring.verify()
    if not problems and keyring.must_replace_master():
        return warn(
            "keyring",
            "keys were destroyed, and the master key in the token is still the one of before: it opens older copies of keys/",
            "gateway retention run, which replaces it or says what is in the way",
        )
    if not problems:
        return ok("keyring", f"{len(keyring.ids()):,} keys, and each opens")
    more = f"; and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    return fail(
        "keyring",
        f"{problems[0]}{more}",
        "bring back the root.key that belongs to this ring, or the file that was damaged",
    )


def copies(keyring: Keyring) -> Finding:
    """Whether every registered copy is there and holds what the ring holds."""
    try:
        problems, count = keyring.verify_copies(), len(keyring.copies())
    except KeyringError as exc:
        return fail("key copies", str(exc), "bring the list back: without it nothing can be destroyed")
    if not problems:
        return ok("key copies", f"{count} registered, each as the ring is" if count else "none is registered")
    more = f"; and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    return warn(
        "key copies",
        f"{problems[0]}{more}",
        "bring the copy back: keys that it has not got are not used, and their destruction there is not confirmed",
    )


def ahead(keyring: Keyring, terms: Terms, now: datetime, *, is_running: bool) -> Finding:
    """Whether the keys are there that files received today need, and those of the coming weeks."""
    today = local_day(now)
    days = key_days(today, terms)
    wanted = [until_id(day) for day in days] + [index_id(month) for month in key_months(today)]
    missing = [key_id for key_id in wanted if not keyring.has(key_id)]
    if not missing:
        return ok("keys ahead", f"there is one for every day until {days[-1]}")
    today_needs = {until_id(today + timedelta(days=terms.raw_days)), index_id(month_of(today))}
    what = f"{len(missing):,} of the days and months to come have none, here or in a copy, the first is {missing[0]}"
    if not is_running:
        return warn("keys ahead", what, "gateway serve makes them")
    if today_needs & set(missing):
        return fail("keys ahead", f"{what}: no file can be received", "restart the gateway, which makes them")
    few = reach(keyring, now, terms).days_ahead
    if few < FEW_KEY_DAYS:
        what = f"{what}: files can be received for {few + 1} more days"
        return fail(
            "keys ahead", what, "restart the gateway, which makes them; bring back a copy that is away"
        )
    return warn("keys ahead", what, "restart the gateway, which makes them; see why the nightly job did not")


def host(home: Home, now: datetime) -> Finding:
    """Whether every host key is there, and what its calendar has in store."""
    try:
        files = host_keys.check(home.keys, now)
        coming = turns(host_keys.calendar(home.keys), now)
    except KeyringError as exc:
        return fail("host keys", str(exc), "bring back the key that partners know, from the copy of keys/")
    what = f"{len(files)}, each as its calendar says"
    if not coming:
        return ok("host keys", what)
    following = coming[0]
    return warn(
        "host keys",
        f"{what}; on {following.on} {following.fingerprint} {following.what}",
        "tell partners in time: gateway keys host status",
    )
