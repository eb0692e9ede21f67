"""Four real services of the contract, behind the chassis, whose behaviour each test sets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from tocsin.alerts.v1 import alert_pb2, alert_pb2_grpc, evaluation_pb2, evaluation_pb2_grpc, fact_pb2, fact_pb2_grpc
from tocsin.jobs.v1 import job_pb2, job_pb2_grpc
from tocsin_kit.clock import SteppedClock
from tocsin_kit.rpc.caller import Caller, Scope, current_caller
from tocsin_kit.rpc.client import channel
from tocsin_kit.rpc.server import GrpcServer, Registration
from tocsin_kit.rpc.tokens import InternalTokens, TokenVerifier, mint_dev_token
from tocsin_kit.telemetry.metrics import Metrics

START = datetime(2025, 11, 3, 12, 0, tzinfo=UTC)
DEV_KEY = "a dev key of more than thirty-two bytes"
INTERNAL_KEY = "an internal key of more than 32 bytes"

Behave = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message | None]]


@dataclass(frozen=True)
class Keys:
    """What `TokenVerifier` reads of the settings."""

    env: str = "dev"
    jwt_secret: SecretStr | None = field(default_factory=lambda: SecretStr(DEV_KEY))
    jwks: str | None = None
    jwt_audience: str = "tocsin"
    internal_key: SecretStr = field(default_factory=lambda: SecretStr(INTERNAL_KEY))


async def answers_nothing(_request: Any, _context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """The default behaviour: an empty answer."""


class Desk:
    """A servicer for any service: every method does what `behave` says and notes who called."""

    def __init__(self) -> None:
        self.behave: Behave = answers_nothing
        self.callers: list[Caller] = []

    def add(self, descriptor: Any) -> Any:
        """An object with a method per RPC of `descriptor`."""
        methods = {method.name: self._method(method) for method in descriptor.methods}
        return type("Servicer", (), {name: staticmethod(method) for name, method in methods.items()})()

    def _method(self, method: MethodDescriptor) -> Any:
        async def serve(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            self.callers.append(current_caller())
            answer = await self.behave(request, context)
            return answer if answer is not None else GetMessageClass(method.output_type)()

        return serve


@dataclass
class Bench:
    """A served chassis, and everything around it to look at."""

    clock: SteppedClock
    desk: Desk
    registry: CollectorRegistry
    spans: InMemorySpanExporter
    provider: TracerProvider
    server: GrpcServer
    channel: grpc.aio.Channel

    @property
    def alerts(self) -> alert_pb2_grpc.AlertServiceAsyncStub:
        return alert_pb2_grpc.AlertServiceStub(self.channel)

    @property
    def facts(self) -> fact_pb2_grpc.FactServiceAsyncStub:
        return fact_pb2_grpc.FactServiceStub(self.channel)

    @property
    def evaluation(self) -> evaluation_pb2_grpc.EvaluationServiceAsyncStub:
        return evaluation_pb2_grpc.EvaluationServiceStub(self.channel)

    @property
    def jobs(self) -> job_pb2_grpc.JobServiceAsyncStub:
        return job_pb2_grpc.JobServiceStub(self.channel)

    def token(self, *scopes: Scope, subject: str = "42", partner: int | None = 7, minutes: int = 60) -> str:
        """A dev token of the bench's clock."""
        ours = not {Scope.ADMIN, Scope.INTERNAL}.isdisjoint(scopes)
        return mint_dev_token(
            DEV_KEY,
            subject=subject,
            scopes=scopes,
            expires_at=self.clock.now() + timedelta(minutes=minutes),
            partner_id=None if ours else partner,
        )

    def bearing(self, *scopes: Scope, **claims: Any) -> tuple[tuple[str, str], ...]:
        """Metadata with a dev token."""
        return (("authorization", f"Bearer {self.token(*scopes, **claims)}"),)

    def internal(self) -> InternalTokens:
        """Tokens as one of our services signs them."""
        return InternalTokens(SecretStr(INTERNAL_KEY), self.clock, "dispatcher")


def registrations(desk: Desk) -> list[Registration]:
    """Alert, fact, evaluation and job service, all served by the desk."""
    services: list[tuple[Any, Any]] = [
        (alert_pb2.DESCRIPTOR.services_by_name["AlertService"], alert_pb2_grpc.add_AlertServiceServicer_to_server),
        (fact_pb2.DESCRIPTOR.services_by_name["FactService"], fact_pb2_grpc.add_FactServiceServicer_to_server),
        (
            evaluation_pb2.DESCRIPTOR.services_by_name["EvaluationService"],
            evaluation_pb2_grpc.add_EvaluationServiceServicer_to_server,
        ),
        (job_pb2.DESCRIPTOR.services_by_name["JobService"], job_pb2_grpc.add_JobServiceServicer_to_server),
    ]
    return [Registration(desk.add(descriptor), add, descriptor) for descriptor, add in services]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock, desk, registry, spans = SteppedClock(START), Desk(), CollectorRegistry(), InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracer = provider.get_tracer("test")
    server = GrpcServer(
        0,
        registrations(desk),
        verifier=TokenVerifier(Keys(), clock),
        metrics=Metrics(registry),
        tracer=tracer,
        random=Random(1),
        reflection=True,
    )
    await server.start()
    async with channel(f"127.0.0.1:{server.port}", tokens=None, tracer=tracer) as opened:
        yield Bench(clock, desk, registry, spans, provider, server, opened)
    await server.stop(timedelta(seconds=1))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that is bound by us and refuses connections, because nobody listens on it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
async def resetting_port() -> AsyncIterator[int]:
    """A port that takes connections and drops them at the first byte."""

    async def drop(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _reader.read(1)
        writer.transport.abort()

    async with await asyncio.start_server(drop, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
