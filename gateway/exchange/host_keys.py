"""The calendar of host keys in `keys/host_keys.json`, and the files beside it (see gateway.domain.host_key).

The calendar is written by the administrator's commands, whole, after the key that it tells of; what follows from it
is a matter of the time alone. A home without one has the key that `gateway init` made. It holds no secret; keys that
are gone stay in it, so that a fingerprint on old paper can be explained.

Who changes a key gives `told`, which puts it on record: before a key is announced or retired, and before the last
trace of one that is removed. A kill may so leave an entry too many, but no key that comes or goes without one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncssh

from gateway.clock import end_of_day, local_day
from gateway.domain.host_key import KEPT_FOR, HostKey, HostKeyKind, HostKeyState, announced, state
from gateway.errors import CommandError, KeyringError
from gateway.exchange.keys import create_key, host_key_fingerprint
from gateway.vault.durable import place_file, sync_folder

#: Puts a key on record.
Told = Callable[[HostKey], None]

CALENDAR = "host_keys.json"
#: Of the file's form.
_VERSION = 1

#: The name of the first key of a kind; later ones have a number behind it.
_FILES = {HostKeyKind.ED25519: "host_ed25519", HostKeyKind.ECDSA: "host_ecdsa"}
_TIMES = ("announced_at", "active_from", "retire_at")


def calendar(folder: Path) -> tuple[HostKey, ...]:
    """Every host key that a home ever had, the oldest first.

    Raises:
        KeyringError: the calendar can't be used, or the only key can't be read.
    """
    try:
        data = json.loads((folder / CALENDAR).read_bytes())
        if data["version"] != _VERSION:
            raise KeyringError(f"{folder / CALENDAR} is of another version of the gateway")
        return tuple(_parse(entry) for entry in data["keys"])
    except FileNotFoundError:
        return (_read(folder, _FILES[HostKeyKind.ED25519]),)
    except OSError as exc:
        raise KeyringError(f"{folder / CALENDAR} can't be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise KeyringError(f"{folder / CALENDAR} is damaged: bring it back from a copy of keys/") from exc


def shown(folder: Path, keys: Iterable[HostKey], kinds: Iterable[HostKeyKind], now: datetime) -> list[Path]:
    """The private files of the keys that a listener has at `now`: of each kind the one in use comes first."""
    return [folder / key.file for key in announced(keys, kinds, now)]


def check(folder: Path, now: datetime) -> list[Path]:
    """The files of all keys that are not retired; each holds the key that the calendar tells of.

    Raises:
        KeyringError: one does not.
    """
    files = []
    for key in calendar(folder):
        if key.is_retired(now):
            continue
        path = folder / key.file
        try:
            is_it = host_key_fingerprint(path) == key.fingerprint
        except OSError as exc:
            raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
        except ValueError as exc:
            raise KeyringError(str(exc)) from exc
        if not is_it:
            raise KeyringError(f"{path} is another key than {CALENDAR} tells of")
        files.append(path)
    return files


def rotate(folder: Path, now: datetime, active_from: datetime, told: Told) -> list[HostKey]:
    """Make a new key of each kind in use, announced from now; the old ones go `KEPT_FOR` after it is used.

    Raises:
        CommandError: a new key is announced already.
        KeyringError: the calendar can't be used.
    """
    known = calendar(folder)
    states = {key: state(key, known, now) for key in known}
    if waiting := [key for key, now_is in states.items() if now_is is HostKeyState.ANNOUNCED]:
        raise CommandError(
            f"{waiting[0].fingerprint} is announced already, and nothing was changed: see gateway keys host status"
        )
    old = [key for key, now_is in states.items() if now_is is HostKeyState.IN_USE]
    retire_at = end_of_day(local_day(active_from) + KEPT_FOR)
    made = [
        replace(_create(folder, key.kind), announced_at=now, active_from=max(now, active_from)) for key in old
    ]
    for key in made:
        told(key)
    _write(folder, [*(replace(key, retire_at=retire_at) if key in old else key for key in known), *made])
    return made


def retire(folder: Path, fingerprint: str, now: datetime, told: Told) -> HostKey:
    """Let go of an old key at once, ahead of its day.

    Raises:
        CommandError: there is no such key, or it is not an old one.
        KeyringError: the calendar can't be used.
    """
    known = calendar(folder)
    found = next((key for key in known if key.fingerprint == fingerprint), None)
    if found is None:
        raise CommandError(f"there is no host key {fingerprint}: gateway keys host status names all")
    if (now_is := state(found, known, now)) is not HostKeyState.REPLACED:
        reason = "make another first: gateway keys host rotate" if now_is is HostKeyState.IN_USE else ""
        raise CommandError(
            f"{fingerprint} is {now_is}, and only a replaced key can be retired; {reason}".rstrip("; ")
        )
    retired = replace(found, retire_at=now)
    told(retired)
    _write(folder, [retired if key == found else key for key in known])
    return retired


def remove_retired(folder: Path, now: datetime, told: Told) -> list[HostKey]:
    """Remove the files of keys whose day has come; those that were still there."""
    removed = []
    for key in calendar(folder):
        private = folder / key.file
        public = private.with_name(f"{private.name}.pub")
        if key.is_retired(now) and (private.exists() or public.exists()):
            private.unlink(missing_ok=True)
            sync_folder(folder)
            told(key)
            # the last to go: as long as it is there, the removal may not be on record
            public.unlink(missing_ok=True)
            removed.append(key)
    if removed:
        sync_folder(folder)
    return removed


def ensure(folder: Path, kind: HostKeyKind, now: datetime, told: Told) -> HostKey | None:
    """Make the first key of a kind, in use at once; None when there is one.

    Raises:
        KeyringError: the calendar can't be used.
    """
    known = calendar(folder)
    if any(key.kind is kind and not key.is_retired(now) for key in known):
        return None
    made = replace(_create(folder, kind), announced_at=now, active_from=now)
    told(made)
    _write(folder, [*known, made])
    return made


def _create(folder: Path, kind: HostKeyKind) -> HostKey:
    name, number = _FILES[kind], 1
    # a crash may have left a file that no calendar tells of
    while (folder / name).exists() or name in {key.file for key in calendar(folder)}:
        number += 1
        name = f"{_FILES[kind]}-{number}"
    create_key(folder / name, comment="gateway", algorithm=kind)
    sync_folder(folder)
    return _read(folder, name)


def _read(folder: Path, name: str) -> HostKey:
    try:
        key = asyncssh.read_private_key(folder / name)
        kind = HostKeyKind(key.algorithm.decode("ascii"))
    except OSError as exc:
        raise KeyringError(f"{folder / name} can't be read: {exc.strerror}") from exc
    except (asyncssh.KeyImportError, ValueError) as exc:
        raise KeyringError(f"{folder / name} is no private host key") from exc
    key.set_comment(None)
    public = key.export_public_key("openssh").decode("ascii").strip()
    return HostKey(file=name, kind=kind, public_key=public, fingerprint=key.get_fingerprint())


def _parse(entry: dict[str, str]) -> HostKey:
    times = {name: datetime.fromisoformat(entry[name]) for name in _TIMES if name in entry}
    fields = {name: entry[name] for name in ("file", "public_key", "fingerprint")}
    if "/" in fields["file"] or any(at.tzinfo is None for at in times.values()):
        raise ValueError("not as it was written")
    return HostKey(kind=HostKeyKind(entry["kind"]), **fields, **times)  # type: ignore[arg-type]


def _write(folder: Path, keys: Iterable[HostKey]) -> None:
    entries = []
    for key in keys:
        entry = {"file": key.file, "kind": str(key.kind)}
        entry |= {"public_key": key.public_key, "fingerprint": key.fingerprint}
        for name in _TIMES:
            if at := getattr(key, name):
                entry[name] = at.astimezone(UTC).isoformat(timespec="seconds")
        entries.append(entry)
    text = json.dumps({"version": _VERSION, "keys": entries}, indent=1) + "\n"
    place_file(folder / CALENDAR, text.encode(), mode=0o600)
    sync_folder(folder)
