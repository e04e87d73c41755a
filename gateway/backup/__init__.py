"""Backups: made while the gateway runs, verified, put back; and what must happen again before anyone comes in."""
