"""Figures of spec 5, each as a ratio to a peer in one run on one machine: `make bench`, `make bench-quick`."""
