"""HTTP in our own event loop, and the admin port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tocsin_kit.http.admin import AdminServer
from tocsin_kit.http.serve import HttpServer
from tocsin_kit.telemetry.metrics import Metrics, exemplar

PATIENCE = timedelta(seconds=5)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


def serving(answer: Any) -> HttpServer:
    """A server whose only page is `answer`."""
    return HttpServer(Starlette(routes=[Route("/", answer)]), port=0)


async def greet(_request: Request) -> Response:
    return PlainTextResponse("hello")


async def test_a_server_answers_once_started_and_not_after_its_end(client: aiohttp.ClientSession) -> None:
    server = serving(greet)
    await server.start()
    async with client.get(f"http://127.0.0.1:{server.port}/") as answer:
        assert await answer.text() == "hello"
        assert "server" not in answer.headers
    await server.stop(PATIENCE)
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get(f"http://127.0.0.1:{server.port}/")


async def test_a_taken_port_is_an_error() -> None:
    server = serving(greet)
    await server.start()
    try:
        with pytest.raises(OSError, match="in use"):
            HttpServer(Starlette(), port=server.port)
    finally:
        await server.stop(PATIENCE)


async def test_a_server_that_never_started_stops_too() -> None:
    server = serving(greet)
    await server.stop(PATIENCE)
    HttpServer(Starlette(), port=server.port)._socket.close()


async def test_a_request_under_way_is_finished_at_the_end(client: aiohttp.ClientSession) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_request: Request) -> Response:
        begun.set()
        await go_on.wait()
        return PlainTextResponse("done")

    server = serving(hold)
    await server.start()
    asking = asyncio.ensure_future(client.get(f"http://127.0.0.1:{server.port}/"))
    await asyncio.wait_for(begun.wait(), PATIENCE.total_seconds())
    stopping = asyncio.ensure_future(server.stop(PATIENCE))
    go_on.set()
    assert await (await asking).text() == "done"
    await asyncio.wait_for(stopping, PATIENCE.total_seconds())


async def test_a_request_that_takes_too_long_is_cut_off(client: aiohttp.ClientSession) -> None:
    begun = asyncio.Event()

    async def never(_request: Request) -> Response:
        begun.set()
        await asyncio.Event().wait()
        return PlainTextResponse("never")

    server = serving(never)
    await server.start()
    asking = asyncio.ensure_future(client.get(f"http://127.0.0.1:{server.port}/"))
    await asyncio.wait_for(begun.wait(), PATIENCE.total_seconds())
    await asyncio.wait_for(server.stop(timedelta(seconds=0.1)), PATIENCE.total_seconds())
    with pytest.raises(aiohttp.ClientError):
        (await asking).raise_for_status()


class Database:
    """A check whose answer a test sets."""

    def __init__(self) -> None:
        self.wrong: str | None = None
        self.hangs = False

    async def check(self) -> str | None:
        if self.hangs:
            await asyncio.Event().wait()
        return self.wrong


@pytest.fixture
async def admin() -> AsyncIterator[tuple[AdminServer, Database, CollectorRegistry]]:
    database, registry = Database(), CollectorRegistry()
    server = AdminServer(0, registry=registry, checks={"database": database.check})
    await server.start()
    yield server, database, registry
    await server.stop(PATIENCE)


async def test_ready_says_what_is_not(client: aiohttp.ClientSession, admin: Any) -> None:
    server, database, _ = admin
    url = f"http://127.0.0.1:{server.port}"
    async with client.get(f"{url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "failed": {}})
    database.wrong = "schema is behind"
    async with client.get(f"{url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (
            503,
            {"ready": False, "failed": {"database": "schema is behind"}},
        )
    database.hangs = True
    async with client.get(f"{url}/readyz") as answer:
        assert (await answer.json())["failed"] == {"database": "no answer within 2 s"}
    async with client.get(f"{url}/healthz") as answer:
        assert answer.status == 200, "a process whose database is away is alive"


async def test_a_process_that_is_stopping_is_not_ready(client: aiohttp.ClientSession, admin: Any) -> None:
    server, _, _ = admin
    server.not_ready()
    async with client.get(f"http://127.0.0.1:{server.port}/readyz") as answer:
        assert answer.status == 503


async def test_metrics_carry_trace_ids_as_exemplars(client: aiohttp.ClientSession, admin: Any) -> None:
    server, _, registry = admin
    with TracerProvider().get_tracer("test").start_as_current_span("rpc") as span:
        Metrics(registry).delivery_duration.labels("email").observe(0.3, exemplar())
    url = f"http://127.0.0.1:{server.port}/metrics"
    async with client.get(url, headers={"accept": "application/openmetrics-text; version=1.0.0"}) as answer:
        text = await answer.text()
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert format(span.get_span_context().trace_id, "032x") in text
    async with client.get(url) as answer:
        plain = await answer.text()
        assert answer.headers["content-type"].startswith("text/plain")
    assert 'notification_delivery_duration_seconds_bucket{channel="email",le="0.5"} 1.0' in plain
