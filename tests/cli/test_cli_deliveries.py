"""`gateway deliveries`: a file that failed is tried again or refused, and its partner's later ones come through."""

from __future__ import annotations

import json

import pytest

from gateway.cli.opened import actor

ROW = "s1;Huur;k1;Bakker;7938PL;18;600;60;J"
LATER = "s2;Huur;k2;Visser;7938PL;26;300;60;J"
REASON = "De kolom met Koolstra is verschoven; stuur het bestand opnieuw."


@pytest.fixture
def failed(house) -> str:
    """A delivery on which the worker crashed five times, and a later one of its partner behind it."""
    delivery_id = house.fail("woonservice", ROW)
    house.receive("woonservice", "later.csv", house.write("later.csv", LATER).read_bytes())
    return delivery_id


def _entries(house, delivery_id: str) -> list[tuple[str, str, str, str]]:
    shown = house.json("audit", "show", "--last", "500")
    wanted = ("delivery.retried", "delivery.rejected")
    return [
        (each["action"], each["result"], each["origin"], each["actor"])
        for each in shown
        if each["object"] == delivery_id and each["action"] in wanted
    ]


def test_a_failed_file_waits_for_a_person(house, failed):
    """It is listed and told with what to do, holds back its partner's later one, and no script waits in vain."""
    house.serve()
    states = [(each["id"] == failed, each["state"]) for each in house.json("deliveries", "list")]
    assert states == [(True, "failed"), (False, "arrived")]
    assert house.json("deliveries", "list", "--partner", "dezorgkas") == []
    stuck = house.run("wait", "--idle", "--timeout", "60")
    assert stuck.code == 1
    assert "2 received files wait for you: gateway deliveries list --state failed" in stuck.err
    (told,) = house.json("status")["failed"]
    assert (told["id"], told["attempts"], told["behind"]) == (failed, 5, 1)
    assert f"gateway deliveries retry {failed}" in house.run("status").out


def test_a_failed_file_is_tried_again(house, failed):
    """Retry: it comes through before what came after it, and who ordered it is on record."""
    house.serve()
    again = house.run("deliveries", "retry", failed)
    assert (again.code, again.out) == (0, f"✓ {failed} is in line again\n")
    assert house.run("wait", "--idle", "--timeout", "60").code == 0
    done = house.json("deliveries", "list", "--state", "processed")
    assert [(each["id"] == failed, each["rows"]["new"]) for each in done] == [(True, 1), (False, 1)]
    # it had all its attempts before it again, and needed one
    assert [each["attempts"] for each in done] == [1, 1]
    assert _entries(house, failed) == [("delivery.retried", "ok", "cli", actor())]


def test_a_failed_file_is_refused(house, failed):
    """Reject: its sender reads why in a receipt with sums 0, the later one comes through, nothing of it counts."""
    house.serve()
    refused = house.run("deliveries", "reject", failed, "--reason", REASON)
    assert refused.code == 0, refused.err
    assert house.run("wait", "--idle", "--timeout", "60").code == 0
    receipt = json.loads(house.collect("woonservice", "returns")[f"ontvangst_{failed}.json"])
    assert receipt["resultaat"] == "geweigerd"
    assert receipt["bestand"]["naam"] == "signalen.csv"
    assert len(receipt["bestand"]["sha256"]) == 64
    assert len(house.json("deliveries", "show", failed)["sealed_sha256"]) == 64
    assert receipt["weigering"] == {
        "code": "F01",
        "omschrijving": "onleesbaar",
        "toelichting": f"door de beheerder geweigerd: {REASON}",
    }
    assert set(receipt["sommen"].values()) == {0}
    states = [(each["state"], each["refusal"]) for each in house.json("deliveries", "list")]
    assert states == [("rejected", "F01"), ("processed", None)]
    assert _entries(house, failed) == [("delivery.rejected", "F01", "cli", actor())]


def test_the_reason_lies_nowhere_in_the_clear(house, failed):
    """An administrator's text may name a person: no byte of the home holds it."""
    assert house.run("deliveries", "reject", failed, "--reason", REASON).code == 0
    held = [path for path in house.home.rglob("*") if path.is_file() and b"Koolstra" in path.read_bytes()]
    assert held == []


def test_a_file_that_can_not_be_opened_can_be_refused(house, failed):
    """Its key is gone: that may be why it failed. The receipt then has no name and no digest."""
    with house.opened() as opened:
        for key_id in opened.keyring.ids():
            if key_id < "until-2999":
                opened.keyring.destroy(key_id)
    refused = house.run("deliveries", "reject", failed, "--reason", "onbruikbaar")
    # receipts need keys of their own: a daemon makes them at its start
    assert refused.code == 12
    house.serve()
    assert house.run("deliveries", "reject", failed, "--reason", "onbruikbaar").code == 0
    receipt = json.loads(house.collect("woonservice", "returns")[f"ontvangst_{failed}.json"])
    assert (receipt["bestand"]["naam"], receipt["bestand"]["sha256"]) == ("", "")


def test_only_what_failed_can_be_decided_on(house, gateway, monkeypatch):
    """A delivery in another state is left as it is, and the answer says what goes on with it."""
    monkeypatch.setenv("GATEWAY_HOME", str(house.home))
    house.receive("woonservice", "signalen.csv", house.write("signalen.csv", ROW).read_bytes())
    (arrived,) = json.loads(gateway("deliveries", "list", "--json").out)
    for command in (("retry", arrived["id"]), ("reject", arrived["id"], "--reason", "x")):
        refused = gateway("deliveries", *command)
        assert refused.code == 1
        assert "is ARRIVED, and only a FAILED one can be" in refused.err
        assert "it waits for its turn, by itself" in refused.err
    unknown = gateway("deliveries", "retry", "LXXXXXXXXXXXXXXXX")
    assert unknown.code == 1
    assert "there is no delivery LXXXXXXXXXXXXXXXX" in unknown.err
    assert json.loads(gateway("deliveries", "list", "--json").out) == [arrived]
    assert gateway("deliveries", "list", "--partner", "nobody").code == 2


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\x1b[31m"])
def test_a_reason_is_a_sentence(house, gateway, monkeypatch, failed, reason):
    """What can't be printed in a receipt is refused before anything changes."""
    monkeypatch.setenv("GATEWAY_HOME", str(house.home))
    refused = gateway("deliveries", "reject", failed, "--reason", reason)
    assert refused.code == 1
    assert "1 to 500 characters" in refused.err
    assert json.loads(gateway("deliveries", "list", "--state", "failed", "--json").out)
