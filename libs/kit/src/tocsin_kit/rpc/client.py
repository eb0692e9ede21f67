"""Channels to other services: a deadline always, the trace and a token passed on, cancellation that arrives.

OpenTelemetry's own interceptor for grpc.aio clients lets a cancelled call run on at the server; this one hands the
call itself back, so that cancelling it cancels it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

import grpc
from grpc.aio import ClientCallDetails, Metadata, UnaryUnaryCall, UnaryUnaryClientInterceptor
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from tocsin_kit.rpc.connection import client_arguments
from tocsin_kit.rpc.deadlines import time_left
from tocsin_kit.telemetry import names
from tocsin_kit.telemetry.propagation import trace_headers


class Tokens(Protocol):
    """Whoever has a token to call with; our services have `InternalTokens`."""

    def current(self) -> str:
        """A token that is valid now."""
        ...


DEFAULT_DEADLINE = timedelta(seconds=10)


def channel(
    target: str,
    *,
    tokens: Tokens | None,
    tracer: Tracer,
    default_deadline: timedelta = DEFAULT_DEADLINE,
) -> grpc.aio.Channel:
    """A channel to `target` (`host:port`: every address of the name gets calls in turn). Make it in the event loop.

    A call gets `default_deadline` unless it says `timeout`, and never more than the call being served has left. Calls
    carry a token of `tokens` unless their own `metadata` has `authorization`. Only unary calls are looked after.
    """
    if "://" not in target and not target.startswith(("dns:", "unix:", "ipv4:", "ipv6:")):
        target = f"dns:///{target}"
    interceptor = _Outgoing(tokens, tracer, default_deadline)
    return grpc.aio.insecure_channel(target, options=client_arguments(), interceptors=[interceptor])


class _Outgoing(UnaryUnaryClientInterceptor):
    """What every outgoing call gets. Never awaits the call: that would stand between it and its cancellation."""

    def __init__(self, tokens: Tokens | None, tracer: Tracer, default_deadline: timedelta) -> None:
        self._tokens, self._tracer, self._default = tokens, tracer, default_deadline
        self._ending: set[asyncio.Task[None]] = set()

    async def intercept_unary_unary(
        self,
        continuation: Callable[[ClientCallDetails, Any], Any],
        client_call_details: ClientCallDetails,
        request: Any,
    ) -> UnaryUnaryCall[Any, Any]:
        path = client_call_details.method
        path = path.decode() if isinstance(path, bytes) else path
        service, _, method = path.removeprefix("/").partition("/")
        span = self._tracer.start_span(
            path.removeprefix("/"), kind=SpanKind.CLIENT, attributes=names.rpc_attributes(service, method)
        )
        details = ClientCallDetails(
            client_call_details.method,
            self._timeout(client_call_details.timeout),
            self._metadata(client_call_details.metadata, span),
            client_call_details.credentials,
            client_call_details.wait_for_ready,
        )
        call: UnaryUnaryCall[Any, Any] = await continuation(details, request)
        call.add_done_callback(lambda _: self._end_soon(span, call))
        return call

    def _timeout(self, asked: float | None) -> float:
        wanted = self._default.total_seconds() if asked is None else asked
        left = time_left()
        return wanted if left is None else min(wanted, left.total_seconds())

    def _metadata(self, given: Metadata | None, span: Span) -> Metadata:
        metadata = Metadata(*(given or ()))
        for key, value in trace_headers(trace.set_span_in_context(span)).items():
            metadata.set_all(key, [value])
        if self._tokens is not None and metadata.get("authorization") is None:
            metadata.add("authorization", f"Bearer {self._tokens.current()}")
        return metadata

    def _end_soon(self, span: Span, call: UnaryUnaryCall[Any, Any]) -> None:
        """gRPC tells a call's status to coroutines only, even when the call is done."""
        ending = asyncio.ensure_future(_end(span, call))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


async def _end(span: Span, call: UnaryUnaryCall[Any, Any]) -> None:
    code = await call.code()
    span.set_attribute(names.RPC_GRPC_STATUS_CODE, code.value[0])
    if code is not grpc.StatusCode.OK:
        span.set_status(Status(StatusCode.ERROR, code.name))
    span.end()
