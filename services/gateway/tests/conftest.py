"""A running gateway over real PostgreSQL and NATS, with upstream services that say what a test wants."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import aiohttp
import grpc
import pytest_asyncio
from google.protobuf.message import Message
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_gateway.app import gateway
from tocsin_gateway.settings import GatewaySettings
from tocsin_gateway.transcoding.contract import all_services
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import DETAILS_KEY, TocsinError, to_status
from tocsin_kit.rpc.tokens import mint_dev_token

SECRET = "a secret that signs tokens in tests only"
TWILIO_TOKEN = "twilio-token"
_NEVER = datetime(2200, 1, 1, tzinfo=UTC)

#: Answers one RPC, given its request and its metadata.
Behaviour = Callable[[Any, dict[str, str]], Awaitable[Message]]


@dataclass
class Services:
    """What the upstream services do: `behaviours` by method name; calls to others are `UNIMPLEMENTED`."""

    port: int = 0
    behaviours: dict[str, Behaviour] = field(default_factory=dict)


@asynccontextmanager
async def upstream_services() -> AsyncIterator[Services]:
    """One gRPC server for all services of the contract."""
    services, server = Services(), grpc.aio.server()
    for service in all_services():
        handlers = {method.name: _handler(services, method) for method in service.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    services.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield services
    finally:
        await server.stop(None)


def _handler(services: Services, method: Any) -> Any:
    async def handle(request: Message, context: Any) -> Any:
        behaviour = services.behaviours.get(method.name)
        if behaviour is None:
            return await context.abort(grpc.StatusCode.UNIMPLEMENTED, method.name)
        try:
            return await behaviour(request, dict(context.invocation_metadata()))
        except TocsinError as error:
            details = ((DETAILS_KEY, to_status(error).SerializeToString()),)
            return await context.abort(error.code, error.message, details)

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=method.input_type._concrete_class.FromString,
        response_serializer=method.output_type._concrete_class.SerializeToString,
    )


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    http: aiohttp.ClientSession
    services: Services
    clock: SteppedClock
    activity: Activity
    database_url: str
    nats_url: str

    def token(self, user_id: int = 1, scopes: tuple[Scope, ...] = (Scope.USER,), expires_at: datetime = _NEVER) -> str:
        """A token of partner 1, or of nobody's for operators."""
        partner = None if Scope.ADMIN in scopes else 1
        return mint_dev_token(SECRET, subject=str(user_id), scopes=scopes, expires_at=expires_at, partner_id=partner)

    async def call(
        self, verb: str, path: str, *, token: str | None = None, headers: dict[str, str] | None = None, **more: Any
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, body (parsed where it is JSON) and headers of the answer."""
        sent = {"Authorization": f"Bearer {self.token() if token is None else token}", **(headers or {})}
        async with self.http.request(verb, self.url + path, headers=sent, **more) as answer:
            is_json = "json" in answer.headers.get("Content-Type", "")
            body = await answer.json(content_type=None) if is_json else await answer.read()
            return answer.status, body, answer.headers


Start = Callable[..., Any]


@pytest_asyncio.fixture
async def start(make_database: MakeDatabase, broker_url: str, clock: SteppedClock) -> AsyncIterator[Start]:
    """`async with start(CALLS_AT_ONCE="3") as gateway`: a gateway with further settings."""

    @asynccontextmanager
    async def started(**told: str) -> AsyncIterator[Gateway]:
        await apply_to(broker_url)
        database_url = await make_database("gateway")
        activity = Activity()
        async with upstream_services() as services, aiohttp.ClientSession() as http:
            target = f"127.0.0.1:{services.port}"
            settings = GatewaySettings.model_validate(
                {
                    "TOCSIN_ENV": "dev",
                    "DATABASE_URL": database_url,
                    "NATS_URL": broker_url,
                    "TOCSIN_JWT_SECRET": SECRET,
                    "TOCSIN_INTERNAL_KEY": "x" * 32,
                    "PORT": "0",
                    "TOCSIN_GRPC_PORT": "0",
                    "TOCSIN_ADMIN_PORT": "0",
                    "PUBLIC_URL": "https://alerts.example",
                    "TWILIO_AUTH_TOKEN": TWILIO_TOKEN,
                    "TOCSIN_METRICS_SOURCES": "",
                    **{f"TOCSIN_{name}_TARGET": target for name in ("EVALUATOR", "DISPATCHER", "SCHEDULER")},
                    **told,
                }
            )
            async with gateway(
                settings,
                clock=clock,
                ids=SeededIds(1, clock),
                random=Random(1),
                metrics=CollectorRegistry(),
                tracer_provider=TracerProvider(),
                activity=activity,
            ) as running:
                url = f"http://127.0.0.1:{running.ports['http']}"
                yield Gateway(url, http, services, clock, activity, database_url, broker_url)

    yield started


@pytest_asyncio.fixture
async def running_gateway(start: Start) -> AsyncIterator[Gateway]:
    """A gateway with the usual settings."""
    async with start() as one:
        yield one
