"""The exchange for early debt signals in the Netherlands."""

__version__ = "0.1.0"
