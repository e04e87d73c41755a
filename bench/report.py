"""Placeholder until the report is written."""


def write(name: str) -> None:
    """Nothing yet."""
