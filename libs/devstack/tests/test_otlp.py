"""The OTLP receiver: what a tracer provider exports arrives as one tree."""

import asyncio
from datetime import timedelta

import pytest
from opentelemetry import trace

from tocsin_devstack.otlp import Spans, receiving_spans
from tocsin_kit.telemetry.setup import make_tracer_provider, shut_down_tracing


async def test_exported_spans_arrive_as_a_tree() -> None:
    async with receiving_spans() as spans:
        provider = make_tracer_provider("tocsin-test", spans.endpoint, schedule=timedelta(milliseconds=50))
        tracer = provider.get_tracer("test")
        with tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER) as outer:
            with tracer.start_as_current_span("first", attributes={"tocsin.outcome": "sent"}):
                pass
            with tracer.start_as_current_span("second"):
                pass
        trace_id = format(outer.get_span_context().trace_id, "032x")
        root = await spans.tree(trace_id, until=lambda root: len(root.children) == 2)
        assert root.drawn() == "tocsin-test: outer\n  tocsin-test: first\n  tocsin-test: second"
        assert root.span.kind == "SERVER"
        first = root.find("first")
        assert first is not None
        assert first.span.attributes == {"tocsin.outcome": "sent"}
        await shut_down_tracing(provider)


async def test_waiting_for_what_does_not_come_says_what_there_is() -> None:
    spans = Spans()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(spans.tree("0" * 32), 0.05)
