"""Tables and queries: the only place that speaks SQL."""

from sqlalchemy import Connection

__all__ = ["Connection"]  # the handle that other layers pass on, and never look into
