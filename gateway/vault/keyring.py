"""The keyring: one file a key, named after the day its contents must be gone (spec 4, Keys).

The root key (`root.py`) wraps every key in `keys/ring/` with AES-256-KWP (RFC 5649). What
is wrapped is lp(key id) || key, so a key file under another name is refused. Several processes use
one keyring at a time: making and destroying are serialised by a lock on the folder, and every use
looks whether the file is still there, so a key that another process destroyed is not served here.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from gateway.vault import copies, root
from gateway.vault.copies import CACHEDIR_TAG, SUFFIX, TAG_FILE
from gateway.vault.derive import KEY_BYTES, length_prefixed
from gateway.vault.durable import place_file, sync_folder
from gateway.vault.root import Ask, Provider, Root

RING_FOLDER = "ring"
#: Beside a key that a registered copy has not got yet: it may not be relied on.
BEHIND = ".behind"

_KEY_ID = re.compile(r"until-\d{4}-\d{2}-\d{2}|index-\d{4}-\d{2}|hold-[0-9A-Z][0-9A-Z-]{0,63}", re.ASCII)


def _caught_up(path: Path) -> None:
    """No copy lacks the key any more."""
    marker = path.with_suffix(BEHIND)
    if marker.exists():
        marker.unlink()


def until_id(day: date) -> str:
    """The id of the key of what must be gone after `day`."""
    return f"until-{day.isoformat()}"


def index_id(month: str) -> str:
    """The id of the key of the index tokens of what is received in `month` (`YYYY-MM`)."""
    return f"index-{month}"


def hold_key_id(hold_id: str) -> str:
    """The id of the key of what a hold keeps past its day."""
    return f"hold-{hold_id}"


def hold_of(key_id: str) -> str | None:
    """The hold in a `hold-` id; None for another key."""
    kind, _, rest = key_id.partition("-")
    return rest if kind == "hold" else None


def day_of(key_id: str) -> date | None:
    """The day in an `until-` id; None for another key."""
    kind, _, rest = key_id.partition("-")
    return date.fromisoformat(rest) if kind == "until" else None


def month_of(key_id: str) -> str | None:
    """The month (`YYYY-MM`) in an `index-` id; None for another key."""
    kind, _, rest = key_id.partition("-")
    return rest if kind == "index" else None


#: Told how many of how many keys are done.
Progress = Callable[[int, int], None]


class Keyring:
    """The keys of one home folder; safe to use from several threads."""

    def __init__(self, folder: Path, ask: Ask, opened: Root) -> None:
        self._folder = folder
        self._ring = folder / RING_FOLDER
        self._ring_name = str(self._ring)
        self._ask = ask
        self._root = opened
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
            root.create(keys_dir, Provider.FILE)
        except FileExistsError as exc:
            raise KeyringError(
                f"{keys_dir / root.FILES[Provider.FILE]} exists already and is left as it is: without it nothing "
                "in the vault can be read"
            ) from exc
        (keys_dir / RING_FOLDER).mkdir(mode=0o700, exist_ok=True)
        place_file(keys_dir / TAG_FILE, CACHEDIR_TAG, mode=0o644)
        sync_folder(keys_dir)
        return cls.open(keys_dir)

    @classmethod
    def open(
        cls, keys_dir: Path, provider: Provider | None = None, *, ask: Ask = root.ask_at_terminal
    ) -> Keyring:
        """Open the keyring in `keys_dir`; KeyringError says what is wrong and what to do.

        Args:
            keys_dir: the folder of the root key and the ring.
            provider: where the root key must come from; None: wherever it comes from.
            ask: how a person is asked for a passphrase.
        """
        there = root.provider_of(keys_dir) or root.provider_of(keys_dir, root.NEXT)
        if provider is not None and there not in {None, provider}:
            raise KeyringError(
                f'config/gateway.toml says [keys] provider = "{provider}", and {keys_dir} has a root key of provider '
                f'"{there}": run `gateway keys rotate-root`, which replaces it, or set it back'
            )
        opened = root.load(keys_dir, ask=ask)
        if not (keys_dir / RING_FOLDER).is_dir():
            raise KeyringError(f"{keys_dir / RING_FOLDER} is missing: bring the keyring back")
        return cls(keys_dir, ask, opened)

    def ensure(self, key_ids: Iterable[str]) -> list[str]:
        """Make the keys of `key_ids` that are missing, durable on return; gives the ids made.

        A registered copy gets a key before the ring does. One that can't be reached gets it at a later call,
        and `has` tells of the key until then. It can't tell a key that was never made from one that was
        destroyed: ask only for days and months to come.
        """
        with self._exclusive():
            self._look_at_root()
            wanted = {key_id: self._path(key_id) for key_id in key_ids}
            made = [key_id for key_id, path in wanted.items() if not path.exists()]
            fresh = {key_id: self._from_a_copy(key_id) or self._new(key_id) for key_id in made}
            behind = self._behind(wanted.keys(), fresh)
            for key_id, path in wanted.items():
                if key_id in behind:
                    place_file(path.with_suffix(BEHIND), b"")
                elif key_id not in fresh:
                    _caught_up(path)
            for key_id, wrapped in fresh.items():
                place_file(wanted[key_id], wrapped)
            if made or behind:
                sync_folder(self._ring)
        return made

    def _new(self, key_id: str) -> bytes:
        return self._wrapped(key_id, secrets.token_bytes(KEY_BYTES))

    def _from_a_copy(self, key_id: str) -> bytes | None:
        """A key that the ring has not got and a copy has: lost here, or made by an interrupted call."""
        for folder in self.copies().values():
            wrapped = copies.read(folder, key_id)
            if wrapped is not None and _opened(wrapped, self._root) is not None:
                return wrapped
        return None

    def _behind(self, key_ids: Iterable[str], fresh: Mapping[str, bytes]) -> set[str]:
        """Bring every copy up to the keys of `key_ids`; those that one of them has not got then."""
        behind: set[str] = set()
        for folder in self.copies().values():
            held = {key_id: copies.holds(folder, key_id) for key_id in key_ids}
            # a new key goes even where one lies that doesn't open
            lacks = [key_id for key_id, holds in held.items() if not holds or key_id in fresh]
            kept = {key_id: fresh.get(key_id) or self._path(key_id).read_bytes() for key_id in lacks}
            if not copies.put(folder, kept):
                # what a copy that is away had before it went, it has still
                behind |= {
                    key_id
                    for key_id in lacks
                    if held[key_id] is False or key_id in fresh or self._is_behind(key_id)
                }
        return behind

    def _is_behind(self, key_id: str) -> bool:
        return self._path(key_id).with_suffix(BEHIND).exists()

    def copies(self) -> dict[str, Path]:
        """Name -> folder of each registered copy; KeyringError when the list is damaged."""
        return copies.registered(self._folder)

    def add_copy(self, folder: Path, told: Callable[[str], None]) -> str:
        """Register another folder that holds every key from now on; gives its name, told before. Raises KeyringError."""
        with self._exclusive():
            keys = {key_id: self._path(key_id).read_bytes() for key_id in self.ids()}
            return copies.register(self._folder, folder, keys, told)

    def unconfirmed(self, key_id: str) -> list[str]:
        """The registered copies of which it can't be seen that they do not hold a key."""
        return [name for name, folder in self.copies().items() if copies.holds(folder, key_id) is not False]

    def ids_in_copies(self) -> set[str]:
        """The ids of all keys in the copies that can be reached."""
        found = {key_id for folder in self.copies().values() for key_id in copies.ids(folder)}
        return {key_id for key_id in found if _KEY_ID.fullmatch(key_id)}

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
        """Whether the key is in the ring, and every registered copy has got it."""
        return self._path(key_id).exists() and not self._is_behind(key_id)

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

        On return the removal is durable and seen: KeyringError otherwise. May be repeated. It goes from every
        copy that can be reached; `unconfirmed` names the others.
        """
        path = self._path(key_id)
        with self._exclusive():
            with self._lock:
                self._cache.pop(key_id, None)
            try:
                was_there = path.exists()
                path.unlink(missing_ok=True)
                path.with_name(f".{path.name}.new").unlink(missing_ok=True)  # left by a cut `ensure`
                path.with_suffix(BEHIND).unlink(missing_ok=True)
                sync_folder(self._ring)
            except OSError as exc:
                raise KeyringError(f"{key_id} can't be destroyed: {exc.strerror}") from exc
            if os.path.lexists(path):
                raise KeyringError(f"{key_id} is still in the keyring after its destruction")
            for folder in self.copies().values():
                copies.remove(folder, key_id)
        return was_there

    def rotate_root(self, provider: Provider, told: Callable[[int], None], progress: Progress) -> int:
        """Put another root key in the place of the present one; no other key changes, and no data.

        One key after another is wrapped again; until the last both root keys open the ring, and then the old
        one is destroyed. May be repeated after an interruption, and then goes on where it was.

        Args:
            provider: where the new root key comes from.
            told: called with the number of keys in the ring when all are wrapped again, before the old one goes.
            progress: told how many of how many keys are done.

        Returns:
            How many keys were wrapped again; those of an interrupted try are not counted.

        Raises:
            KeyringError: a key doesn't open, or the new root key can't be made; the old one is still there then.
        """
        with self._exclusive():
            self._look_at_root()
            if away := [name for name, folder in self.copies().items() if not copies.is_there(folder)]:
                raise KeyringError(
                    f"{away[0]} can't be reached at {self.copies()[away[0]]}, and its keys would open no more: "
                    "bring it back first"
                )
            if not self._root.is_replaced:
                root.create(self._folder, provider, ask=self._ask, prefix=root.NEXT)
                self._look_at_root()
            if root.provider_of(self._folder) is None:  # all but the last step was done
                root.replace_root(self._folder)
                self._look_at_root()
                return 0
            if len(set(self._root.keys)) == 1:
                root.give_up_next(self._folder)
                self._look_at_root()
                raise KeyringError(
                    "the new root key is the old one, and nothing was changed: give another passphrase, or the "
                    f"credential {root.ROOT_CREDENTIAL}{root.NEXT_CREDENTIAL}"
                )
            count, key_ids = 0, self.ids()
            for done, key_id in enumerate(key_ids, start=1):
                count += self._wrap_again(key_id)
                progress(done, len(key_ids))
            sync_folder(self._ring)
            wrapped = {key_id: self._path(key_id).read_bytes() for key_id in key_ids}
            for name, folder in self.copies().items():
                if not copies.put(folder, wrapped):
                    raise KeyringError(f"{name} can't be written at {folder}: mend it, and run this again")
            told(len(key_ids))
            root.replace_root(self._folder)
            self._look_at_root()
        return count

    def _wrap_again(self, key_id: str) -> bool:
        """Wrap a key under the newest root key; False when it is already."""
        path = self._path(key_id)
        try:
            wrapped = path.read_bytes()
        except OSError as exc:
            raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
        key = self._unwrap(key_id, wrapped)
        fresh = self._wrapped(key_id, key)  # AES-KWP is deterministic (RFC 5649)
        if fresh == wrapped:
            return False
        place_file(path, fresh)
        return True

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

    def verify_copies(self) -> list[str]:
        """One sentence for each copy that is away, and each key that one has not got as the ring has it."""
        problems = []
        for name, folder in self.copies().items():
            if not copies.is_there(folder):
                problems.append(f"{name} can't be reached at {folder}")
                continue
            with self._exclusive():  # nothing is made or destroyed while we compare
                ours = {key_id: self._path(key_id).read_bytes() for key_id in self.ids()}
                theirs = {key_id: copies.read(folder, key_id) for key_id in {*ours, *self.ids_in_copies()}}
            for key_id, wrapped in sorted(theirs.items()):
                if key_id not in ours and wrapped is not None:
                    problems.append(f"{name} still has {key_id}, which is destroyed here")
                elif wrapped != ours.get(key_id):
                    problems.append(f"{name} has {'no' if wrapped is None else 'another'} {key_id}")
        return problems

    def _file(self, key_id: str) -> str:
        if not _KEY_ID.fullmatch(key_id):
            raise KeyringError(f"{key_id!r} is not the id of a key")
        return f"{self._ring_name}/{key_id}{SUFFIX}"

    def _path(self, key_id: str) -> Path:
        return Path(self._file(key_id))

    def _wrapped(self, key_id: str, key: bytes) -> bytes:
        return aes_key_wrap_with_padding(self._root.keys[-1], length_prefixed(key_id) + key)

    def _unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        inner = _opened(wrapped, self._root)
        if inner is None and self._look_at_root():
            # another process replaced the root key since it was read here
            inner = _opened(wrapped, self._root)
        if inner is None:
            raise KeyringError(f"{key_id} doesn't open: its file is damaged, or the root key is another")
        head = length_prefixed(key_id)
        if not inner.startswith(head) or len(inner) != len(head) + KEY_BYTES:
            raise KeyringError(f"the file of {key_id} holds another key")
        return inner[len(head) :]

    def _look_at_root(self) -> bool:
        """Read the root keys again when their files are others; whether they were."""
        if root.look(self._folder) == self._root.seen:
            return False
        self._root = root.load(self._folder, ask=self._ask)
        return True

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other threads and processes from making or destroying keys; the system frees it at a crash."""
        fd = os.open(self._ring, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _opened(wrapped: bytes, under: Root) -> bytes | None:
    """What is wrapped, by the newest root key that opens it; None when none does."""
    for key in reversed(under.keys):
        try:
            return aes_key_unwrap_with_padding(key, wrapped)
        except (InvalidUnwrap, ValueError):
            continue
    return None
