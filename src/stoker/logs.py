"""Structured logs of the server: one event name and its facts per line, as JSON or for people."""

from __future__ import annotations

import logging
import sys

import structlog

SECRET_WORDS = ("token", "secret", "password", "authorization", "api_key")


def configure(*, as_json: bool, level: str = "INFO") -> None:
    """Set the logs of this process up: to standard error, so that standard output stays for answers."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            hide_secrets,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def hide_secrets(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Replace the value of every key that names a secret, and control characters that could forge a line."""
    for key, value in event.items():
        if any(word in key.lower() for word in SECRET_WORDS):
            event[key] = "***"
        elif isinstance(value, str) and key != "exception":
            event[key] = value.translate(_ESCAPES)
    return event


_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
