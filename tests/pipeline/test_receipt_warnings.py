"""A receipt warns its reader of a key that ends soon (spec 1, A partner's key)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.domain.partner import PartnerKey


@pytest.mark.parametrize("content", [None, b"none;of;our;columns\n1;2;3;4\n"], ids=["processed", "refused"])
def test_a_receipt_warns_of_a_key_that_ends_soon(world, row, content):
    """From 30 days before the end on, whatever became of the file; nobody else's receipt has a word of it."""
    now = world.clock.now()
    ends = (timedelta(days=30), timedelta(days=30, hours=1), timedelta(0), None)
    keys = tuple(
        PartnerKey(
            public_key="", fingerprint=f"SHA256:{place}", valid_until=None if end is None else now + end
        )
        for place, end in enumerate(ends)
    )
    partners = world.context.partners
    world.configure(partners={**partners, "woonservice": replace(partners["woonservice"], keys=keys)})
    receipt = world.send("woonservice", row("s1"), content=content)
    assert receipt["resultaat"] == ("geweigerd" if content else "verwerkt")
    assert receipt["sleutels"] == [{"vingerafdruk": "SHA256:0", "laatste_dag": "2026-12-03"}]
    assert "sleutels" not in world.send("dezorgkas", row("s2", sector="Zorg"))
