"""Letting go: what is due, the purge, its log (spec 4)."""
