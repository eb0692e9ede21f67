"""An OTLP receiver in this process: the services export their spans to it over gRPC, tests read whole traces.

async with receiving_spans() as spans:
    ...                                  # settings: otlp_endpoint=spans.endpoint
    root = await spans.tree(trace_id, until=lambda root: root.find("POST /webhooks/sendgrid") is not None)
    print(root.drawn())
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

_LIMIT = timedelta(seconds=20)


@dataclass(frozen=True)
class Span:
    """One finished span, as exported. Ids are in hex; `parent_id` is empty for a root."""

    service: str
    name: str
    kind: str  # INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str | int | float | bool]
    linked_traces: tuple[str, ...]
    started: int  # ns since 1970, the machine's clock
    failed: bool


@dataclass
class Node:
    """A span and what happened under it, in the order it began."""

    span: Span
    children: list["Node"] = field(default_factory=list)

    def walk(self) -> Iterator["Node"]:
        """This node and everything below, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, name: str, service: str | None = None) -> "Node | None":
        """The first node whose span is called so (and is of that service)."""
        return next((node for node in self.walk() if node.is_called(name, service)), None)

    def is_called(self, name: str, service: str | None = None) -> bool:
        """Whether the span has this name and service."""
        return self.span.name == name and service in (None, self.span.service)

    def drawn(self, depth: int = 0) -> str:
        """The tree as indented lines `service: name`, for assertions' messages."""
        line = f"{'  ' * depth}{self.span.service}: {self.span.name}"
        return "\n".join((line, *(child.drawn(depth + 1) for child in self.children)))


class Spans:
    """Everything that was exported to us so far."""

    def __init__(self) -> None:
        self.all: list[Span] = []
        self.endpoint = ""
        self._more = asyncio.Condition()

    async def add(self, spans: list[Span]) -> None:
        """Take in what an exporter sent."""
        async with self._more:
            self.all += spans
            self._more.notify_all()

    def of(self, trace_id: str) -> list[Span]:
        """The spans of one trace in the order they began."""
        return sorted((span for span in self.all if span.trace_id == trace_id), key=lambda span: span.started)

    def roots(self, trace_id: str) -> list[Node]:
        """The trees of a trace: one when it is whole, more while parents have not been exported yet."""
        nodes = {span.span_id: Node(span) for span in self.of(trace_id)}
        roots: list[Node] = []
        for node in nodes.values():
            parent = nodes.get(node.span.parent_id)
            (parent.children if parent is not None else roots).append(node)
        return roots

    async def tree(self, trace_id: str, *, until: Callable[[Node], bool] = lambda _: True) -> Node:
        """The one tree of a trace, once it is whole and `until` holds for it.

        Raises TimeoutError with the trees as they are when that does not come true.
        """
        try:
            async with asyncio.timeout(_LIMIT.total_seconds()), self._more:
                while True:
                    roots = self.roots(trace_id)
                    if len(roots) == 1 and until(roots[0]):
                        return roots[0]
                    await self._more.wait()
        except TimeoutError:
            drawn = "\n---\n".join(root.drawn() for root in self.roots(trace_id))
            raise TimeoutError(f"trace {trace_id} did not become what was awaited:\n{drawn}") from None


class _TraceService(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    async def Export(
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: "grpc.aio.ServicerContext[object, object]",
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        await self._spans.add(list(_spans_of(request)))
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def receiving_spans() -> AsyncIterator[Spans]:
    """A receiver on a free port; `endpoint` is what OTEL_EXPORTER_OTLP_ENDPOINT wants."""
    spans = Spans()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call] # generated
        _TraceService(spans), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    spans.endpoint = f"http://127.0.0.1:{port}"
    try:
        yield spans
    finally:
        await server.stop(grace=0)


def _spans_of(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            for message in scope.spans:
                yield _span(service, message)


def _span(service: str, message: SpanMessage) -> Span:
    return Span(
        service=service,
        name=message.name,
        kind=SpanMessage.SpanKind.Name(message.kind).removeprefix("SPAN_KIND_"),
        trace_id=message.trace_id.hex(),
        span_id=message.span_id.hex(),
        parent_id=message.parent_span_id.hex(),
        attributes=_attributes(message.attributes),
        linked_traces=tuple(link.trace_id.hex() for link in message.links),
        started=message.start_time_unix_nano,
        failed=message.status.code == Status.STATUS_CODE_ERROR,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, str | int | float | bool]:
    found = {}
    for pair in pairs:
        value: AnyValue = pair.value
        kind = value.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value", "bool_value"):
            found[pair.key] = getattr(value, kind)
    return found
