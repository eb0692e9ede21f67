"""Every service's admin port: alive, ready, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tocsin_kit.http.serve import HttpServer

#: Answers None when all is well, else what is not, in words that may be shown.
Check = Callable[[], Awaitable[str | None]]
_CHECK_LIMIT = timedelta(seconds=2)


class AdminServer:
    """`/healthz` (the process is alive), `/readyz` (it should get traffic) and `/metrics` (Prometheus, OpenMetrics).

    `checks` by name decide readiness, each within two seconds. Neither depends on the broker: work waits in outboxes.
    """

    def __init__(
        self, port: int, *, registry: CollectorRegistry, checks: Mapping[str, Check], host: str = "127.0.0.1"
    ) -> None:
        self.name = "admin"
        self._registry, self._checks = registry, checks
        self._draining = False
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
        ]
        self._http = HttpServer(Starlette(routes=routes), port=port, host=host, name="admin")
        self.port = self._http.port

    async def start(self) -> None:
        """Return when requests are answered."""
        await self._http.start()

    def not_ready(self) -> None:
        """Say not ready from now on, so that load balancers look elsewhere before the servers stop."""
        self._draining = True

    async def stop(self, limit: timedelta) -> None:
        """Stop within `limit`."""
        self.not_ready()
        await self._http.stop(limit)

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        if self._draining:
            return JSONResponse({"ready": False, "failed": {"process": "is shutting down"}}, status_code=503)
        answers = await asyncio.gather(*(self._answer(check) for check in self._checks.values()))
        failed = {name: answer for name, answer in zip(self._checks, answers, strict=True) if answer is not None}
        return JSONResponse({"ready": not failed, "failed": failed}, status_code=503 if failed else 200)

    async def _answer(self, check: Check) -> str | None:
        try:
            async with asyncio.timeout(_CHECK_LIMIT.total_seconds()):
                return await check()
        except TimeoutError:
            return f"no answer within {_CHECK_LIMIT.total_seconds():.0f} s"

    async def _metrics(self, request: Request) -> Response:
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(self._registry), headers={"content-type": content_type})
