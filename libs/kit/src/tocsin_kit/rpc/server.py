"""The gRPC server of every service: one chassis, one visible list of stages, unary calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.trace import Tracer

from tocsin_kit.rpc.connection import server_arguments
from tocsin_kit.rpc.errors import DETAILS_KEY, TocsinError, to_status
from tocsin_kit.rpc.stages.access import Access
from tocsin_kit.rpc.stages.deadline import deadline
from tocsin_kit.rpc.stages.failures import failures
from tocsin_kit.rpc.stages.metering import Metering
from tocsin_kit.rpc.stages.stage import Call, Method, Proceed, Stage, scopes_of
from tocsin_kit.rpc.stages.tracing import Tracing
from tocsin_kit.rpc.stages.validation import Validation
from tocsin_kit.rpc.tokens import TokenVerifier
from tocsin_kit.telemetry.metrics import Metrics

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Message, Context], Awaitable[Message]]


@dataclass(frozen=True)
class Registration:
    """A servicer, the generated function that adds it (`add_JobServiceServicer_to_server`), and its descriptor
    (`job_pb2.DESCRIPTOR.services_by_name["JobService"]`)."""

    servicer: Any
    add_to_server: Callable[[Any, grpc.aio.Server], None]
    service_descriptor: ServiceDescriptor


class GrpcServer:
    """Serves registrations on `host`:`port` (0 takes a free one; `port` tells which after `start`).

    Every call passes the stages below; grpc.health.v1 is open, reflection is served where `reflection` is true (dev
    and test). Construction refuses a service with a method that has no access option or streams.
    """

    def __init__(
        self,
        port: int,
        registrations: Sequence[Registration],
        *,
        verifier: TokenVerifier,
        metrics: Metrics,
        tracer: Tracer,
        random: Random,
        reflection: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self.name = "grpc"
        self.port = port
        self._host, self._registrations, self._reflection = host, tuple(registrations), reflection
        self._arguments = server_arguments(random)
        self._health = health.aio.HealthServicer()
        stages: Sequence[Stage] = (
            Tracing(tracer),
            Metering(metrics),
            failures,
            deadline,
            Access(verifier),
            Validation(),
        )
        self._interceptor = _Staged(stages, _methods(registrations))
        self._server: grpc.aio.Server | None = None
        self._draining: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Return when calls are answered. Raises OSError when the port is taken."""
        server = grpc.aio.server(interceptors=[self._interceptor], options=self._arguments)
        for registration in self._registrations:
            registration.add_to_server(registration.servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [registration.service_descriptor.full_name for registration in self._registrations]
        if self._reflection:
            reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        try:
            self.port = server.add_insecure_port(f"{self._host}:{self.port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._host}:{self.port}") from error
        await server.start()
        self._server = server
        for name in ("", *names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def not_ready(self) -> None:
        """Say not serving from now on; calls are still answered."""
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._health.enter_graceful_shutdown())

    async def stop(self, limit: timedelta) -> None:
        """Take no new calls, let those under way finish for at most `limit`, cancel the rest."""
        self.not_ready()
        if self._server is not None:
            await self._server.stop(limit.total_seconds())


def _methods(registrations: Sequence[Registration]) -> dict[str, Method]:
    """Every method by its path. Raises ValueError for one without access rights, and for streams."""
    methods = [
        (Method(registration.service_descriptor.full_name, method.name, scopes_of(method)), method)
        for registration in registrations
        for method in registration.service_descriptor.methods
    ]
    for ours, descriptor in methods:
        if not ours.scopes:
            raise ValueError(f"{ours.path} has no option tocsin.options.v1.access")
        if descriptor.client_streaming or descriptor.server_streaming:
            raise ValueError(f"{ours.path} streams; this server serves unary calls")
    return {ours.path: ours for ours, _ in methods}


class _Staged(grpc.aio.ServerInterceptor):
    """Puts the stages around the handlers of our methods; others (health, reflection) are left as they are."""

    def __init__(self, stages: Sequence[Stage], methods: dict[str, Method]) -> None:
        self._stages, self._methods = stages, methods
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        if path in self._wrapped:
            return self._wrapped[path]
        handler = await continuation(handler_call_details)
        method = self._methods.get(path)
        if handler is None or method is None:
            return handler
        self._wrapped[path] = grpc.unary_unary_rpc_method_handler(
            self._behaviour(method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return self._wrapped[path]

    def _behaviour(self, method: Method, handler: Handler) -> Any:
        async def behaviour(request: Message, context: Context) -> Message:
            call = Call(method, request, _text_metadata(context), context)
            try:
                return await _through(self._stages, call, lambda: handler(request, context))
            except TocsinError as error:
                status = to_status(error)
                details = ((DETAILS_KEY, status.SerializeToString()),)
                return await context.abort(error.code, error.message, details)

        return behaviour


async def _through(stages: Sequence[Stage], call: Call, handle: Proceed) -> Message:
    """The answer of `handle`, with the stages around it, the first outermost."""
    if not stages:
        return await handle()
    return await stages[0](call, lambda: _through(stages[1:], call, handle))


def _text_metadata(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
