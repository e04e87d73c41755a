"""The log: structlog, people on a terminal and JSON elsewhere, on standard error.

Events are `noun.past_participle`. A log line bears ids, codes, counts, sizes and times; never a name,
an address, a file name, a key or what a row held. Only the fields of `FIELDS` are written: any other
is replaced by a mark, so that a careless call cannot leak.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

#: What a log line may bear.
FIELDS = frozenset(
    {
        "address",
        "algorithm",
        "attempts",
        "bytes",
        "client",
        "code",
        "count",
        "day",
        "delivery_id",
        "dispatch_id",
        "due",
        "duration_ms",
        "error",
        "error_type",
        "event",
        "file",
        "fingerprint",
        "handles",
        "home",
        "host_key",
        "incident",
        "key",
        "key_id",
        "keys",
        "kind",
        "level",
        "month",
        "municipality",
        "operation",
        "part",
        "partner_id",
        "path",
        "pid",
        "port",
        "processed",
        "publication_id",
        "published",
        "purged",
        "reason",
        "rows",
        "session_id",
        "size",
        "state",
        "status",
        "timestamp",
        "version",
    }
)


def set_up(*, json: bool | None = None, level: str = "INFO", stream: Any = None) -> None:
    """Configure the log of this process.

    Args:
        json: True for JSON lines, False for people; None decides by whether standard error is a terminal.
        level: name of the lowest level that is written.
        stream: where lines go; standard error when None.
    """
    out = stream or sys.stderr
    as_json = not out.isatty() if json is None else json
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_known_fields,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger for a part of the gateway."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(part=name))


def _only_known_fields(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {key: value if key in FIELDS else "[not written]" for key, value in event.items()}
