"""The home folder of one gateway: where everything lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The folders and files of the home at `root`; none of them needs to exist."""

    root: Path

    @property
    def config(self) -> Path:
        """What the administrator writes."""
        return self.root / "config"

    @property
    def gateway_file(self) -> Path:
        """The gateway's own settings: what makes a folder a home."""
        return self.config / "gateway.toml"

    @property
    def keys(self) -> Path:
        """Host key, root key, keyring, audit signing key; never inside `data`."""
        return self.root / "keys"

    @property
    def host_key(self) -> Path:
        """The SSH host key."""
        return self.keys / "host_ed25519"

    @property
    def data(self) -> Path:
        """What is backed up."""
        return self.root / "data"

    @property
    def vault(self) -> Path:
        """The sealed blobs."""
        return self.data / "vault"

    @property
    def db(self) -> Path:
        """The database."""
        return self.data / "gateway.db"

    @property
    def reserve(self) -> Path:
        """Room that is kept back while the gateway runs, for when the disk is full."""
        return self.data / "reserve"

    @property
    def reference(self) -> Path:
        """The table of Statistics Netherlands (CBS), once loaded."""
        return self.data / "reference.db"

    @property
    def run(self) -> Path:
        """What exists while the gateway runs."""
        return self.data / "run"

    @property
    def status_file(self) -> Path:
        """Written when the gateway is ready: `port`, `pid`, `host_key`."""
        return self.run / "gateway.json"

    @property
    def log(self) -> Path:
        """The audit log's tiles and checkpoint; outside `data`."""
        return self.root / "log"
