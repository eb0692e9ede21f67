"""The span of an HTTP call that we make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from tocsin_kit.telemetry import names


@contextmanager
def client_span(
    tracer: Tracer,
    method: str,
    url_without_query: str,
    *,
    attributes: Mapping[str, AttributeValue] | None = None,
    parent: Context | None = None,
) -> Iterator[Span]:
    """A client span around one HTTP request; call `answered(span, status)` when there is an answer.

    `parent` is for calls whose trace was stored in a row. The URL must hold neither query nor user information.
    An exception marks the span as failed with its type only: messages of HTTP libraries quote addresses.
    """
    parts = urlsplit(url_without_query)
    said: dict[str, AttributeValue] = {
        names.HTTP_METHOD: method,
        names.URL: url_without_query,
        names.SERVER_ADDRESS: parts.hostname or "",
        names.SERVER_PORT: parts.port or (443 if parts.scheme == "https" else 80),
        **(attributes or {}),
    }
    with tracer.start_as_current_span(
        method,
        context=parent,
        kind=SpanKind.CLIENT,
        attributes=said,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute(names.ERROR_TYPE, type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise


def answered(span: Span, status: int) -> None:
    """Note the status of the answer; 4xx and 5xx are failures of a client's span (semantic conventions for HTTP)."""
    span.set_attribute(names.HTTP_STATUS, status)
    if status >= 400:
        span.set_attribute(names.ERROR_TYPE, str(status))
        span.set_status(Status(StatusCode.ERROR))
