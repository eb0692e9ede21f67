"""What stands around every request: its id, its span, security headers, its measure, and a log line for what failed."""

import re
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin_gateway.metrics import GatewayMetrics
from tocsin_kit.ids import Ids
from tocsin_kit.telemetry import names
from tocsin_kit.telemetry.metrics import exemplar
from tocsin_kit.telemetry.propagation import context_of

_log = structlog.get_logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OTHER = "other"

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def note_route(scope: MutableMapping[str, Any], route: str) -> None:
    """Say which route serves the request, for its span and its measure: a template, never the path itself."""
    scope["tocsin_route"] = route


class Frame:
    """The outermost ASGI layer. WebSockets pass: the live inbox looks after itself."""

    def __init__(
        self, app: ASGIApp, *, tracer: Tracer, metrics: GatewayMetrics, ids: Ids, seconds: Callable[[], float]
    ) -> None:
        self._app, self._tracer, self._metrics, self._ids, self._seconds = app, tracer, metrics, ids, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        began = self._seconds()
        answer = _Answer(send, self._request_id(headers))
        with self._tracer.start_as_current_span(
            str(scope["method"]),
            context=context_of(headers.get("traceparent"), headers.get("tracestate")),
            kind=SpanKind.SERVER,
            attributes={names.HTTP_METHOD: str(scope["method"])},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self._app(scope, receive, answer)
            except Exception:
                # Not swallowed: logged with its trace; the site has told the caller that it is our fault.
                _log.exception("request_failed", route=scope.get("tocsin_route", _OTHER))
                answer.must_be_complete()
            finally:
                self._measure(scope, answer.status, self._seconds() - began, span)

    def _request_id(self, headers: Headers) -> str:
        given = headers.get("x-request-id", "")
        return given if _REQUEST_ID.fullmatch(given) else str(self._ids.uuid7())

    def _measure(self, scope: Scope, status: int, duration: float, span: Span) -> None:
        method, route = str(scope["method"]), str(scope.get("tocsin_route", _OTHER))
        span.update_name(f"{method} {route}")
        span.set_attribute(names.HTTP_ROUTE, route)
        span.set_attribute(names.HTTP_STATUS, status)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        known = method if method in ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS") else _OTHER
        self._metrics.requests.labels(known, route, str(status)).inc()
        self._metrics.duration.labels(known, route).observe(duration, exemplar())


class _Answer:
    """Passes an answer on, with the headers that every answer has."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status = 0
        self._is_complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)
        if message["type"] == "http.response.body":
            self._is_complete = not message.get("more_body", False)

    def must_be_complete(self) -> None:
        """Have an answer cut off that began and did not end: the caller must not take a part of it for the whole."""
        if not self._is_complete:
            raise ConnectionAbortedError("the answer had not ended when its request failed")
