"""The sealed vault: keyring, data keys, sealed stream, blobs, rows, index tokens (spec 4)."""
