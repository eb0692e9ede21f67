"""The command against services that a test sets, served by the real chassis in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.trace import NoOpTracer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from typer.testing import CliRunner

from tocsin.alerts.v1 import (
    alert_pb2,
    alert_pb2_grpc,
    evaluation_pb2,
    evaluation_pb2_grpc,
    fact_pb2,
    fact_pb2_grpc,
)
from tocsin.jobs.v1 import job_pb2, job_pb2_grpc, schedule_pb2, schedule_pb2_grpc
from tocsin.notifications.v1 import delivery_pb2, delivery_pb2_grpc, notification_pb2, notification_pb2_grpc
from tocsin_cli.app import make_app
from tocsin_kit.clock import SystemClock
from tocsin_kit.rpc.caller import Caller, Scope, current_caller
from tocsin_kit.rpc.server import GrpcServer, Registration
from tocsin_kit.rpc.tokens import TokenVerifier, mint_dev_token
from tocsin_kit.telemetry.metrics import Metrics

INTERNAL_KEY = "an internal key of more than 32 bytes"
BANK_KEY = "a key of banks' tokens of more than 32 bytes"
_SERVED: list[tuple[Any, str, Any]] = [
    (alert_pb2, "AlertService", alert_pb2_grpc.add_AlertServiceServicer_to_server),
    (fact_pb2, "FactService", fact_pb2_grpc.add_FactServiceServicer_to_server),
    (evaluation_pb2, "EvaluationService", evaluation_pb2_grpc.add_EvaluationServiceServicer_to_server),
    (job_pb2, "JobService", job_pb2_grpc.add_JobServiceServicer_to_server),
    (schedule_pb2, "ScheduleService", schedule_pb2_grpc.add_ScheduleServiceServicer_to_server),
    (delivery_pb2, "DeliveryService", delivery_pb2_grpc.add_DeliveryServiceServicer_to_server),
    (
        notification_pb2,
        "NotificationService",
        notification_pb2_grpc.add_NotificationServiceServicer_to_server,
    ),
]


@dataclass(frozen=True)
class Keys:
    """What verifying reads of the settings."""

    env: str = "dev"
    jwt_secret: SecretStr | None = field(default_factory=lambda: SecretStr(BANK_KEY))
    jwks: str | None = None
    jwt_audience: str = "tocsin"
    internal_key: SecretStr = field(default_factory=lambda: SecretStr(INTERNAL_KEY))


@dataclass
class Services:
    """Answers by RPC (an error is raised, a function is asked with the request), what was asked, and by whom."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    port: int = 0
    finish: threading.Event = field(default_factory=threading.Event)

    def servicer(self, descriptor: Any) -> Any:
        """An object with every method of a service."""
        methods = {method.name: staticmethod(self._method(method)) for method in descriptor.methods}
        return type("Servicer", (), methods)()

    def _method(self, method: Any) -> Any:
        async def serve(request: Any, _context: Any) -> Any:
            self.asked.append(request)
            self.callers.append(current_caller())
            answer = self.answers.get(method.name, GetMessageClass(method.output_type)())
            if callable(answer):
                answer = answer(request)
            if isawaitable(answer):
                answer = await answer
            if isinstance(answer, Exception):
                raise answer
            return answer

        return serve


def _server(services: Services) -> GrpcServer:
    registrations = []
    for module, name, add in _SERVED:
        descriptor = module.DESCRIPTOR.services_by_name[name]
        registrations.append(Registration(services.servicer(descriptor), add, descriptor))
    return GrpcServer(
        services.port,
        registrations,
        verifier=TokenVerifier(Keys(), SystemClock()),
        metrics=Metrics(CollectorRegistry()),
        tracer=NoOpTracer(),
        random=Random(1),
    )


@contextmanager
def serving(services: Services) -> Iterator[Services]:
    """Serve until the end, or until `finish` is set: then calls under way are cut off."""
    started = threading.Event()

    async def serve() -> None:
        server = _server(services)
        await server.start()
        services.port = server.port
        started.set()
        await asyncio.to_thread(services.finish.wait)
        await server.stop(timedelta(0))

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(10)
        yield services
    finally:
        services.finish.set()
        thread.join(10)


@pytest.fixture
def services() -> Iterator[Services]:
    with serving(Services()) as served:
        yield served


@pytest.fixture
def tocsin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `tocsin` with arguments in an empty folder and with only the environment given."""
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_ENV", "TOCSIN_TOKEN", "TOCSIN_INTERNAL_KEY", "TOCSIN_JWT_SECRET", "DATABASE_URL", "NATS_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, typed: str | None = None, **environment: str) -> Any:
        return CliRunner().invoke(make_app(), list(arguments), input=typed, env=environment)

    return run


@pytest.fixture
def operator(tocsin: Callable[..., Any], services: Services) -> Callable[..., Any]:
    """Runs `tocsin` as an operator of `services`."""
    target = f"127.0.0.1:{services.port}"
    targets = {f"TOCSIN_{name}_TARGET": target for name in ("EVALUATOR", "DISPATCHER", "SCHEDULER")}

    def run(*arguments: str) -> Any:
        return tocsin(*arguments, TOCSIN_INTERNAL_KEY=INTERNAL_KEY, **targets)

    return run


@pytest.fixture
def bank(tocsin: Callable[..., Any], services: Services) -> Callable[..., Any]:
    """Runs `tocsin` as the back end of bank 7."""
    token = mint_dev_token(
        BANK_KEY,
        subject="core",
        scopes=[Scope.SERVICE],
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
        partner_id=7,
    )

    def run(*arguments: str, typed: str | None = None) -> Any:
        target = f"127.0.0.1:{services.port}"
        return tocsin(*arguments, typed=typed, TOCSIN_TOKEN=token, TOCSIN_EVALUATOR_TARGET=target)

    return run
