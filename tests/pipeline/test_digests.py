"""Digests of what was received are made by intake, with the transaction that ends it (spec 4, Vault)."""

from __future__ import annotations

from hashlib import sha256

from gateway.domain.delivery import DeliveryState
from gateway.pipeline.deliveries import reject
from gateway.pipeline.sealing import open_key
from gateway.store import data_keys, queue
from gateway.store.tables import Delivery
from gateway.vault import objects


def sealed(world, delivery_id: str) -> bytes:
    """The ciphertext as it lies in the vault."""
    (row,) = (each for each in world.rows(Delivery) if each["id"] == delivery_id)
    with world.context.blobs.open(row["blob"]) as blob:
        return blob.read_at(0, blob.size)


def digest(world, delivery_id: str) -> bytes | None:
    """What its row says of the ciphertext."""
    (row,) = (each for each in world.rows(Delivery) if each["id"] == delivery_id)
    return row["sealed_sha256"]


def test_a_processed_and_a_refused_file_have_the_digest_of_their_ciphertext(world, csv_file, row):
    """Of what lies in the vault, and of a file whose bytes went at once (F03)."""
    content = csv_file(row("a"))
    first, again = (world.put("woonservice", content=content) for _ in range(2))
    forbidden = world.put("woonservice", content=csv_file(row("b", bsn="1")))
    no_table = world.put("woonservice", content=b"%PDF" + bytes(100_000))
    lay = {each: sealed(world, each) for each in (first, again, forbidden, no_table)}
    assert [digest(world, each) for each in lay] == [None] * 4
    world.work()
    assert [world.receipt(each)["resultaat"] == "geweigerd" for each in lay] == [False, True, True, True]
    for each, bytes_ in lay.items():
        assert digest(world, each) == sha256(bytes_).digest()


def test_a_damaged_file_has_none(world, csv_file, row):
    """Reading finds the damage: F01, and no digest vouches for bytes that were not what was sealed."""
    delivery_id = world.put("woonservice", content=csv_file(row("a")))
    (stored,) = world.rows(Delivery)
    path = world.context.blobs._path / stored["blob"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    world.work()
    assert world.receipt(delivery_id)["weigering"]["code"] == "F01"
    assert digest(world, delivery_id) is None


def test_a_damaged_file_that_its_first_bytes_refuse_has_none(world):
    """All of it is looked at all the same: the damage is told, not what it begins with."""
    delivery_id = world.put("woonservice", content=b"%PDF" + bytes(100_000))
    (stored,) = world.rows(Delivery)
    path = world.context.blobs._path / stored["blob"]
    whole = path.read_bytes()
    # in the middle: neither its first bytes nor the segment that ends it
    path.write_bytes(whole[:65_600] + bytes([whole[65_600] ^ 1]) + whole[65_601:])
    world.work()
    assert world.receipt(delivery_id)["weigering"]["code"] == "F01"
    assert digest(world, delivery_id) is None


def test_a_file_that_was_given_up_and_then_refused_has_both(world, csv_file, row):
    """An administrator's reject makes them of what lies there, the one of the text under the file's own key."""
    content = csv_file(row("a"))
    delivery_id = world.put("woonservice", content=content)
    with world.context.store.write() as conn:
        queue.advance(conn, delivery_id, DeliveryState.ARRIVED, DeliveryState.PROCESSING)
        queue.advance(conn, delivery_id, DeliveryState.PROCESSING, DeliveryState.FAILED)
    reject(world.context, delivery_id, "het bestand is niet te lezen", actor="beheer")
    assert digest(world, delivery_id) == sha256(sealed(world, delivery_id)).digest()
    (stored,) = world.rows(Delivery)
    with world.context.store.read() as conn:
        key = data_keys.of_object(conn, delivery_id)
    row_key = open_key(world.context, key).row_key()
    assert objects.open_digest(row_key, delivery_id, stored["sha256_sealed"]) == sha256(content).digest()
    assert world.receipt(delivery_id)["bestand"]["sha256"] == sha256(content).hexdigest()


def test_the_digest_of_the_text_is_that_of_the_receipt(world, csv_file, row):
    """Sealed under the file's own key."""
    content = csv_file(row("a"))
    delivery_id = world.put("woonservice", content=content)
    world.work()
    (stored,) = world.rows(Delivery)
    assert world.receipt(delivery_id)["bestand"]["sha256"] == sha256(content).hexdigest()
    with world.context.store.read() as conn:
        key = data_keys.of_object(conn, delivery_id)
    row_key = open_key(world.context, key).row_key()
    assert objects.open_digest(row_key, delivery_id, stored["sha256_sealed"]) == sha256(content).digest()
