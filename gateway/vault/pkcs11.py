"""The root key sealed in a hardware security module (HSM), by PKCS#11 (OASIS PKCS #11 v2.40; spec 4, Keys).

The master key is AES-256, made in the token, sensitive and not extractable: it never leaves. It seals one thing
once, the root key, with AES-256-GCM and its own id as associated data. Who destroys it in the token has made
every copy of what it sealed unreadable, wherever that lies.

A session lasts for one operation. So there is none that a child process could inherit, and a token that was
taken out and put back, or a library that lost its connection, is found again at the next.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pkcs11

from gateway.errors import KeyringError
from gateway.vault.derive import length_prefixed

#: CKA_LABEL of every master key, for the tools of a token; it is found by its id.
LABEL = "gateway-root"

_ID_BYTES = 16
_NONCE_BYTES = 12
_TAG_BITS = 128

#: One at a time: the login belongs to the whole process (PKCS #11 v2.40, 2.6.4).
_LOCK = Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token, by its label, and the library that leads to it: `[keys.pkcs11]`."""

    library: Path
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What a token asks for. `is_handed` is False when a person typed it."""

    value: str = field(repr=False)
    is_handed: bool


#: Gets a PIN; KeyringError when there is none.
AskPin = Callable[[], Pin]

#: What people typed, and was right: it is needed again when the master key is replaced.
_typed: dict[Token, Pin] = {}


class MasterMissing(KeyringError):
    """The token holds no such master key: it was destroyed, or this is another token."""


def seal(token: Token, ask: AskPin, secret: bytes) -> dict[str, str]:
    """Make a master key in the token and seal `secret` with it: what a file must hold to open it again.

    Raises:
        KeyringError: it can't be done; no master key is left then.
    """
    master, nonce = secrets.token_bytes(_ID_BYTES), secrets.token_bytes(_NONCE_BYTES)
    with _session(token, ask) as session:
        key = session.generate_key(
            pkcs11.KeyType.AES,
            256,
            id=master,
            label=LABEL,
            store=True,
            capabilities=pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT,
            template={
                pkcs11.Attribute.PRIVATE: True,
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
                pkcs11.Attribute.MODIFIABLE: False,
            },
        )
        try:
            _check(key, master, token)
            sealed = _sealed(key, secret, _mechanism(master, nonce), token)
        except BaseException:
            key.destroy()
            raise
    return {
        "master": master.hex(),
        "nonce": b64encode(nonce).decode(),
        "sealed": b64encode(sealed).decode(),
    }


def unseal(token: Token, ask: AskPin, known: Mapping[str, object]) -> bytes:
    """What `seal` sealed.

    Raises:
        ValueError, KeyError, TypeError: `known` is not what `seal` gave.
        MasterMissing: its master key is not in the token.
        KeyringError: it can't be opened, or the master key could leave the token.
    """
    master, nonce, sealed = _parsed(known)
    with _session(token, ask) as session:
        key = _find(session, master)
        if key is None:
            raise MasterMissing(
                f"{_name(token)} holds no master key {master.hex()}: this is another token, or the key was replaced "
                "since this copy of keys/ was made, and then it opens nothing any more"
            )
        _check(key, master, token)
        if not isinstance(key, pkcs11.DecryptMixin):
            raise KeyringError(
                f"the master key {master.hex()} in {_name(token)} may not decrypt: it is a foreign one"
            )
        try:
            secret = key.decrypt(sealed, **_mechanism(master, nonce))
        except pkcs11.PKCS11Error as exc:  # tokens have many names for a wrong tag
            raise KeyringError(
                f"{_name(token)} does not open the root key: its file is damaged ({type(exc).__name__})"
            ) from exc
        assert isinstance(secret, bytes)
        return secret


def destroy(token: Token, ask: AskPin, master: str) -> None:
    """Destroy a master key in the token, and see that it is gone. May be repeated."""
    with _session(token, ask) as session:
        if (key := _find(session, bytes.fromhex(master))) is not None:
            key.destroy()
    # another session: what the first one has in memory is no proof
    with _session(token, ask) as session:
        if _find(session, bytes.fromhex(master)) is not None:
            raise KeyringError(f"{_name(token)} still holds the master key {master} after its destruction")


@contextmanager
def _session(token: Token, ask: AskPin) -> Iterator[pkcs11.Session]:
    """A session that is logged in, for one operation."""
    with _LOCK:
        try:
            with _opened(token, ask) as session:
                yield session
        except pkcs11.NoSuchToken as exc:
            raise KeyringError(
                f"{_name(token)} is not there: put it in, start its service, or correct [keys.pkcs11] in config/gateway.toml"
            ) from exc
        except pkcs11.PKCS11Error as exc:
            raise KeyringError(f"{_name(token)} does not work ({_why(exc)}): see its own log") from exc


def _opened(token: Token, ask: AskPin) -> pkcs11.Session:
    try:
        library = pkcs11.lib(str(token.library))
    except pkcs11.PKCS11Error as exc:
        raise KeyringError(
            f"the library {token.library} does not load ({_why(exc)}): install it, or correct [keys.pkcs11] library in "
            "config/gateway.toml"
        ) from exc
    try:
        return _logged_in(library.get_token(token_label=token.label), token, ask)
    except pkcs11.MultipleTokensReturned as exc:
        raise KeyringError(f'there are several tokens with the label "{token.label}": rename one') from exc
    except pkcs11.PKCS11Error:
        # a token that came, or came back, is seen by a library that begins again
        library.reinitialize()
        return _logged_in(library.get_token(token_label=token.label), token, ask)


def _logged_in(found: pkcs11.Token, token: Token, ask: AskPin) -> pkcs11.Session:
    """A session of the user. A wrong PIN is given once: after a few, a token locks itself for good."""
    flags = found.flags
    if flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
        raise KeyringError(
            f"{_name(token)} is locked after too many wrong PINs: its security officer unlocks it"
        )
    pin = _typed.get(token) or ask()
    if pin.is_handed and flags & (pkcs11.TokenFlag.USER_PIN_COUNT_LOW | pkcs11.TokenFlag.USER_PIN_FINAL_TRY):
        raise KeyringError(
            f"the last PIN that {_name(token)} was given was wrong, and the credential is not tried: a few wrong ones "
            "lock it. Correct the credential, then type the PIN once at a terminal: gateway keys verify"
        )
    try:
        session = found.open(rw=True, user_pin=pin.value)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as exc:
        _typed.pop(token, None)
        raise KeyringError(
            f"{_name(token)} says that the PIN is wrong, and it is not tried again: a few wrong ones lock it"
        ) from exc
    except pkcs11.PinLocked as exc:
        raise KeyringError(f"{_name(token)} is locked: its security officer unlocks it") from exc
    if not pin.is_handed:
        _typed[token] = pin
    return session


def _find(session: pkcs11.Session, master: bytes) -> pkcs11.SecretKey | None:
    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, pkcs11.Attribute.ID: master}
    found = list(session.get_objects(wanted))
    if len(found) > 1:
        raise KeyringError(
            f"the token holds {len(found)} keys with the id {master.hex()}: remove the foreign one"
        )
    key = found[0] if found else None
    assert key is None or isinstance(key, pkcs11.SecretKey)
    return key


def _sealed(key: pkcs11.SecretKey, secret: bytes, how: dict[str, Any], token: Token) -> bytes:
    """Sealed, and seen to open: some tokens take a nonce of their own choice."""
    assert isinstance(key, pkcs11.EncryptMixin)
    assert isinstance(key, pkcs11.DecryptMixin)
    sealed = key.encrypt(secret, **how)
    if key.decrypt(sealed, **how) != secret:
        raise KeyringError(f"{_name(token)} does not open what it sealed: it can't be used")
    assert isinstance(sealed, bytes)
    return sealed


def _check(key: pkcs11.SecretKey, master: bytes, token: Token) -> None:
    """Refuse a master key that could leave the token, or ever could: its copies would outlive it."""
    wanted = {
        pkcs11.Attribute.SENSITIVE: True,
        pkcs11.Attribute.ALWAYS_SENSITIVE: True,
        pkcs11.Attribute.EXTRACTABLE: False,
        pkcs11.Attribute.NEVER_EXTRACTABLE: True,
    }
    if wrong := [each.name for each, value in wanted.items() if key[each] is not value]:
        raise KeyringError(
            f"the master key {master.hex()} in {_name(token)} is refused for its {', '.join(wrong)}: it could leave the "
            "token, and destroying it would prove nothing"
        )


def _parsed(known: Mapping[str, object]) -> tuple[bytes, bytes, bytes]:
    nonce, sealed = (b64decode(str(known[name]), validate=True) for name in ("nonce", "sealed"))
    master = bytes.fromhex(str(known["master"]))
    if (len(master), len(nonce)) != (_ID_BYTES, _NONCE_BYTES):
        raise ValueError("not what was sealed here")
    return master, nonce, sealed


def _mechanism(master: bytes, nonce: bytes) -> dict[str, Any]:
    associated = length_prefixed("gw/v1/root") + length_prefixed(master.hex())
    return {
        "mechanism": pkcs11.Mechanism.AES_GCM,
        "mechanism_param": pkcs11.GCMParams(nonce, associated, _TAG_BITS),
    }


def _name(token: Token) -> str:
    return f'the token "{token.label}"'


def _why(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
