"""The audit log: entries, Merkle tree, signed checkpoints, verifier (spec 4)."""
