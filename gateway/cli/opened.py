"""The gateway of the home folder, open for the length of one verb, and who runs it."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager

from gateway import logs
from gateway.gateway import Gateway, open_gateway
from gateway.settings import Home

_NOT_IN_A_LOGIN = re.compile(r"[^A-Za-z0-9._-]+")


@contextmanager
def opened(home: Home, *, level: str = "WARNING", any_root: bool = False) -> Iterator[Gateway]:
    """Open the gateway; its log lines from `level` on go to standard error, results stay on standard output.

    Raises:
        ConfigErrors: the configuration can't be used.
        KeyringError: the keys can't be used.
        StoreError: the database can't be used.
    """
    logs.set_up(level=level)
    # whatever is made is its owner's only
    before = os.umask(0o077)
    try:
        gateway = open_gateway(home.root, any_root=any_root)
        try:
            yield gateway
        finally:
            gateway.close()
    finally:
        os.umask(before)


def actor() -> str:
    """Who runs this command, for the audit log: the login name, also behind sudo."""
    user = os.getuid()
    if user == 0 and (before_sudo := os.environ.get("SUDO_UID", "")).isdigit():
        user = int(before_sudo)
    try:
        login = pwd.getpwuid(user).pw_name
    except KeyError:
        login = f"uid-{user}"
    return _NOT_IN_A_LOGIN.sub("-", login)[:80]
