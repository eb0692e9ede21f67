"""The server's span of a call, continuing the caller's trace."""

from __future__ import annotations

from google.protobuf.message import Message
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_kit.rpc.stages.stage import Call, Proceed
from tocsin_kit.telemetry import names
from tocsin_kit.telemetry.propagation import context_of

#: Failures of the server; for other reasons the semantic conventions leave a server's span unset.
_SERVER_FAILED = frozenset({Reason.INTERNAL, Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED})


class Tracing:
    """Opens a span named after the RPC (OpenTelemetry semantic conventions for RPC)."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        """The answer, with its span ended."""
        parent = context_of(call.metadata.get("traceparent"), call.metadata.get("tracestate"))
        with self._tracer.start_as_current_span(
            call.method.path[1:],
            context=parent,
            kind=SpanKind.SERVER,
            attributes=names.rpc_attributes(call.method.service, call.method.name),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                answer = await proceed()
            except TocsinError as error:
                span.set_attribute(names.RPC_GRPC_STATUS_CODE, error.code.value[0])
                span.set_attribute(names.OUTCOME, error.reason.value)
                if error.reason in _SERVER_FAILED:
                    span.set_status(Status(StatusCode.ERROR, error.reason.value))
                raise
            span.set_attribute(names.RPC_GRPC_STATUS_CODE, 0)
            return answer
