"""What the gateway agrees to in SSH: one profile for partners of today, one for products of yesterday.

Sources: reference/security.md 7.1, RFC 9142 (which algorithms to offer), ADR 6 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain.host_key import HostKeyKind

#: What a partner's key may sign with: the same at every listener.
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a listener offers, each list in the order of preference."""

    kex: tuple[str, ...]
    ciphers: tuple[str, ...]
    macs: tuple[str, ...]
    host_keys: tuple[HostKeyKind, ...]


#: ssh-audit finds no failure with these and an Ed25519 host key.
MODERN = Profile(
    kex=("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org"),
    ciphers=(
        "aes256-gcm@openssh.com",
        "aes128-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "aes256-ctr",
    ),
    macs=(
        "hmac-sha2-512-etm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        # curl with libssh2 before 1.11, Debian 12's, knows no others; to ssh-audit a warning, no failure
        "hmac-sha2-512",
        "hmac-sha2-256",
    ),
    host_keys=(HostKeyKind.ED25519,),
)

#: For products without Curve25519 and Ed25519, such as JSch 0.1.54; still no SHA-1, CBC or RSA host key.
LEGACY = Profile(
    kex=(*MODERN.kex, "ecdh-sha2-nistp384", "diffie-hellman-group16-sha512", "diffie-hellman-group14-sha256"),
    ciphers=(*MODERN.ciphers, "aes192-ctr", "aes128-ctr"),
    macs=MODERN.macs,
    host_keys=(HostKeyKind.ED25519, HostKeyKind.ECDSA),
)
