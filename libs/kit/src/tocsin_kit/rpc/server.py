"""The gRPC server of every service: one chassis, one visible list of stages, unary calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, cast

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
from tocsin_kit.rpc.stages.stage import Call, Method, Stage, scopes_of
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
        self._staged = _Staged(stages, _methods(registrations))
        self._server: grpc.aio.Server | None = None
        self._draining: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Return when calls are answered. Raises OSError when the port is taken."""
        server = grpc.aio.server(options=self._arguments)
        for registration in self._registrations:
            registration.add_to_server(registration.servicer, self._staged.before(server))
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


class _Staged:
    """Puts the stages around the handlers of our methods, once and for all: an interceptor would be asked at every
    call, which costs as much as three stages."""

    def __init__(self, stages: Sequence[Stage], methods: dict[str, Method]) -> None:
        self._stages, self._methods = stages, methods

    def before(self, server: grpc.aio.Server) -> grpc.aio.Server:
        """The server as a generated `add_...Servicer_to_server` sees it."""
        return cast(grpc.aio.Server, _Registrar(server, self))

    def around(self, path: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a method with the stages around it, the first outermost."""
        method = self._methods[path]
        inmost = cast(Handler, handler.unary_unary)

        async def handle(call: Call) -> Message:
            return await inmost(call.request, call.context)

        step: Callable[[Call], Awaitable[Message]] = handle
        for stage in reversed(self._stages):
            step = _stepping(stage, step)

        async def behaviour(request: Message, context: Context) -> Message:
            try:
                return await step(Call(method, request, _text_metadata(context), context))
            except TocsinError as error:
                status = to_status(error)
                details = ((DETAILS_KEY, status.SerializeToString()),)
                return await context.abort(error.code, error.message, details)

        return grpc.unary_unary_rpc_method_handler(
            behaviour,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _stepping(stage: Stage, inner: Callable[[Call], Awaitable[Message]]) -> Callable[[Call], Awaitable[Message]]:
    return lambda call: stage(call, lambda: inner(call))


@dataclass(frozen=True)
class _Registrar:
    """Takes the handlers that generated code adds to a server."""

    server: grpc.aio.Server
    staged: _Staged

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add them with the stages around each method's."""
        self.server.add_generic_rpc_handlers([_StagedHandlers(each, self.staged) for each in handlers])

    def add_registered_method_handlers(
        self, service_name: str, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """The same handlers once more, for servers that look them up by name; grpc.aio's does not."""


class _StagedHandlers(grpc.GenericRpcHandler):
    """Answers which handler serves a method, wrapped at its first call."""

    def __init__(self, inner: grpc.GenericRpcHandler, staged: _Staged) -> None:
        self._inner, self._staged = inner, staged
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler; None where the method is not of this service."""
        path = handler_call_details.method
        if path in self._wrapped:
            return self._wrapped[path]
        handler = self._inner.service(handler_call_details)
        if handler is not None:
            self._wrapped[path] = self._staged.around(path, handler)
        return self._wrapped.get(path)


def _text_metadata(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
