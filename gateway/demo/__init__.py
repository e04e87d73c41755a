"""The demo: a whole gateway on loopback, with partners that are invented (issue 2, point 10)."""
