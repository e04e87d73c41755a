"""Our sealed stream is Tink's: each opens what the other sealed, so data outlives this software."""

from __future__ import annotations

import io
import os

import pytest
from google.protobuf import json_format
from tink import json_proto_keyset_format, secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from gateway.vault.datakey import DataKey
from gateway.vault.stream import (
    FIRST_TEXT_BYTES,
    HEADER_BYTES,
    SEGMENT_BYTES,
    TEXT_BYTES,
    SealedReader,
    Sealer,
    associated_data,
)
from gateway.vault.tink import keyset

PLACE = associated_data(partner="eneco", delivery="L1", object_id="L1", kind="raw")
SIZES = [
    0,
    1,
    15,
    16,
    17,
    HEADER_BYTES,
    SEGMENT_BYTES - 1,
    SEGMENT_BYTES,
    SEGMENT_BYTES + 1,
    2 * SEGMENT_BYTES,
    FIRST_TEXT_BYTES - 1,
    FIRST_TEXT_BYTES,
    FIRST_TEXT_BYTES + 1,
    FIRST_TEXT_BYTES + TEXT_BYTES - 1,
    FIRST_TEXT_BYTES + TEXT_BYTES,
    FIRST_TEXT_BYTES + TEXT_BYTES + 1,
    FIRST_TEXT_BYTES + 4 * TEXT_BYTES,
    1_000_003,
]


def tink_primitive(key: bytes) -> streaming_aead.StreamingAead:
    """Tink with the keyset that the gateway exports."""
    streaming_aead.register()
    handle = json_proto_keyset_format.parse(keyset(key), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


def test_the_keyset_is_what_tink_would_write(file_key: bytes) -> None:
    """Field for field: raw key of 32 bytes, SHA-256, derived keys of 32 bytes, segments of 64 KiB."""
    params = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=65_536, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
    )
    value = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(key_value=file_key, params=params)
    written = json_format.Parse(keyset(file_key), tink_pb2.Keyset())
    assert written == tink_pb2.Keyset(
        primary_key_id=1,
        key=[
            tink_pb2.Keyset.Key(
                key_id=1,
                status=tink_pb2.ENABLED,
                output_prefix_type=tink_pb2.RAW,
                key_data=tink_pb2.KeyData(
                    type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                    value=value.SerializeToString(),
                    key_material_type=tink_pb2.KeyData.SYMMETRIC,
                ),
            )
        ],
    )


class Kept(io.BytesIO):
    """Tink closes what it writes to; this keeps the bytes."""

    kept = b""

    def close(self) -> None:
        self.kept = self.getvalue()
        super().close()


@pytest.fixture(scope="module")
def file_key() -> bytes:
    """The file key of one object."""
    return DataKey(bytes(range(32))).file_key("L1")


@pytest.mark.parametrize("size", SIZES)
def test_tink_opens_what_we_sealed(size: int, file_key: bytes) -> None:
    """Byte for byte, at each segment border."""
    contents = os.urandom(size)
    out = bytearray()
    sealer = Sealer(file_key, PLACE, out.extend)
    sealer.write(contents)
    sealer.finish()
    with tink_primitive(file_key).new_decrypting_stream(io.BytesIO(bytes(out)), PLACE) as opened:
        assert opened.read() == contents


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_tink_sealed(size: int, file_key: bytes) -> None:
    """The same form in the other direction, refusing nothing that Tink writes."""
    contents = os.urandom(size)
    kept = Kept()
    with tink_primitive(file_key).new_encrypting_stream(kept, PLACE) as stream:
        stream.write(contents)
    sealed = kept.kept
    opened = SealedReader(file_key, PLACE, lambda at, n: sealed[at : at + n], len(sealed))
    opened.authenticate()
    assert opened.read(0, size) == contents
