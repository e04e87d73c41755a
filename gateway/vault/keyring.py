"""The keyring: one file a key, named after the day its contents must be gone (spec 4, Keys).

`keys/root.key` (provider `file`) wraps every key in `keys/ring/` with AES-256-KWP (RFC 5649). What
is wrapped is lp(key id) || key, so a key file under another name is refused. Several processes use
one keyring at a time: making and destroying are serialised by a lock on the folder, and every use
looks whether the file is still there, so a key that another process destroyed is not served here.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from threading import Lock

from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from gateway.errors import KeyMissing, KeyringError
from gateway.vault.derive import KEY_BYTES, length_prefixed
from gateway.vault.durable import create_file, place_file, sync_folder

ROOT_FILE = "root.key"
RING_FOLDER = "ring"
SUFFIX = ".key"

TAG_FILE = "CACHEDIR.TAG"
#: Backup programs leave out a folder with this tag (https://bford.info/cachedir/): a key that a
#: backup still holds is not destroyed.
CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# The keyring is left out of backups: a key that a backup still holds is not destroyed.\n"
)

_KEY_ID = re.compile(r"until-\d{4}-\d{2}-\d{2}|index-\d{4}-\d{2}|hold-[0-9A-Za-z]{1,64}", re.ASCII)


def until_id(day: date) -> str:
    """The id of the key of what must be gone after `day`."""
    return f"until-{day.isoformat()}"


def index_id(month: str) -> str:
    """The id of the key of the index tokens of what is received in `month` (`YYYY-MM`)."""
    return f"index-{month}"


def day_of(key_id: str) -> date | None:
    """The day in an `until-` id; None for another key."""
    kind, _, rest = key_id.partition("-")
    return date.fromisoformat(rest) if kind == "until" else None


def month_of(key_id: str) -> str | None:
    """The month (`YYYY-MM`) in an `index-` id; None for another key."""
    kind, _, rest = key_id.partition("-")
    return rest if kind == "index" else None


class Keyring:
    """The keys of one home folder; safe to use from several threads."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self._ring = folder / RING_FOLDER
        self._ring_name = str(self._ring)
        self._root = root
        #: key id -> (identity of the file, key); never served without a look at the file
        self._cache: dict[str, tuple[tuple[int, int], bytes]] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Keyring({str(self._ring)!r})"

    @classmethod
    def create(cls, keys_dir: Path) -> Keyring:
        """Make a root key and an empty ring in `keys_dir`; KeyringError when there is one already."""
        keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys_dir.chmod(0o700)
        try:
            create_file(keys_dir / ROOT_FILE, secrets.token_bytes(KEY_BYTES))
        except FileExistsError as exc:
            raise KeyringError(
                f"{keys_dir / ROOT_FILE} exists already and is left as it is: without it nothing in the "
                "vault can be read"
            ) from exc
        (keys_dir / RING_FOLDER).mkdir(mode=0o700, exist_ok=True)
        place_file(keys_dir / TAG_FILE, CACHEDIR_TAG, mode=0o644)
        sync_folder(keys_dir)
        return cls.open(keys_dir)

    @classmethod
    def open(cls, keys_dir: Path) -> Keyring:
        """Open the keyring in `keys_dir`; KeyringError says what is wrong and what to do."""
        path = keys_dir / ROOT_FILE
        try:
            mode = path.stat().st_mode
            root = path.read_bytes()
        except FileNotFoundError as exc:
            raise KeyringError(f"{path} is missing: run `gateway init`, or bring the key back") from exc
        except OSError as exc:
            raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
        if mode & 0o077:
            raise KeyringError(f"{path} can be read by others: run `chmod 600 {path}`")
        if len(root) != KEY_BYTES:
            raise KeyringError(f"{path} holds {len(root)} bytes where a root key has {KEY_BYTES}")
        if not (keys_dir / RING_FOLDER).is_dir():
            raise KeyringError(f"{keys_dir / RING_FOLDER} is missing: bring the keyring back")
        return cls(keys_dir, root)

    def ensure(self, key_ids: Iterable[str]) -> list[str]:
        """Make the keys of `key_ids` that are missing, durable on return; gives the ids made.

        It can't tell a key that was never made from one that was destroyed: ask only for days and
        months to come.
        """
        with self._exclusive():
            made = []
            for key_id in dict.fromkeys(key_ids):
                path = self._path(key_id)
                if not path.exists():
                    key = secrets.token_bytes(KEY_BYTES)
                    place_file(path, aes_key_wrap_with_padding(self._root, length_prefixed(key_id) + key))
                    made.append(key_id)
            if made:
                sync_folder(self._ring)
        return made

    def get(self, key_id: str) -> bytes:
        """The 32 bytes of a key. KeyMissing when it is not in the ring, KeyringError when it doesn't open."""
        path = self._file(key_id)
        with self._lock:
            try:
                found = os.stat(path)  # noqa: PTH116  # a Path costs more than the look itself
                identity = (found.st_ino, found.st_mtime_ns)
                cached = self._cache.get(key_id)
                if cached is not None and cached[0] == identity:
                    return cached[1]
                wrapped = Path(path).read_bytes()
            except FileNotFoundError as exc:
                self._cache.pop(key_id, None)
                raise KeyMissing(f"{key_id} is not in the keyring") from exc
            except OSError as exc:
                raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
            key = self._unwrap(key_id, wrapped)
            self._cache[key_id] = (identity, key)
            return key

    def has(self, key_id: str) -> bool:
        """Whether the key is in the ring."""
        return self._path(key_id).exists()

    def ids(self) -> list[str]:
        """The ids of all keys in the ring, sorted; forgets what is no longer there."""
        names = (path.name.removesuffix(SUFFIX) for path in self._ring.glob(f"*{SUFFIX}"))
        found = sorted(name for name in names if _KEY_ID.fullmatch(name))
        with self._lock:
            for key_id in self._cache.keys() - set(found):
                del self._cache[key_id]
        return found

    def destroy(self, key_id: str) -> bool:
        """Destroy a key for good; True when it was there, False when it was gone already.

        On return the removal is durable and seen: KeyringError otherwise. May be repeated.
        """
        path = self._path(key_id)
        with self._exclusive():
            with self._lock:
                self._cache.pop(key_id, None)
            try:
                was_there = path.exists()
                path.unlink(missing_ok=True)
                path.with_name(f".{path.name}.new").unlink(missing_ok=True)  # left by a cut `ensure`
                sync_folder(self._ring)
            except OSError as exc:
                raise KeyringError(f"{key_id} can't be destroyed: {exc.strerror}") from exc
            if os.path.lexists(path):
                raise KeyringError(f"{key_id} is still in the keyring after its destruction")
        return was_there

    def verify(self) -> list[str]:
        """One sentence for each key file that doesn't open; empty when the keyring is whole."""
        problems = []
        for key_id in self.ids():
            try:
                self._unwrap(key_id, self._path(key_id).read_bytes())
            except FileNotFoundError:
                continue  # destroyed while we looked
            except (KeyringError, OSError) as exc:
                problems.append(str(exc))
        return problems

    def _file(self, key_id: str) -> str:
        if not _KEY_ID.fullmatch(key_id):
            raise KeyringError(f"{key_id!r} is not the id of a key")
        return f"{self._ring_name}/{key_id}{SUFFIX}"

    def _path(self, key_id: str) -> Path:
        return Path(self._file(key_id))

    def _unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        try:
            inner = aes_key_unwrap_with_padding(self._root, wrapped)
        except (InvalidUnwrap, ValueError) as exc:
            raise KeyringError(
                f"{key_id} doesn't open: its file is damaged, or the root key is another"
            ) from exc
        head = length_prefixed(key_id)
        if not inner.startswith(head) or len(inner) != len(head) + KEY_BYTES:
            raise KeyringError(f"the file of {key_id} holds another key")
        return inner[len(head) :]

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other threads and processes from making or destroying keys; the system frees it at a crash."""
        fd = os.open(self._ring, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
