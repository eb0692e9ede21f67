"""Traces travel as W3C Trace Context and are sent by OTLP over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tocsin_kit.telemetry.propagation import cause_of, context_of, link_to, traceparent_of
from tocsin_kit.telemetry.setup import make_tracer_provider, shut_down_tracing
from tocsin_kit.telemetry.spans import answered, client_span

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LATER = timedelta(hours=1)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:
        self.received += request.resource_spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    receiver = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield receiver, f"http://127.0.0.1:{port}"
    server.stop(0).wait()


async def test_what_is_not_sent_yet_is_sent_at_shutdown(collector: tuple[Collector, str]) -> None:
    receiver, endpoint = collector
    provider = make_tracer_provider("evaluator", endpoint, schedule=LATER)
    with provider.get_tracer("test").start_as_current_span("work"):
        pass
    assert receiver.received == []
    assert await shut_down_tracing(provider)
    (resource,) = receiver.received
    assert [span.name for scope in resource.scope_spans for span in scope.spans] == ["work"]
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes}["service.name"] == "evaluator"


async def test_a_collector_that_is_away_does_not_hold_up_the_end() -> None:
    provider = make_tracer_provider("evaluator", "http://127.0.0.1:1", schedule=LATER)
    with provider.get_tracer("test").start_as_current_span("work"):
        pass
    assert not await shut_down_tracing(provider, timedelta(milliseconds=200))


def test_the_ratio_is_for_new_traces_and_others_are_followed() -> None:
    tracer = make_tracer_provider("evaluator", ratio=0.0).get_tracer("test")
    assert not tracer.start_span("new").get_span_context().trace_flags.sampled
    assert tracer.start_span("continued", context_of(PARENT)).get_span_context().trace_flags.sampled


def test_a_trace_goes_through_a_row() -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("sender") as sender:
        stored = traceparent_of()
    continued = tracer.start_span("receiver", context_of(stored, "vendor=1"))
    assert continued.get_span_context().trace_id == sender.get_span_context().trace_id
    assert continued.get_span_context().trace_state.get("vendor") == "1"


@pytest.mark.parametrize("nonsense", [None, "", "x", "00-0-0-0", PARENT[:-1]])
def test_nonsense_begins_a_new_trace(nonsense: str | None) -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("unrelated") as unrelated:
        span = tracer.start_span("new", context_of(nonsense))
    assert span.get_span_context().trace_id != unrelated.get_span_context().trace_id
    assert link_to(nonsense) is None


def test_without_a_span_there_is_no_traceparent() -> None:
    assert traceparent_of() is None


def test_a_link_points_at_the_remote_span() -> None:
    link = link_to(PARENT)
    assert link is not None
    assert trace.format_span_id(link.context.span_id) == "b7ad6b7169203331"


def spans_of(work: Any) -> Any:
    """The spans that `work(tracer)` ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    work(provider.get_tracer("test"))
    return exporter.get_finished_spans()


def test_a_providers_call_has_a_client_span_in_the_stored_trace() -> None:
    def work(tracer: trace.Tracer) -> None:
        with client_span(
            tracer, "POST", "https://api.example/v3/mail", attributes={"tocsin.outcome": "x"}, parent=context_of(PARENT)
        ) as span:
            answered(span, 202)

    (span,) = spans_of(work)
    assert span.parent.span_id == 0xB7AD6B7169203331
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "url.full": "https://api.example/v3/mail",
        "server.address": "api.example",
        "server.port": 443,
        "tocsin.outcome": "x",
        "http.response.status_code": 202,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_failed_call_says_what_failed_and_nothing_private() -> None:
    def work(tracer: trace.Tracer) -> None:
        with client_span(tracer, "POST", "http://api.example:8080/x") as span:
            answered(span, 429)
        with pytest.raises(ConnectionError), client_span(tracer, "POST", "http://api.example:8080/x"):
            raise ConnectionError("while mailing ann@example.com")

    refused, broken = spans_of(work)
    assert (refused.attributes["error.type"], refused.status.status_code) == ("429", StatusCode.ERROR)
    assert (broken.attributes["error.type"], broken.status.status_code) == ("ConnectionError", StatusCode.ERROR)
    assert "ann@" not in broken.to_json()


def test_work_of_a_run_is_linked_to_the_run_that_its_tracestate_names() -> None:
    """Others' entries are left alone, and an entry that names nothing links to nothing."""
    [link] = cause_of("other=1,tocsin=0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331")
    assert (link.context.trace_id, link.context.span_id) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    assert cause_of("tocsin=nothing") == cause_of("other=1") == cause_of(None) == []
