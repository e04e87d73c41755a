"""A file key as a keyset of Tink: what opens one sealed stream without this software (spec 4, Vault).

The form is Tink's JSON keyset in the clear; its key is an AesGcmHkdfStreamingKey in protocol buffers:
https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming
"""

from __future__ import annotations

import json
from base64 import b64encode

from gateway.vault.derive import KEY_BYTES

_TYPE = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
#: Which key of the keyset is meant: there is one.
_KEY_ID = 1
#: Fields 1 to 3 of AesGcmHkdfStreamingParams: 65,536 bytes a segment, 32 bytes a derived key, HKDF by SHA256 (3).
_PARAMS = bytes([0x08, 0x80, 0x80, 0x04, 0x10, 0x20, 0x18, 0x03])


def keyset(file_key: bytes) -> str:
    """The keyset of one file key, as JSON: secret, and in the clear."""
    if len(file_key) != KEY_BYTES:
        raise ValueError(f"a file key has {KEY_BYTES} bytes")
    # field 2: params, field 3: key_value, each behind its length; version 0 is left out
    value = bytes([0x12, len(_PARAMS)]) + _PARAMS + bytes([0x1A, len(file_key)]) + file_key
    key = {
        "keyData": {
            "typeUrl": _TYPE,
            "value": b64encode(value).decode(),
            "keyMaterialType": "SYMMETRIC",
        },
        "status": "ENABLED",
        "keyId": _KEY_ID,
        "outputPrefixType": "RAW",
    }
    return json.dumps({"primaryKeyId": _KEY_ID, "key": [key]}, indent=2) + "\n"
