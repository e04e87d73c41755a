"""A peak day, small: slow, cut off and hostile partners beside others, while a municipality reads and a purge runs."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path

from gateway.clock import SteppedClock, SystemClock
from gateway.domain.delivery import DeliveryState
from gateway.gateway import open_gateway
from gateway.pipeline.worker import publish_now, step
from gateway.store.tables import Delivery

sys.path.append(str(Path(__file__).parents[2]))
from bench.crowd import Crowd, Kind, Visit, visit_all
from bench.peak_day import receive

CREDITORS = ("woonservice", "dezorgkas", "stroomhuis")
#: What was received so long ago goes with a purge of today.
LONG_AGO = timedelta(days=215)


def received_long_ago(village, signal, csv_file):
    """Signals that were passed on, and whose term is over."""
    clock = SteppedClock(SystemClock().now() - LONG_AGO)
    gateway = open_gateway(village.home, clock)
    gateway.make_keys()
    rows = (signal(f"oud{number}", huisnummer=number) for number in range(1, 60))
    receive(gateway, "woonservice", village.local(csv_file(*rows)))
    while step(gateway.pipeline()):
        pass
    publish_now(gateway.pipeline(), ["GM1731"])
    gateway.close()


def received_just_now(village, signal, csv_file):
    """Signals that lie ready for the municipality, and stay."""
    with village.opened() as gateway:
        gateway.make_keys()
        receive(gateway, "vitens", village.local(csv_file(signal("nu1", sector="Water"))))
        while step(gateway.pipeline()):
            pass
        publish_now(gateway.pipeline(), ["GM1731"])


def visits(folder, signal, csv_file):
    """Twelve uploads within a second, of which three are slow and three are cut off; two attacks; two readings."""
    made = []
    for number in range(12):
        partner = CREDITORS[number % 3]
        rows = [
            signal(f"p{number}-{row}", sector=("Huur", "Zorg", "Energie")[number % 3], huisnummer=row)
            for row in range(1, 30)
        ]
        path = folder / f"peak-{number}.csv"
        path.write_bytes(csv_file(*rows))
        kind = (Kind.SLOW, Kind.DROPPING, Kind.UPLOAD, Kind.UPLOAD)[number % 4]
        made.append(Visit(kind=kind, partner=partner, at_s=number / 12, file=str(path)))
    made += [Visit(kind=Kind.HOSTILE, partner="vitens", at_s=at) for at in (0.1, 0.3)]
    return made + [Visit(kind=Kind.READER, partner="middendrenthe", at_s=at) for at in (0.2, 0.8)]


async def test_nobody_pays_for_the_others(village, signal, csv_file, tmp_path):
    """No honest partner fails, the hostile one gets nothing, and every file that was acknowledged is processed once."""
    received_long_ago(village, signal, csv_file)
    received_just_now(village, signal, csv_file)
    config = village.home / "config" / "gateway.toml"
    config.write_text(config.read_text().replace("[guard]", '[guard]\nsafe_networks = ["127.0.0.1/32"]'))
    await village.start()
    keys = {partner: str(key) for partner, key in village.keys.items()}
    crowd = Crowd(port=village.port, keys=keys, visits=visits(tmp_path, signal, csv_file), seed=1)
    with village.opened() as gateway:
        told, report = await asyncio.gather(
            visit_all(crowd, time.monotonic()), asyncio.to_thread(gateway.purge, origin="cli")
        )
    assert [each.failure for each in told.outcomes if each.failure] == []
    assert (report.counts["signals"], report.errors) == (59, ())
    assert sum(each.read for each in told.outcomes) >= 1
    await village.idle()
    assert await village.stop() == 0
    with village.opened() as gateway, gateway.store.read() as conn:
        table = Delivery.__table__
        rows = conn.execute(table.select().where(table.c.partner_id.in_(CREDITORS))).mappings().all()
    processed = [row for row in rows if row["state"] == DeliveryState.PROCESSED]
    assert [(row["new_count"], row["row_count"]) for row in processed] == [(29, 29)] * 12
    # what was cut off: nothing of it is left but that it came
    others = {row["state"] for row in rows} - {DeliveryState.PROCESSED}
    assert others <= {DeliveryState.ABORTED, DeliveryState.PURGED}
    assert sum(each.received for each in told.outcomes) == 12
