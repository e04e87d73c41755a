"""The worker: claim, intake, match, publish, receipts (specs 1 to 3)."""
