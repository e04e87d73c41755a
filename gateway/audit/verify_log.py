#!/usr/bin/env python3
"""Check the gateway's audit log without the gateway: Python 3.8 or later, its standard library, and nothing else.

    python3 verify_log.py                       the log in the folder of this file
    python3 verify_log.py --log FOLDER          a log elsewhere
    python3 verify_log.py --kept CHECKPOINT     the log must continue a checkpoint that you kept earlier
    python3 verify_log.py ../verklaringen/*.json    these certificates must be in the log, unaltered

It checks that the checkpoint is signed with the log's key (audit.pub), that the entries give exactly the root
that was signed, and that the tiles hold their hashes. The contents of old entries go after the log's term: then
their hashes give the root, and an entry must say from where on contents are held. Compare audit.pub with the one you were given at the
start: who can replace the log can replace the key beside it. Ends with 0 when all is well, else with 1.

Sources: RFC 6962 (tree), RFC 8032 (Ed25519), https://c2sp.org/tlog-tiles, https://c2sp.org/tlog-checkpoint
"""

from __future__ import annotations

import argparse
import base64
import datetime
import hashlib
import json
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

WIDTH = 256
# no term of a log is shorter than seven years
SHORTEST_TERM = datetime.timedelta(days=7 * 365)


class Problem(Exception):
    """The log does not verify; the text says why."""


# -- Ed25519 (RFC 8032, section 6) -----------------------------------------------------------------

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def _add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    u, v = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = t - s, v - u, v + u, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: tuple[int, ...]) -> tuple[int, ...]:
    sum_: tuple[int, ...] = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            sum_ = _add(sum_, point)
        point = _add(point, point)
        scalar >>= 1
    return sum_


def _same(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def _point(data: bytes) -> tuple[int, ...]:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise Problem("the key or the signature is not a point of Ed25519")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` was made with the key of `public`."""
    if len(public) != 32 or len(signature) != 64:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    if scalar >= Q:
        return False
    base_y = 4 * pow(5, P - 2, P) % P
    base = _point(base_y.to_bytes(32, "little"))
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    hashed = int.from_bytes(digest, "little") % Q
    return _same(_times(scalar, base), _add(_point(signature[:32]), _times(hashed, _point(public))))


# -- the tree (RFC 6962, section 2.1) --------------------------------------------------------------


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """The root over hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    while len(hashes) > 1:
        pairs = [
            hashlib.sha256(b"\x01" + hashes[i] + hashes[i + 1]).digest() for i in range(0, len(hashes) - 1, 2)
        ]
        hashes = pairs + ([hashes[-1]] if len(hashes) % 2 else [])
    return hashes[0]


# -- the files -------------------------------------------------------------------------------------


def read_key(path: Path) -> bytes:
    """The 32 bytes of an Ed25519 public key in PEM form."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("-")]
    der = base64.b64decode("".join(lines))
    if len(der) != 44 or der[:12] != bytes.fromhex("302a300506032b6570032100"):
        raise Problem(f"{path} holds no Ed25519 public key")
    return der[12:]


def read_checkpoint(note: str, public: bytes) -> tuple[int, bytes]:
    """Size and root that a signed checkpoint states, once its signature is checked."""
    text, _, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if len(lines) < 3 or not lines[1].isdigit():
        raise Problem("that is not a checkpoint")
    origin = lines[0]
    expected = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    for line in signatures.splitlines():
        words = line.split(" ")
        if len(words) != 3 or words[:2] != ["—", origin]:
            continue
        signature = base64.b64decode(words[2])
        if signature[:4] == expected and ed25519_verifies(public, f"{text}\n".encode(), signature[4:]):
            return int(lines[1]), base64.b64decode(lines[2])
    raise Problem("the checkpoint is not signed with the key of this log")


def tile_path(log: Path, level: str, number: int) -> Path:
    """Where a full tile lies; a partial one lies in the folder of that name and `.p`."""
    groups = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03}")
    return log.joinpath("tile", level, *groups)


def read_tile(log: Path, level: str, number: int, width: int) -> bytes:
    """A tile of at least `width`: the log may have grown while it was fetched."""
    full = tile_path(log, level, number)
    if full.is_file():
        return full.read_bytes()
    folder = full.with_name(full.name + ".p")
    widths = sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
    for found in widths:
        if found >= width:
            return (folder / str(found)).read_bytes()
    raise Problem(f"{full.relative_to(log)} is missing, or too short for the checkpoint")


def read_entries(log: Path, size: int) -> tuple[dict[int, bytes], list[bytes], int]:
    """Of the first `size` entries: those that are held by place, the hashes of all, and from where on all are held."""
    entries: dict[int, bytes] = {}
    hashes: list[bytes] = []
    held_from = 0
    for number in range(-(-size // WIDTH)):
        width = min(WIDTH, size - number * WIDTH)
        if width == WIDTH and not tile_path(log, "entries", number).is_file():
            tile = read_tile(log, "0", number, width)
            hashes += [tile[at : at + 32] for at in range(0, 32 * width, 32)]
            held_from = len(hashes)
            continue
        bundle, at, found = read_tile(log, "entries", number, width), 0, 0
        while at < len(bundle) and found < width:
            (length,) = struct.unpack_from(">H", bundle, at)
            entry = bundle[at + 2 : at + 2 + length]
            if len(entry) != length:
                raise Problem(f"bundle {number} of entries is cut off")
            entries[len(hashes)] = entry
            hashes.append(leaf_hash(entry))
            at, found = at + 2 + length, found + 1
        if found < width:
            raise Problem(f"bundle {number} holds {found} entries where the checkpoint needs {width}")
    return entries, hashes, held_from


def check_term(entries: Iterable[bytes], held_from: int) -> None:
    """What is not held any more went by the log's term, says an entry that is held."""
    said = 0
    for entry in entries:
        if not entry.startswith(b'{"action":"log.pruned",'):
            continue
        try:
            fields = json.loads(entry)
            day = datetime.date.fromisoformat(fields["time"][:10])
            before = datetime.date.fromisoformat(fields["detail"]["before"])
            said = max(said, int(fields["detail"]["held_from"]))
        except (ValueError, TypeError, KeyError) as error:
            raise Problem("an entry says that others were let go, and can't be read") from error
        if day - before < SHORTEST_TERM:
            raise Problem(f"entries of before {before} were let go on {day}: that is before their term")
    if held_from > said:
        raise Problem(
            f"bundle {held_from // WIDTH - 1} of entries is missing, and no entry says that it went by its term"
        )


def check_tiles(log: Path, leaves: list[bytes]) -> int:
    """Compare every tile with the hashes of the entries; how many tiles there are."""
    hashes, level, count = leaves, 0, 0
    while hashes:
        for number in range(-(-len(hashes) // WIDTH)):
            part = hashes[number * WIDTH : (number + 1) * WIDTH]
            tile = read_tile(log, str(level), number, len(part))
            if tile[: 32 * len(part)] != b"".join(part):
                raise Problem(f"tile {number} of level {level} does not hold the hashes of the entries")
            count += 1
        hashes = [root_of(hashes[i : i + WIDTH]) for i in range(0, len(hashes) - len(hashes) % WIDTH, WIDTH)]
        level += 1
    return count


def check(log: Path, key: Path, kept: list[Path], files: list[Path]) -> str:
    """Check all of it; one sentence that says what was seen. Raises Problem."""
    public = read_key(key)
    size, root = read_checkpoint((log / "checkpoint").read_text(encoding="utf-8"), public)
    entries, leaves, held_from = read_entries(log, size)
    if root_of(leaves) != root:
        raise Problem("the entries are not those that were signed: the log was altered")
    check_term(entries.values(), held_from)
    tiles = check_tiles(log, leaves)
    for path in kept:
        old_size, old_root = read_checkpoint(path.read_text(encoding="utf-8"), public)
        if old_size > size or root_of(leaves[:old_size]) != old_root:
            raise Problem(f"the log does not continue {path}: what you saw then was altered or removed")
    text = b"\n".join(entries.values())
    for path in files:
        if hashlib.sha256(path.read_bytes()).hexdigest().encode() not in text:
            raise Problem(
                f"{path} is not in the log: it was altered, or is newer than this checkpoint"
                + (f", or older than entry {held_from}, the first that is held" if held_from else "")
            )
    begun = [place for place, entry in entries.items() if entry.startswith(b'{"action":"log.restored",')]
    said = f"{size} entries, {tiles} tiles, root {base64.b64encode(root).decode()}"
    if held_from:
        said += f"\ncontents are held from entry {held_from} on: what came before went by its term, its hashes stay"
    said += "".join(
        f"\nit began again at entry {number}, after a loss: what came before may lack entries"
        for number in begun
    )
    return said + "".join(f"\nin the log: {path}" for path in files)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Check the gateway's audit log without the gateway.")
    here = Path(__file__).resolve().parent
    parser.add_argument(
        "--log", type=Path, default=here, help="the folder of the log; this file's by default"
    )
    parser.add_argument(
        "--key", type=Path, help="the public key that you trust; audit.pub of the log by default"
    )
    parser.add_argument("--kept", type=Path, action="append", default=[], help="a checkpoint of earlier")
    parser.add_argument(
        "files", type=Path, nargs="*", help="certificates (.json, .txt) that must be in the log"
    )
    told = parser.parse_args()
    try:
        said = check(told.log, told.key or told.log / "audit.pub", told.kept, told.files)
    except (Problem, OSError, ValueError) as problem:
        sys.stdout.write(f"NOT WHOLE: {problem}\n")
        return 1
    sys.stdout.write(f"The log is whole: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
