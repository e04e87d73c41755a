"""Examines a host, part by part; each part goes on where another can't be looked at."""
