"""The `gateway` command: one file per group of verbs; the only place that prints."""

import gc

# What is imported stays, and rows come and go by the thousand without cycles: looking for some every 700 objects took a
# tenth of each start, and a twelfth of an intake.
gc.set_threshold(50_000, 20, 20)

from gateway.cli.app import main  # noqa: E402  # after the line above

__all__ = ["main"]
