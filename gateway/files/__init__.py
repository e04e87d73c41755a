"""Files in and out: reading, rows, kinds, rendering (spec 2)."""
