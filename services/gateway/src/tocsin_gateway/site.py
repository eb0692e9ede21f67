"""Every address of the gateway, in one list."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from tocsin_gateway.callbacks.receiving import Receiver
from tocsin_gateway.callbacks.unsubscribing import PATH as UNSUBSCRIBE
from tocsin_gateway.callbacks.unsubscribing import Unsubscribing
from tocsin_gateway.entrance.callers import Door
from tocsin_gateway.entrance.frame import note_route
from tocsin_gateway.entrance.problems import our_fault, problem
from tocsin_gateway.live.sockets import LiveInbox
from tocsin_gateway.operators.metrics import MergedMetrics
from tocsin_gateway.operators.reference import Reference
from tocsin_gateway.rest import RestApi
from tocsin_kit.rpc.errors import TocsinError, not_found

METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"]
Handler = Callable[[Request], Awaitable[Response]]
Check = Callable[[], Awaitable[str | None]]
#: Real time, as on every service's admin port.
_READY_LIMIT = timedelta(seconds=2)


def site(
    *,
    rest: RestApi,
    live: LiveInbox,
    callbacks: Sequence[tuple[str, Receiver]],
    unsubscribing: Unsubscribing,
    door: Door,
    metrics: MergedMetrics,
    ready: Check,
    reference: Reference,
    origins: Sequence[str],
) -> Starlette:
    """The application: callbacks, unsubscribe links, live inbox, health, metrics, reference, and REST for the rest."""
    routes: list[BaseRoute] = [
        *(Route(path, receiver.__call__, methods=["POST"]) for path, receiver in callbacks),
        Route(UNSUBSCRIBE, unsubscribing.page, methods=["GET"]),
        Route(UNSUBSCRIBE, unsubscribing.stop, methods=["POST"]),
        WebSocketRoute("/api/v2/live", live.__call__),
        Route("/healthz", _alive),
        Route("/readyz", _readiness(ready)),
        Route("/api/v2/admin/metrics", _metrics(door, metrics)),
        Route("/openapi.json", reference.document),
        Route("/docs", reference.page),
        Route("/{path:path}", rest.__call__, methods=METHODS),
    ]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=METHODS,
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Request-Timeout", "Tocsin-User"],
        expose_headers=["X-Request-Id", "Retry-After"],
    )
    return Starlette(
        routes=routes,
        middleware=[cors] if origins else [],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


async def _refused(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (a page that is posted to) look like all others."""
    if not isinstance(error, HTTPException):
        raise error
    return problem(not_found(f"{request.method} of this path"), error.status_code, dict(error.headers or {}))


async def _failed(_request: Request, _error: Exception) -> Response:
    """The last resort. Starlette raises the error again behind this answer: the frame logs it."""
    return our_fault()


async def _alive(request: Request) -> Response:
    note_route(request.scope, "/healthz")
    return PlainTextResponse("alive\n")


def _readiness(ready: Check) -> Handler:
    async def answer(request: Request) -> Response:
        note_route(request.scope, "/readyz")
        try:
            async with asyncio.timeout(_READY_LIMIT.total_seconds()):
                why_not = await ready()
        except TimeoutError:
            why_not = f"no answer within {_READY_LIMIT.total_seconds():.0f} s"
        return PlainTextResponse("ready\n") if why_not is None else PlainTextResponse(f"{why_not}\n", 503)

    return answer


def _metrics(door: Door, metrics: MergedMetrics) -> Handler:
    async def answer(request: Request) -> Response:
        note_route(request.scope, "/api/v2/admin/metrics")
        try:
            await door.admit_operator(request)
        except TocsinError as error:
            return problem(error)
        return Response(await metrics.text(), media_type="text/plain; version=0.0.4")

    return answer
