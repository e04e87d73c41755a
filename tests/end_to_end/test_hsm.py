"""A running gateway whose root key lies in a token, while a command beside it replaces the master key (SoftHSM2)."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta

from gateway.clock import local_day
from gateway.vault.key_ids import until_id


async def gateway(village, *words):
    """A command beside the daemon, as an administrator's shell runs it; what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "--home", village.home, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_a_purge_beside_a_running_gateway(token, village, signal, csv_file):
    """It reads the root key anew from the token, by itself: files that came before are processed, others are received."""
    config = village.home / "config/gateway.toml"
    with config.open("a") as file:
        file.write(f'\n[keys.pkcs11]\nlibrary = "{token.library}"\ntoken = "{token.label}"\n')
    text = config.read_text().replace('# provider = "file"', 'provider = "pkcs11"')
    config.write_text(text)
    await gateway(village, "keys", "rotate-root")
    with village.opened() as opened:
        opened.keyring.ensure([until_id(local_day(opened.clock.now()) - timedelta(days=1))])
    await village.start()
    await village.put("woonservice", "huur.csv", csv_file(signal("w1")))
    with village.opened() as opened:
        before = opened.keyring.master()
    await gateway(village, "retention", "run")
    await village.put("dezorgkas", "zorg.csv", csv_file(signal("z1", sector="Zorg")))
    await village.idle()
    assert (await village.collect("woonservice")).statuses == [("w1", "D10")]
    lines = (await village.collect("middendrenthe")).lines
    assert {line["partner"] for line in lines} == {"dezorgkas", "woonservice"}
    with village.opened() as opened:
        assert opened.keyring.master() != before
        assert not opened.keyring.must_replace_master()
    assert await village.stop() == 0
