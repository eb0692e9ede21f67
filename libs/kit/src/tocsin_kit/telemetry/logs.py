"""Logs: one JSON line an event, with the trace it belongs to, and nobody's secrets.

`configure_logs` is called once per process; libraries that use `logging` go the same way.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from opentelemetry import trace

from tocsin_kit.telemetry.redact import redacted

#: Keys that this module writes itself, and values that cannot hold a secret.
_UNTOUCHED = frozenset({"timestamp", "level", "logger", "trace_id", "span_id", "user", "partner_id"})
Event = MutableMapping[str, Any]


def log_user(partner_id: int, user_id: int) -> dict[str, int]:
    """What to say of a user in a log line: `log.info("signed_in", **log_user(7, 42))`.

    The line gets `partner_id` and `user`, a keyed hash by which one can follow a user without knowing them.
    """
    return {"partner_id": partner_id, "user_id": user_id}


def user_hash(key: bytes, partner_id: object, user_id: object) -> str:
    """The keyed hash of a user: the first 16 hexadecimal digits of HMAC-SHA-256 over `<partner>:<user>`."""
    return hmac.new(key, f"{partner_id}:{user_id}".encode(), hashlib.sha256).hexdigest()[:16]


def hide_users(key: bytes) -> structlog.types.Processor:
    """A processor that replaces `user_id` by the hash of the user."""

    def processor(_logger: Any, _name: str, event: Event) -> Event:
        if (user_id := event.pop("user_id", None)) is not None:
            event["user"] = user_hash(key, event.get("partner_id", ""), user_id)
        return event

    return processor


def add_trace(_logger: Any, _name: str, event: Event) -> Event:
    """Adds the ids of the current span, where there is one."""
    span_context = trace.get_current_span().get_span_context()
    if span_context.is_valid:
        event["trace_id"] = trace.format_trace_id(span_context.trace_id)
        event["span_id"] = trace.format_span_id(span_context.span_id)
    return event


def redact(_logger: Any, _name: str, event: Event) -> Event:
    """Masks what does not belong into a log."""
    for key, value in event.items():
        if key not in _UNTOUCHED and not key.startswith("_"):
            event[key] = redacted(key, value)
    return event


def configure_logs(
    level: str, hash_key: str, service: str = "", *, as_json: bool = True, stream: TextIO | None = None
) -> None:
    """Send all logging of this process to `stream` (standard error), as JSON or, in dev, for eyes.

    `hash_key` is what users' hashes are keyed with; `service` is added to each line.
    """

    def add_service(_logger: Any, _name: str, event: Event) -> Event:
        if service:
            event.setdefault("service", service)
        return event

    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        add_trace,
    ]
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            hide_users(hash_key.encode()),
            redact,
            last,
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "opentelemetry", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # At DEBUG it tells the frames of WebSockets, tokens among them.
    logging.getLogger("uvicorn.error").setLevel(max(logging.INFO, root.level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
