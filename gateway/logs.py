"""The log: structlog, people on a terminal and JSON elsewhere, on standard error.

Events are `noun.past_participle`. A log line bears ids, codes, counts, sizes and times; never a name,
an address of a resident, a file name, a key or what a row held. Only the fields of `FIELDS` are written:
any other is replaced by a mark, so that a careless call cannot leak. Of what libraries log, only where
in their code it happened is written: their texts quote what they work on.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

#: What a log line may bear; docs/operations.md lists the events with theirs.
FIELDS = frozenset(
    {
        "address",
        "approval",
        "attempts",
        "bytes",
        "client",
        "code",
        "count",
        "delivery_id",
        "dispatch_id",
        "due",
        "duration_ms",
        "error",
        "error_type",
        "errors",
        "event",
        "file",
        "fingerprint",
        "generation",
        "hold",
        "host_key",
        "incident",
        "key",
        "keys",
        "kind",
        "legacy_port",
        "level",
        "melding_id",
        "municipality",
        "operation",
        "part",
        "partner_id",
        "pid",
        "port",
        "publication_id",
        "purged",
        "reason",
        "rows",
        "session_id",
        "size",
        "state",
        "timestamp",
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
            colors=out.isatty(),
            pad_event_to=20,
            sort_keys=False,
            # the one that shows local variables is the default
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    # programs get UTC, people their own time
    stamp = (
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if as_json
        else structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            _only_known_fields,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    _take_over(logging.getLogger())


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger for a part of the gateway."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(part=name))


def _only_known_fields(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    # a renderer that finds one of these prints the traceback, with the text of the error
    for key in ("exc_info", "stack_info"):
        event.pop(key, None)
    return {key: value if key in FIELDS else "[not written]" for key, value in event.items()}


class _Library(logging.Handler):
    """Writes that a library has something to say, and where; not what."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line, in the form of all others."""
        kind = record.exc_info[0] if record.exc_info else None
        tell = structlog.get_logger(part=record.name)
        (tell.error if record.levelno >= logging.ERROR else tell.warning)(
            "library.warned",
            error_type=kind.__name__ if kind else "",
            reason=f"{record.filename}:{record.lineno}",
        )


def _take_over(root: logging.Logger) -> None:
    """Everything that libraries log, and Python's warnings, come out as lines of this log."""
    for handler in list(root.handlers):
        if isinstance(handler, _Library):
            root.removeHandler(handler)
    root.addHandler(_Library(logging.WARNING))
    logging.captureWarnings(True)
