"""The keyring: one file a key, named after the day its contents must be gone (spec 4, Keys).

The root key (`root.py`) wraps every key in `keys/ring/` with AES-256-KWP (RFC 5649). What
is wrapped is lp(name) || key, so a key file under another name is refused. The name is the key's id, and from
its second version on the id and the version: `until-2027-05-22.v2`. Several processes use
one keyring at a time: making and destroying are serialised by a lock on the folder, and every use
looks whether the file is still there, so a key that another process destroyed is not served here.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
from gateway.vault.key_ids import is_version, name_of, split, version_in
from gateway.vault.pkcs11 import Token
from gateway.vault.root import Ask, Provider, Root

RING_FOLDER = "ring"
#: Beside a key that a registered copy has not got yet: it may not be relied on.
BEHIND = ".behind"
#: In `keys/` while keys were destroyed and the master key in the token was not replaced since.
REPLACE_MASTER = "replace-master"

#: Whatever is written of a key: its file, one that is being placed, and the marker beside it.
_WRITTEN = re.compile(rf"\.?(.+?)(?:{re.escape(SUFFIX)}|{re.escape(BEHIND)})(?:\.new)?")


def _caught_up(path: Path) -> None:
    """No copy lacks the key any more."""
    marker = path.with_suffix(BEHIND)
    if marker.exists():
        marker.unlink()


#: Told how many of how many keys are done.
Progress = Callable[[int, int], None]


def _nobody(_done: int, _total: int) -> None:
    """Nobody who wants to know how far it is."""


class Keyring:
    """The keys of one home folder; safe to use from several threads."""

    def __init__(self, folder: Path, ask: Ask, token: Token | None, opened: Root) -> None:
        self._folder = folder
        self._token = token
        self._ring = folder / RING_FOLDER
        self._ring_name = str(self._ring)
        self._ask = ask
        self._root = opened
        #: name -> (identity of the file, key); never served without a look at the file
        self._cache: dict[str, tuple[tuple[int, int], bytes]] = {}
        #: key id -> its newest version when the folder was read last; never relied on without a look
        self._newest: dict[str, int] = {}
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
        cls,
        keys_dir: Path,
        provider: Provider | None = None,
        *,
        ask: Ask = root.ask_at_terminal,
        token: Token | None = None,
    ) -> Keyring:
        """Open the keyring in `keys_dir`; KeyringError says what is wrong and what to do.

        Args:
            keys_dir: the folder of the root key and the ring.
            provider: where the root key must come from; None: wherever it comes from.
            ask: how a person is asked for a passphrase or a PIN.
            token: where a root key of provider `pkcs11` is sealed.
        """
        there = root.provider_of(keys_dir) or root.provider_of(keys_dir, root.NEXT)
        if provider is not None and there not in {None, provider}:
            raise KeyringError(
                f'config/gateway.toml says [keys] provider = "{provider}", and {keys_dir} has a root key of provider '
                f'"{there}": run `gateway keys rotate-root`, which replaces it, or set it back'
            )
        opened = root.load(keys_dir, ask=ask, token=token)
        if not (keys_dir / RING_FOLDER).is_dir():
            raise KeyringError(f"{keys_dir / RING_FOLDER} is missing: bring the keyring back")
        return cls(keys_dir, ask, token, opened)

    def ensure(self, key_ids: Iterable[str]) -> list[str]:
        """Make the keys of `key_ids` that are missing, durable on return; gives the ids made.

        A registered copy gets a key before the ring does. One that can't be reached gets it at a later call,
        and `has` tells of the key until then. It can't tell a key that was never made from one that was
        destroyed: ask only for days and months to come.
        """
        wanted = dict.fromkeys(key_ids)
        for key_id in wanted:
            self._file(key_id)  # KeyringError for what is no id
        with self._exclusive():
            self._look_at_root()
            there = self._names()
            made = sorted(wanted.keys() - {key_id for key_id, _ in there.values()}, key=list(wanted).index)
            fresh: dict[str, bytes] = {}
            for key_id in made:
                fresh |= self._from_copies(key_id) or {key_id: self._new(key_id)}
            kept = [name for name, (key_id, _) in there.items() if key_id in wanted]
            self._place([*kept, *fresh], fresh)
        return made

    def renew(self, versions: Mapping[str, int]) -> None:
        """Make these versions of keys, those that are there already left out; durable on return.

        Copies get them as they get a new key (`ensure`).

        Raises:
            KeyMissing: of one of the keys there is no version at all.
        """
        with self._exclusive():
            self._look_at_root()
            there = self._names()
            ids = {key_id for key_id, _ in there.values()}
            if missing := sorted(versions.keys() - ids):
                raise KeyMissing(f"{missing[0]} is not in the keyring")
            names = [name_of(key_id, version) for key_id, version in versions.items()]
            fresh = {name: self._from_a_copy(name) or self._new(name) for name in names if name not in there}
            self._place(names, fresh)

    def _place(self, names: Collection[str], fresh: Mapping[str, bytes]) -> None:
        """Put new keys into the copies and then the ring, and bring every copy up to all of `names`."""
        self._catch_copies_up()
        behind = self._behind(names, fresh)
        for name in names:
            if name in behind:
                place_file(self._path(name).with_suffix(BEHIND), b"")
            elif name not in fresh:
                _caught_up(self._path(name))
        for name, wrapped in fresh.items():
            place_file(self._path(name), wrapped)
        if fresh or behind:
            sync_folder(self._ring)

    def _new(self, name: str) -> bytes:
        return self._wrapped(name, secrets.token_bytes(KEY_BYTES))

    def _from_copies(self, key_id: str) -> dict[str, bytes]:
        """Every version of a key that the ring has not got and a copy has."""
        names = {name for name, (each, _) in self._names_in_copies().items() if each == key_id}
        return {name: wrapped for name in names if (wrapped := self._from_a_copy(name)) is not None}

    def _from_a_copy(self, name: str) -> bytes | None:
        """A key that the ring has not got and a copy has: lost here, or made by an interrupted call."""
        for folder in self.copies().values():
            wrapped = copies.read(folder, name)
            if wrapped is not None and _opened(wrapped, self._root) is not None:
                return wrapped
        return None

    def _behind(self, names: Iterable[str], fresh: Mapping[str, bytes]) -> set[str]:
        """Bring every copy up to the keys of `names`; those that one of them has not got then."""
        behind: set[str] = set()
        for folder in self.copies().values():
            held = {name: copies.holds(folder, name) for name in names}
            # a new key goes even where one lies that doesn't open
            lacks = [name for name, holds in held.items() if not holds or name in fresh]
            kept = {name: fresh.get(name) or self._path(name).read_bytes() for name in lacks}
            if not copies.put(folder, kept):
                # what a copy that is away had before it went, it has still
                behind |= {
                    name for name in lacks if held[name] is False or name in fresh or self._is_behind(name)
                }
        return behind

    def _is_behind(self, name: str) -> bool:
        return os.path.exists(self._file(name).removesuffix(SUFFIX) + BEHIND)  # noqa: PTH110  # as in `get`

    def copies(self) -> dict[str, Path]:
        """Name -> folder of each registered copy; KeyringError when the list is damaged."""
        return copies.registered(self._folder)

    def add_copy(self, folder: Path, told: Callable[[str], None]) -> str:
        """Register another folder that holds every key from now on; gives its name, told before. Raises KeyringError."""
        with self._exclusive():
            keys = {name: self._path(name).read_bytes() for name in self._names()}
            return copies.register(self._folder, folder, keys, root.sealed_file(self._folder), told)

    def copies_away(self) -> list[str]:
        """The registered copies that can't be reached now."""
        return [name for name, folder in self.copies().items() if not copies.is_there(folder)]

    def unconfirmed(self, key_id: str, *, before: int | None = None) -> list[str]:
        """The registered copies of which it can't be seen that they hold no version of a key, or none `before` one.

        A copy under a master key that is gone holds nothing: none is named once that was replaced.
        """
        if self._is_in_token() and not self.must_replace_master():
            return []
        found = []
        for name, folder in self.copies().items():
            held = copies.names(folder)
            if held is None or any(is_version(each, key_id, before) for each in held):
                found.append(name)
        return found

    def ids_in_copies(self) -> set[str]:
        """The ids of all keys in the copies that can be reached."""
        return {key_id for key_id, _ in self._names_in_copies().values()}

    def _names_in_copies(self) -> dict[str, tuple[str, int]]:
        found = {name for folder in self.copies().values() for name in copies.names(folder) or ()}
        return {name: parts for name in found if (parts := split(name)) is not None}

    def get(self, key_id: str, version: int | None = None) -> bytes:
        """The 32 bytes of a version of a key, the newest if none is given.

        Raises:
            KeyMissing: it is not in the ring.
            KeyringError: it doesn't open.
        """
        name = name_of(key_id, self.newest(key_id) if version is None else version)
        path = self._file(name)
        with self._lock:
            try:
                found = os.stat(path)  # noqa: PTH116  # a Path costs more than the look itself
                identity = (found.st_ino, found.st_mtime_ns)
                cached = self._cache.get(name)
                if cached is not None and cached[0] == identity:
                    return cached[1]
                wrapped = Path(path).read_bytes()
            except FileNotFoundError as exc:
                self._cache.pop(name, None)
                raise KeyMissing(f"{name} is not in the keyring") from exc
            except OSError as exc:
                raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
            key = self._unwrap(name, wrapped)
            self._cache[name] = (identity, key)
            return key

    def newest(self, key_id: str) -> int:
        """The newest version of a key in the ring. Raises KeyMissing."""
        known = self._newest.get(key_id)
        # versions follow each other, and the oldest goes first: nothing is newer when the next one is not there
        if (
            known is None
            or not os.path.exists(self._file(name_of(key_id, known)))  # noqa: PTH110  # as in `get`
            or os.path.exists(self._file(name_of(key_id, known + 1)))  # noqa: PTH110
        ):
            there = self.versions(key_id)
            if not there:
                raise KeyMissing(f"{key_id} is not in the keyring")
            known = self._newest[key_id] = there[-1]
        return known

    def versions(self, key_id: str) -> list[int]:
        """The versions of a key that are in the ring, oldest first."""
        self._file(key_id)  # KeyringError for what is no id
        return self.all_versions().get(key_id, [])

    def all_versions(self) -> dict[str, list[int]]:
        """The versions of every key in the ring, oldest first, by id."""
        found: dict[str, list[int]] = {}
        for key_id, version in self._names().values():
            found.setdefault(key_id, []).append(version)
        return found

    def has(self, key_id: str) -> bool:
        """Whether the newest version of the key is in the ring, and every registered copy has got it."""
        try:
            return not self._is_behind(name_of(key_id, self.newest(key_id)))
        except KeyMissing:
            return False

    def ids(self) -> list[str]:
        """The ids of all keys in the ring, sorted; forgets what is no longer there."""
        found = self._names()
        with self._lock:
            for name in self._cache.keys() - found.keys():
                del self._cache[name]
        return sorted({key_id for key_id, _ in found.values()})

    def _names(self) -> dict[str, tuple[str, int]]:
        """Name -> id and version of every key in the ring, in their order."""
        try:
            listed = os.listdir(self._ring_name)  # noqa: PTH208  # a Path for each costs more than the look itself
        except OSError as exc:
            raise KeyringError(f"{self._ring_name} can't be read: {exc.strerror}") from exc
        names = (name.removesuffix(SUFFIX) for name in listed if name.endswith(SUFFIX))
        found = {name: parts for name in names if (parts := split(name)) is not None}
        return dict(sorted(found.items(), key=lambda each: each[1]))

    def destroy(self, key_id: str, *, before: int | None = None) -> bool:
        """Destroy a key for good, every version or those `before` one; True when it was there, False when gone already.

        On return the removal is durable and seen: KeyringError otherwise. May be repeated. It goes from every
        copy that can be reached; `unconfirmed` names the others. Where the root key is sealed in a token,
        `replace_master` must follow.
        """
        self._file(key_id)  # KeyringError for what is no id
        was_there = False
        with self._exclusive():
            written = (_WRITTEN.fullmatch(path.name) for path in self._ring.iterdir())
            names = {match[1] for match in written if match} | set(self._names_in_copies())
            # the oldest first: `newest` relies on it
            going = sorted((name for name in names if is_version(name, key_id, before)), key=version_in)
            if going:
                self._note_destruction()
            for name in going:
                was_there |= self._destroy_one(name)
            for folder in self.copies().values():
                for name in going:
                    copies.remove(folder, name)
        return was_there

    def _destroy_one(self, name: str) -> bool:
        path = self._path(name)
        with self._lock:
            self._cache.pop(name, None)
        try:
            was_there = path.exists()
            path.unlink(missing_ok=True)
            path.with_name(f".{path.name}.new").unlink(missing_ok=True)  # left by a cut `ensure`
            path.with_suffix(BEHIND).unlink(missing_ok=True)
            sync_folder(self._ring)
        except OSError as exc:
            raise KeyringError(f"{name} can't be destroyed: {exc.strerror}") from exc
        if os.path.lexists(path):
            raise KeyringError(f"{name} is still in the keyring after its destruction")
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
            if away := self.copies_away():
                raise KeyringError(
                    f"{away[0]} can't be reached at {self.copies()[away[0]]}, and its keys would open no more: "
                    "bring it back first"
                )
            if not self._root.is_replaced:
                self._begin_root(provider)
            return self._finish_root(told, progress, copies_must=True)

    def replace_master(self, told: Callable[[int, str], None]) -> bool:
        """Where the root key is sealed in a token: replace it and its master key, when keys were destroyed.

        On return every older copy of the keyring opens nothing: not the keys that were destroyed, and no
        other. One that can't be reached does not stop it, and is brought up to date when it is back. May be
        repeated after an interruption, and then completes it. Other providers: nothing is done.

        Args:
            told: called with the number of keys and the id of the new master key, before the old one goes.

        Returns:
            Whether anything was replaced.

        Raises:
            KeyringError: it can't be done now; the keyring is open as it was.
        """
        with self._exclusive():
            if not self.must_replace_master():
                return False
            try:
                self._replace_master(told)
            except OSError as exc:
                raise KeyringError(f"the master key in the token can't be replaced: {exc.strerror}") from exc
        return True

    def _replace_master(self, told: Callable[[int, str], None]) -> None:
        def tell(count: int) -> None:
            told(count, root.master_of(self._folder, root.NEXT) or "")

        self._look_at_root()
        # what was begun may have wrapped a key that was destroyed after it: it is finished, and another begun
        if self._root.is_replaced:
            self._finish_root(tell, _nobody, copies_must=False)
        if (noted := self._folder / REPLACE_MASTER).exists() and self._is_in_token():
            self._begin_root(Provider.PKCS11)
            noted.unlink()
            sync_folder(self._folder)
            self._finish_root(tell, _nobody, copies_must=False)

    def master(self) -> str | None:
        """The id of the master key in the token; None when the root key is not sealed in one."""
        return root.master_of(self._folder) or root.master_of(self._folder, root.NEXT)

    def must_replace_master(self) -> bool:
        """Whether `replace_master` has something to do: an older copy of the keyring may still be opened by the token."""
        is_begun = root.provider_of(self._folder, root.NEXT) is not None
        return self._is_in_token() and (is_begun or (self._folder / REPLACE_MASTER).exists())

    def _is_in_token(self) -> bool:
        there = root.provider_of(self._folder) or root.provider_of(self._folder, root.NEXT)
        return there is Provider.PKCS11

    def _note_destruction(self) -> None:
        noted = self._folder / REPLACE_MASTER
        if self._is_in_token() and not noted.exists():
            try:
                place_file(noted, b"")
                sync_folder(self._folder)
            except OSError as exc:
                raise KeyringError(
                    f"{noted} can't be written, and nothing was destroyed: {exc.strerror}"
                ) from exc

    def _begin_root(self, provider: Provider) -> None:
        root.create(self._folder, provider, ask=self._ask, token=self._token, prefix=root.NEXT)
        self._look_at_root()

    def _finish_root(self, told: Callable[[int], None], progress: Progress, *, copies_must: bool) -> int:
        """Wrap every key under the next root key and put it in the place of the old one; how many were wrapped."""
        if root.provider_of(self._folder) is None:  # all but the last step was done
            self._replace_root()
            return 0
        if len(self._root.keys) > len(set(self._root.keys)):
            root.give_up_next(self._folder)
            self._look_at_root()
            raise KeyringError(
                "the new root key is the old one, and nothing was changed: give another passphrase, or the "
                f"credential {root.ROOT_CREDENTIAL}{root.NEXT_CREDENTIAL}"
            )
        count, names = 0, list(self._names())
        for done, name in enumerate(names, start=1):
            count += self._wrap_again(name)
            progress(done, len(names))
        sync_folder(self._ring)
        self._put_in_copies(must=copies_must)
        told(len(names))
        self._replace_root()
        return count

    def _replace_root(self) -> None:
        root.replace_root(self._folder, ask=self._ask, token=self._token)
        self._look_at_root()

    def _put_in_copies(self, *, must: bool) -> None:
        """Every key as it is now into every copy; KeyringError when one `must` be written and can't."""
        keys = {name: self._path(name).read_bytes() for name in self._names()}
        sealed = root.sealed_file(self._folder)
        for name, folder in self.copies().items():
            if not copies.put_all(folder, keys, sealed) and must:
                raise KeyringError(f"{name} can't be written at {folder}: mend it, and run this again")

    def _catch_copies_up(self) -> None:
        """A copy that was away while the master key was replaced opens nothing: it gets every key anew."""
        sealed = root.sealed_file(self._folder)
        if self._root.is_replaced or all(copies.root(each) == sealed for each in self.copies().values()):
            return
        self._put_in_copies(must=False)

    def _wrap_again(self, name: str) -> bool:
        """Wrap a key under the newest root key; False when it is already."""
        path = self._path(name)
        try:
            wrapped = path.read_bytes()
        except OSError as exc:
            raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
        key = self._unwrap(name, wrapped)
        fresh = self._wrapped(name, key)  # AES-KWP is deterministic (RFC 5649)
        if fresh == wrapped:
            return False
        place_file(path, fresh)
        return True

    def verify(self) -> list[str]:
        """One sentence for each key file that doesn't open; empty when the keyring is whole."""
        problems = []
        for name in self._names():
            try:
                self._unwrap(name, self._path(name).read_bytes())
            except FileNotFoundError:
                continue  # destroyed while we looked
            except (KeyringError, OSError) as exc:
                problems.append(str(exc))
        if self._is_in_token():
            try:
                root.load(self._folder, ask=self._ask, token=self._token)
            except KeyringError as exc:
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
                ours = {key: self._path(key).read_bytes() for key in self._names()}
                theirs = {key: copies.read(folder, key) for key in {*ours, *self._names_in_copies()}}
                if copies.root(folder) != root.sealed_file(self._folder):
                    problems.append(f"{name} has not the root key that the token seals now")
            for key, wrapped in sorted(theirs.items()):
                if key not in ours and wrapped is not None:
                    problems.append(f"{name} still has {key}, which is destroyed here")
                elif wrapped != ours.get(key):
                    problems.append(f"{name} has {'no' if wrapped is None else 'another'} {key}")
        return problems

    def _file(self, name: str) -> str:
        if split(name) is None:
            raise KeyringError(f"{name!r} is not the id of a key")
        return f"{self._ring_name}/{name}{SUFFIX}"

    def _path(self, name: str) -> Path:
        return Path(self._file(name))

    def _wrapped(self, name: str, key: bytes) -> bytes:
        return aes_key_wrap_with_padding(self._root.keys[-1], length_prefixed(name) + key)

    def _unwrap(self, name: str, wrapped: bytes) -> bytes:
        inner = _opened(wrapped, self._root)
        if inner is None and self._look_at_root():
            # another process replaced the root key since it was read here
            inner = _opened(wrapped, self._root)
        if inner is None:
            raise KeyringError(f"{name} doesn't open: its file is damaged, or the root key is another")
        head = length_prefixed(name)
        if not inner.startswith(head) or len(inner) != len(head) + KEY_BYTES:
            raise KeyringError(f"the file of {name} holds another key")
        return inner[len(head) :]

    def _look_at_root(self) -> bool:
        """Read the root keys again when their files are others; whether they were."""
        if root.look(self._folder) == self._root.seen:
            return False
        self._root = root.load(self._folder, ask=self._ask, token=self._token)
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
