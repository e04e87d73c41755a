"""A home with a country in it: its municipalities, creditors, their keys and the table of addresses, in a second.

And deliveries, put in as the exchange leaves them, for figures of what comes after it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy import insert

from bench.month import Creditor, reference
from gateway.cli.init import make_home
from gateway.clock import Clock
from gateway.domain.delivery import DeliveryState
from gateway.domain.retention import raw_due
from gateway.gateway import Gateway, open_gateway
from gateway.pipeline.context import Context
from gateway.pipeline.sealing import store_key
from gateway.settings import Home
from gateway.settings.gemeenten import gemeente_names
from gateway.store import outgoing
from gateway.store import reference as table
from gateway.store.tables import Delivery
from gateway.vault import objects
from gateway.vault.datakey import DataKey
from gateway.vault.ids import new_id
from gateway.vault.stream import Sealer

#: Nobody's quota and no visitor's limit is what is measured.
LIMITS = '[limits]\nsessions = 10_000\nbytes_per_day = "1000 GiB"\nfiles_per_day = 1_000_000\n'
GUARD = "[guard]\nconnections = 10_000\nconnections_per_address = 10_000\n"
FILE = '[limits]\nfile = "4 GiB"\n'


def make_country(
    root: Path,
    creditors: Iterable[Creditor],
    *,
    municipalities: Sequence[str] = (),
    settle_s: float = 5,
    when: str = "arrival",
) -> Path:
    """A home in `root / "home"`, and each partner's private key in `root / "keys" / <its id>`; the home.

    Args:
        root: an empty folder.
        creditors: who sends.
        municipalities: their codes; all 342 if not given. Each is served by a partner of its own, `gm0014`.
        settle_s: seconds between the first signal that waits and publication, with `when = "arrival"`.
        when: when municipalities publish: "arrival", or a cron line.
    """
    root.mkdir(parents=True, exist_ok=True)
    home = Home(root=root / "home")
    make_home(home)
    keys = root / "keys"
    keys.mkdir(mode=0o700)
    partners = home.config / "partners"
    for creditor in creditors:
        own = f'role = "creditor"\nsectors = ["{creditor.sector}"]'
        (partners / f"{creditor.id}.toml").write_text(_partner(keys, creditor.id, own))
    for code in municipalities or gemeente_names():
        name = server_of(code)
        own = f'role = "municipality"\nserves = ["{code}"]'
        (partners / f"{name}.toml").write_text(_partner(keys, name, own))
        (home.config / "municipalities" / f"{code}.toml").write_text(
            f'[publish]\nwhen = "{when}"\nsettle_s = {settle_s}\n'
        )
    home.gateway_file.write_text(FILE + GUARD)
    home.reference.write_bytes(_addresses())
    return home.root


def server_of(code: str) -> str:
    """The partner that serves a municipality."""
    return code.lower()


def open_country(home: Path, clock: Clock | None = None) -> Gateway:
    """Its gateway, with the keys that files and signals need."""
    gateway = open_gateway(home, clock)
    gateway.make_keys()
    return gateway


def copy_country(home: Path, to: Path) -> Path:
    """The same home elsewhere: what is measured twice begins alike."""
    shutil.copytree(home, to)
    return to


def put(context: Context, partner_id: str, content: bytes) -> str:
    """A file is received, as the exchange leaves it: it waits in the queue; the delivery's id."""
    delivery_id, data_key, now = new_id("L", 16), DataKey.generate(), context.clock.now()
    due_on = raw_due(now, context.terms)
    blob = context.blobs.create()
    place = objects.received_file(partner=partner_id, delivery=delivery_id)
    sealer = Sealer(data_key.file_key(delivery_id), place, blob.write)
    sealer.write(content)
    sealer.finish()
    blob.commit()
    row_key = data_key.row_key()
    with context.store.write() as conn:
        number = outgoing.last_number(conn, "arrival") + 1
        outgoing.use_number(conn, "arrival", number)
        conn.execute(
            insert(Delivery.__table__).values(  # type: ignore[attr-defined]
                id=delivery_id,
                partner_id=partner_id,
                state=DeliveryState.ARRIVED,
                opened_at=now,
                closed_at=now,
                received_at=now,
                arrival=number,
                blob=blob.name,
                size_bytes=len(content),
                sealed_bytes=sealer.sealed_bytes,
                sealed_sha256=sealer.sha256(),
                name_sealed=objects.seal_name(row_key, delivery_id, "signalen.csv"),
                sha256_sealed=objects.seal_digest(row_key, delivery_id, sha256(content).digest()),
                raw_due_on=due_on,
                is_trial=False,
            )
        )
        store_key(context, conn, data_key, object_id=delivery_id, partner_id=partner_id, due_on=due_on)
    return delivery_id


def _partner(keys: Path, name: str, own: str) -> str:
    """A partner's file, with a key that is made for it."""
    key = Ed25519PrivateKey.generate()
    path = keys / name
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return partner_file(
        name, own, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    )


def partner_file(name: str, own: str, public_key: str) -> str:
    """What an administrator may write of a partner; `own` is its role and what comes with that."""
    return f'id = "{name}"\nname = "{name}"\n{own}\n\n{LIMITS}\n[[keys]]\npublic_key = "{public_key}"\n'


@cache
def _addresses() -> bytes:
    """The table of addresses, which is the same in every home: made once."""
    with TemporaryDirectory(prefix="gateway-bench-") as folder:
        path = Path(folder) / "addresses"
        table.load(path, reference())
        return path.read_bytes()
