"""Public keys of partners and the gateway's own host key (spec 1, A partner's key)."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from gateway.vault.durable import create_file

#: Algorithms a partner may sign with; RSA besides, from `RSA_BITS`.
_ALGORITHMS = frozenset(
    {
        b"ssh-ed25519",
        b"ecdsa-sha2-nistp256",
        b"ecdsa-sha2-nistp384",
        b"sk-ssh-ed25519@openssh.com",
        b"sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
#: The shortest RSA key that is accepted.
RSA_BITS = 3072


def parse_public_key(line: str) -> tuple[str, str]:
    """A partner's public key as one OpenSSH line without comment, and its `SHA256:…` fingerprint.

    What PuTTYgen saves (RFC 4716) is read too.

    Raises:
        ValueError: not a public key, or one of a kind or size that is not accepted; the text says what to do.
    """
    text = line.strip()
    if "PRIVATE KEY" in text:
        raise ValueError(
            "this is a private key: it must stay with its owner; give the file that ends in .pub"
        )
    # a comment may hold any character; PuTTYgen writes RFC 4716, many lines between dashes
    bare = text if text.startswith("----") else " ".join(text.split()[:2])
    try:
        key = asyncssh.import_public_key(bare)
    except (asyncssh.KeyImportError, UnicodeError) as exc:
        raise ValueError("not a public key: give one line such as `ssh-ed25519 AAAA…`") from exc
    _check_kind(key)
    key.set_comment(None)
    return key.export_public_key("openssh").decode("ascii").strip(), key.get_fingerprint()


def _check_kind(key: asyncssh.SSHKey) -> None:
    if key.algorithm == b"ssh-rsa":
        bits: int = key.pyca_key.key_size  # type: ignore[union-attr]  # an RSA key, by its algorithm
        if bits < RSA_BITS:
            raise ValueError(
                f"RSA with {bits} bits is too short: make one with `ssh-keygen -t ed25519` (or RSA, {RSA_BITS} bits)"
            )
    elif key.algorithm not in _ALGORITHMS:
        kind = key.algorithm.decode("ascii", "replace")
        raise ValueError(f"{kind} is not accepted: make a key with `ssh-keygen -t ed25519`")


def create_host_key(path: Path) -> str:
    """Make the gateway's Ed25519 host key at `path` (0600) with `path`.pub beside it; its fingerprint.

    Raises:
        FileExistsError: there is a file at `path` already.
    """
    return create_key(path, comment="gateway")


def create_key(path: Path, *, comment: str, algorithm: str = "ssh-ed25519") -> str:
    """Make a key at `path` (0600) with `path`.pub beside it, as `ssh-keygen` does; its fingerprint.

    Raises:
        FileExistsError: there is a file at `path` already.
    """
    key = asyncssh.generate_private_key(algorithm, comment=comment)
    create_file(path, key.export_private_key("openssh"))
    create_file(path.with_name(f"{path.name}.pub"), key.export_public_key("openssh"), mode=0o644)
    return key.get_fingerprint()


def host_key_fingerprint(path: Path) -> str:
    """The `SHA256:…` fingerprint by which partners know the gateway.

    Raises:
        OSError: the file can't be read.
        ValueError: it is not a private key.
    """
    try:
        return asyncssh.read_private_key(path).get_fingerprint()
    except asyncssh.KeyImportError as exc:
        raise ValueError(f"{path.name} is not a private key") from exc
