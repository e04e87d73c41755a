"""The manifest that goes with each file in an outbox (spec 2, For a municipality)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from gateway import __version__


def render_manifest(
    *, name: str, size: int, sha256: str, rows: int, municipality: str, created_at: datetime, expires_on: date
) -> bytes:
    """The manifest as JSON: `name`, `bytes`, `sha256`, `rows`, `gemeentecode`, `created`, `expires`, `gateway`.

    Args:
        name: of the file it describes.
        size: of that file, in bytes.
        sha256: of that file's bytes, in hex.
        rows: lines of that file without its header.
        municipality: `GM` + four digits.
        created_at: when the file was made; written in UTC, to the second.
        expires_on: the last day on which the gateway holds the file.
    """
    manifest = {
        "name": name,
        "bytes": size,
        "sha256": sha256,
        "rows": rows,
        "gemeentecode": municipality,
        "created": f"{created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "expires": expires_on.isoformat(),
        "gateway": __version__,
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()
