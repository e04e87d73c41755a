"""A partner's computer: a folder, a key of its own, and OpenSSH's sftp, which knows nothing of the gateway."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.errors import ConfigError, TransferError
from gateway.exchange.keys import create_key
from gateway.vault.durable import create_file

#: What a partner gets of a box: of the outbox the meldingen and their manifests, and no certificates.
_WANTED = {"outbox": "meldingen_*", "returns": "*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One partner's side of the line; `port` is the gateway's on loopback."""

    partner_id: str
    folder: Path
    port: int = 0
    #: files that it told the gateway it has
    told: set[str] = field(default_factory=set)

    @property
    def private_key(self) -> Path:
        """What it proves with who it is."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """By which key it knows the gateway."""
        return self.folder / "known_hosts"

    @property
    def public_key(self) -> Path:
        """What the partner sends the administrator."""
        return self.folder / "id_ed25519.pub"

    @property
    def sent(self) -> Path:
        """What it uploaded."""
        return self.folder / "sent"

    @property
    def received(self) -> Path:
        """What it collected."""
        return self.folder / "received"

    def knows(self, port: int, host_key: str) -> Client:
        """The same client, told where the gateway is and by which key to know it (one `.pub` line)."""
        create_file(self.known_hosts, f"[127.0.0.1]:{port} {host_key}".encode())
        return replace(self, port=port)

    async def put(self, name: str, data: bytes, *, rename: bool = False) -> None:
        """Upload a file to the inbox; with `rename`, under a temporary name until all of it is there.

        Raises:
            TransferError: sftp failed.
        """
        path = self.sent / name
        path.write_bytes(data)
        if rename:
            await self._run(f'put "{path}" inbox/{name}.part', f"rename inbox/{name}.part inbox/{name}")
        else:
            await self._run(f'put "{path}" inbox/{name}')

    async def collect(self, *boxes: str) -> int:
        """Get what is new in the boxes, after telling that the earlier files are had; how many are new.

        Raises:
            TransferError: sftp failed.
        """
        had = {path.name for path in self.received.iterdir()}
        fresh = sorted(had - self.told)
        batch = [f"-rm {box}/{name}" for box in boxes for name in fresh if _lies_in(name, box)]
        # an empty box is no mistake
        batch += [f'-get {box}/{_WANTED[box]} "{self.received}/"' for box in boxes]
        await self._run(*batch)
        self.told.update(fresh)
        return sum(path.name not in had for path in self.received.iterdir())

    async def _run(self, *batch: str) -> None:
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": f'"{self.known_hosts}"',
            "GlobalKnownHostsFile": "/dev/null",
        }
        process = await asyncio.create_subprocess_exec(
            *("sftp", "-q", "-b", "-", "-F", "/dev/null", "-P", str(self.port)),
            *("-i", str(self.private_key)),
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
            f"{self.partner_id}@127.0.0.1",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate("\n".join([*batch, ""]).encode())
        if process.returncode:
            last = output.decode(errors="replace").strip().rpartition("\n")[2]
            raise TransferError(f"sftp of {self.partner_id} failed: {last}")


def make_client(partners: Path, partner_id: str) -> Client:
    """A partner's folder below `partners`, with a fresh key.

    Raises:
        ConfigError: there is no sftp on this machine.
    """
    if shutil.which("sftp") is None:
        raise ConfigError(
            "the demo uploads with OpenSSH's sftp, which is not here: apt install openssh-client"
        )
    client = Client(partner_id=partner_id, folder=partners / partner_id)
    for folder in (client.sent, client.received):
        folder.mkdir(parents=True)
    create_key(client.private_key, comment=partner_id)
    return client


def _lies_in(name: str, box: str) -> bool:
    """A municipality's outbox holds meldingen and their manifests, everything else is a return."""
    return name.startswith("meldingen_") == (box == "outbox")
