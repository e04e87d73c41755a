"""The `gateway` command: one file per group of verbs; the only place that prints."""

from gateway.cli.app import main

__all__ = ["main"]
