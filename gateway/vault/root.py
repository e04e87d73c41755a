"""The root key, which wraps every key of the ring: where it comes from (spec 4, Keys).

    provider     in keys/          what is needed besides
    file         root.key          nothing: it holds the 32 bytes
    passphrase   root.argon2id     a passphrase; the file holds salt and cost of Argon2id (RFC 9106)
    credential   root.credential   the systemd credential `gateway-root`, of 32 bytes
    pkcs11       root.pkcs11       the token that sealed it (`pkcs11.py`), and its PIN

While the root key is replaced there are two, and the new one's file begins with `next-`. The files of the
last three hold a commitment too, by which a wrong passphrase or credential is known at once.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from getpass import getpass
from hmac import compare_digest
from pathlib import Path

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from gateway.errors import KeyringError
from gateway.vault import pkcs11
from gateway.vault.derive import KEY_BYTES, expand
from gateway.vault.durable import create_file, place_file, sync_folder
from gateway.vault.pkcs11 import MasterMissing, Pin, Token


class Provider(StrEnum):
    """Where a root key comes from."""

    FILE = "file"
    PASSPHRASE = "passphrase"  # noqa: S105  # the name of a provider
    CREDENTIAL = "credential"
    PKCS11 = "pkcs11"


#: The file of each provider in `keys/`.
FILES = {
    Provider.FILE: "root.key",
    Provider.PASSPHRASE: "root.argon2id",
    Provider.CREDENTIAL: "root.credential",
    Provider.PKCS11: "root.pkcs11",
}
NEXT = "next-"

#: Credentials of the service (systemd.exec(5), LoadCredential=), and what the next ones are called.
PASSPHRASE_CREDENTIAL = "gateway-passphrase"  # noqa: S105  # the name of a file
ROOT_CREDENTIAL = "gateway-root"
PIN_CREDENTIAL = "gateway-pin"
NEXT_CREDENTIAL = "-next"

#: Characters of a new passphrase, at least (NIST SP 800-63B-4 section 3.1.1.2: 15).
SHORTEST = 15

_SALT_BYTES = 16
#: RFC 9106 section 4, the second recommended option: 64 MiB.
_COST = {"iterations": 3, "lanes": 4, "memory_kib": 64 * 1024}

#: Asks a person for a passphrase, by the words it is given; KeyringError when nobody is there.
Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The root keys that open the ring: one, or two while it is replaced; `keys[-1]` wraps.

    `seen` is what their files were when they were read: other files, other keys.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    seen: tuple[tuple[str, int, int], ...]
    is_replaced: bool


def ask_at_terminal(words: str) -> str:
    """What a person types, unseen. Neither arguments nor the environment may hold a passphrase: others read them."""
    if not sys.stdin.isatty():
        raise KeyringError(
            f"{words} is needed, and there is no terminal to ask it at: hand it over as the credential "
            f"{PASSPHRASE_CREDENTIAL} (a PIN: {PIN_CREDENTIAL}), a file in the folder that CREDENTIALS_DIRECTORY names"
        )
    return getpass(f"{words}: ")


def create(
    keys_dir: Path,
    provider: Provider,
    *,
    ask: Ask = ask_at_terminal,
    token: Token | None = None,
    prefix: str = "",
) -> None:
    """Make a root key, or with `prefix` NEXT the one that will replace it; durable on return.

    Raises:
        FileExistsError: there is one already.
        KeyringError: there is no passphrase or credential to make it of.
    """
    content = _content(keys_dir, provider, ask, token, is_next=bool(prefix))
    try:
        if prefix:
            place_file(keys_dir / f"{prefix}{FILES[provider]}", content)
            sync_folder(keys_dir)
        else:
            create_file(keys_dir / FILES[provider], content)
    except OSError:
        if provider is Provider.PKCS11:  # nothing tells of its master key
            pkcs11.destroy(*_in_token(keys_dir / FILES[provider], ask, token), json.loads(content)["master"])
        raise


def provider_of(keys_dir: Path, prefix: str = "") -> Provider | None:
    """The provider of the root key, or with `prefix` NEXT of the one that replaces it; None when there is none."""
    found = [provider for provider, name in FILES.items() if (keys_dir / f"{prefix}{name}").exists()]
    if len(found) > 1:
        names = " and ".join(f"{prefix}{FILES[provider]}" for provider in found)
        raise KeyringError(f"{keys_dir} holds {names}: move the one that opens nothing elsewhere")
    return found[0] if found else None


def load(keys_dir: Path, *, ask: Ask = ask_at_terminal, token: Token | None = None) -> Root:
    """The root keys that are in force; KeyringError says what is wrong and what to do."""
    while True:
        seen = look(keys_dir)
        try:
            opened = _load(keys_dir, seen, ask, token)
        except KeyringError:
            if look(keys_dir) == seen:
                raise
        else:
            if look(keys_dir) == seen:
                return opened
        # another process put a root key in the place of one while we read


def _load(keys_dir: Path, seen: tuple[tuple[str, int, int], ...], ask: Ask, token: Token | None) -> Root:
    current, coming = provider_of(keys_dir), provider_of(keys_dir, NEXT)
    if current is None and coming is None:
        raise KeyringError(
            f"{keys_dir / FILES[Provider.FILE]} is missing: run `gateway init`, or bring the key back"
        )
    keys = []
    for prefix, provider in (("", current), (NEXT, coming)):
        if provider is None:
            continue
        try:
            keys.append(_open(keys_dir / f"{prefix}{FILES[provider]}", provider, ask, token))
        except MasterMissing:
            # cut off between the end of the old master key and the new file's name: all is under the next one
            if prefix or coming is None:
                raise
    return Root(keys=tuple(keys), seen=seen, is_replaced=coming is not None)


def look(keys_dir: Path) -> tuple[tuple[str, int, int], ...]:
    """What the files of the root keys are now, without opening them."""
    return tuple(_looks(keys_dir))


def replace_root(keys_dir: Path, *, ask: Ask = ask_at_terminal, token: Token | None = None) -> None:
    """Destroy the root key, and put the next one in its place. May be repeated after an interruption.

    Raises:
        KeyringError: the token does not destroy its master key; the next root key is not in its place then.
    """
    old, new = provider_of(keys_dir), provider_of(keys_dir, NEXT)
    if new is None:
        return
    # the old one goes first: a moment with the next one alone is told from one with neither
    if old is Provider.PKCS11:
        pkcs11.destroy(*_in_token(keys_dir / FILES[old], ask, token), master_of(keys_dir, "") or "")
    if old is not None:
        (keys_dir / FILES[old]).unlink()
        sync_folder(keys_dir)
    (keys_dir / f"{NEXT}{FILES[new]}").rename(keys_dir / FILES[new])
    sync_folder(keys_dir)


def master_of(keys_dir: Path, prefix: str = "") -> str | None:
    """The id of the master key that a root key is sealed under, in hexadecimal; None without one."""
    path = keys_dir / f"{prefix}{FILES[Provider.PKCS11]}"
    try:
        return bytes.fromhex(json.loads(path.read_bytes())["master"]).hex()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise KeyringError(f"{path} is damaged: bring it back from a registered copy") from exc


def sealed_file(keys_dir: Path) -> bytes | None:
    """The file of the newest root key that a token seals: without the token it opens nothing. None without one."""
    for prefix in (NEXT, ""):
        if provider_of(keys_dir, prefix) is not None:
            path = keys_dir / f"{prefix}{FILES[Provider.PKCS11]}"
            return path.read_bytes() if path.exists() else None
    return None


def give_up_next(keys_dir: Path) -> None:
    """Remove a next root key that nothing is wrapped under yet."""
    if (provider := provider_of(keys_dir, NEXT)) is not None:
        (keys_dir / f"{NEXT}{FILES[provider]}").unlink()
        sync_folder(keys_dir)


def _looks(keys_dir: Path) -> Iterator[tuple[str, int, int]]:
    for name in (f"{prefix}{name}" for prefix in ("", NEXT) for name in FILES.values()):
        try:
            found = (keys_dir / name).stat()
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise KeyringError(f"{keys_dir / name} can't be read: {exc.strerror}") from exc
        yield name, found.st_ino, found.st_mtime_ns


def _content(keys_dir: Path, provider: Provider, ask: Ask, token: Token | None, *, is_next: bool) -> bytes:
    """What the file of a new root key holds."""
    if provider is Provider.FILE:
        return secrets.token_bytes(KEY_BYTES)
    if provider is Provider.PASSPHRASE:
        salt = os.urandom(_SALT_BYTES)
        root = _derive(_new_passphrase(ask, is_next=is_next), salt, _COST)
        known: dict[str, object] = {"kdf": "argon2id", "salt": b64encode(salt).decode(), **_COST}
    elif provider is Provider.PKCS11:
        root = secrets.token_bytes(KEY_BYTES)
        known = {**pkcs11.seal(*_in_token(keys_dir / FILES[provider], ask, token), root)}
    else:
        root = _new_credential(is_next=is_next)
        known = {}
    known["commitment"] = b64encode(_commitment(root)).decode()
    return (json.dumps(known, indent=1) + "\n").encode()


def _open(path: Path, provider: Provider, ask: Ask, token: Token | None) -> bytes:
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as exc:
        raise KeyringError(f"{path} can't be read: {exc.strerror}") from exc
    if mode & 0o077:
        raise KeyringError(f"{path} can be read by others: run `chmod 600 {path}`")
    if provider is Provider.FILE:
        if len(content) != KEY_BYTES:
            raise KeyringError(f"{path} holds {len(content)} bytes where a root key has {KEY_BYTES}")
        return content
    try:
        known = json.loads(content)
        commitment = b64decode(known["commitment"], validate=True)
        if provider is Provider.CREDENTIAL:
            return _matching(_credentials(ROOT_CREDENTIAL), commitment, path)
        if provider is Provider.PKCS11:
            root = pkcs11.unseal(*_in_token(path, ask, token), known)
            return _matching(iter([root]), commitment, path)
        salt, cost = b64decode(known["salt"], validate=True), {name: int(known[name]) for name in _COST}
        return _matching(_derived(salt, cost, path, ask), commitment, path)
    except (ValueError, KeyError, TypeError) as exc:
        raise KeyringError(f"{path} is damaged: bring it back from the copy of keys/") from exc


def _in_token(path: Path, ask: Ask, token: Token | None) -> tuple[Token, pkcs11.AskPin]:
    """The token that a root key is sealed in, and what gets its PIN."""
    if token is None:
        raise KeyringError(
            f"{path} belongs to a token, and config/gateway.toml names none: [keys.pkcs11] needs library and token, also "
            "while the root key moves to another provider"
        )

    def pin() -> Pin:
        handed = _credential(PIN_CREDENTIAL)
        if handed is not None:
            try:
                return Pin(value=handed.removesuffix(b"\n").decode(), is_handed=True)
            except UnicodeDecodeError as exc:
                raise KeyringError(
                    f"the credential {PIN_CREDENTIAL} is no text: it holds the PIN alone"
                ) from exc
        return Pin(value=ask(f'the PIN of the token "{token.label}"'), is_handed=False)

    return token, pin


def _derived(salt: bytes, cost: dict[str, int], path: Path, ask: Ask) -> Iterator[bytes]:
    """The root key by each passphrase at hand; a person is asked when none is handed over."""
    is_asked = True
    for handed in _credentials(PASSPHRASE_CREDENTIAL):
        is_asked = False
        yield _derive(handed.removesuffix(b"\n"), salt, cost)
    if is_asked:
        which = "the new passphrase" if path.name.startswith(NEXT) else "the passphrase"
        yield _derive(ask(f"{which} of {path}").encode(), salt, cost)


def _matching(found: Iterator[bytes], commitment: bytes, path: Path) -> bytes:
    """The one that the file tells of: after a replacement that may be the credential of the next key still."""
    count = 0
    for root in found:
        if compare_digest(_commitment(root), commitment):
            return root
        count += 1
    if count:
        raise KeyringError(
            f"what was given for {path} is another passphrase or credential: give the right one"
        )
    raise KeyringError(
        f"{path} needs the credential {ROOT_CREDENTIAL}, and it is not there: see LoadCredential in the service file, "
        "or name the folder that holds it in CREDENTIALS_DIRECTORY"
    )


def _new_passphrase(ask: Ask, *, is_next: bool) -> bytes:
    handed = _credential(PASSPHRASE_CREDENTIAL + NEXT_CREDENTIAL) if is_next else None
    handed = handed if handed is not None else _credential(PASSPHRASE_CREDENTIAL)
    if handed is not None:
        chosen = handed.removesuffix(b"\n").decode()
    else:
        chosen = ask("a new passphrase")
        if ask("the new passphrase again") != chosen:
            raise KeyringError("the two passphrases differ, and nothing was changed")
    if len(chosen) < SHORTEST:
        raise KeyringError(
            f"a passphrase has at least {SHORTEST} characters, and nothing was changed: take six words or more"
        )
    return chosen.encode()


def _new_credential(*, is_next: bool) -> bytes:
    names = [ROOT_CREDENTIAL + NEXT_CREDENTIAL, ROOT_CREDENTIAL] if is_next else [ROOT_CREDENTIAL]
    for root in map(_credential, names):
        if root is None:
            continue
        if len(root) != KEY_BYTES:
            raise KeyringError(
                f"the credential {ROOT_CREDENTIAL} has {len(root)} bytes where a root key has {KEY_BYTES}: make it with "
                f"head -c {KEY_BYTES} /dev/urandom"
            )
        return root
    raise KeyringError(
        f"the credential {names[0]} is not there, and nothing was changed: put {KEY_BYTES} random bytes in a file of "
        "that name, in the folder that CREDENTIALS_DIRECTORY names"
    )


def _credentials(name: str) -> Iterator[bytes]:
    for each in (name, name + NEXT_CREDENTIAL):
        if (content := _credential(each)) is not None:
            yield content


def _credential(name: str) -> bytes | None:
    """A credential of this service; None when it was not given that one (systemd.exec(5))."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise KeyringError(f"the credential {path} can't be read: {exc.strerror}") from exc


def _derive(passphrase: bytes, salt: bytes, cost: dict[str, int]) -> bytes:
    kdf = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=cost["iterations"],
        lanes=cost["lanes"],
        memory_cost=cost["memory_kib"],
    )
    return kdf.derive(passphrase)


def _commitment(root: bytes) -> bytes:
    return expand(root, "gw/v1/root")
