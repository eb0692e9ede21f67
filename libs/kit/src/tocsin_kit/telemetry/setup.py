"""Traces: one tracer provider per app, sent as OTLP over gRPC where an endpoint is configured."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

#: Spans waiting for the exporter; beyond that the newest are dropped and counted by the SDK, never waited for.
_WAITING = 16_384
_EXPORT_LIMIT = timedelta(seconds=5)
SCHEDULE = timedelta(seconds=1)


def make_tracer_provider(
    service_name: str, endpoint: str | None = None, ratio: float = 1.0, *, schedule: timedelta = SCHEDULE
) -> TracerProvider:
    """The tracer provider of one app.

    `endpoint` is the collector's (`http://host:4317`; None keeps spans to the process, ids still travel); `ratio` the
    share of new traces that are kept, a trace that somebody else began follows its beginning; `schedule` how often
    spans are sent.
    """
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({SERVICE_NAME: service_name}),
        shutdown_on_exit=False,
    )
    if endpoint:
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_LIMIT.total_seconds())
        provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=_WAITING, schedule_delay_millis=schedule.total_seconds() * 1000)
        )
    return provider


async def shut_down_tracing(provider: TracerProvider, limit: timedelta = _EXPORT_LIMIT) -> bool:
    """Send what is waiting and close; whether that was done within `limit`.

    The SDK blocks, for up to 30 s when the collector is away: it does so in a thread that is left behind then.
    """
    closing = threading.Thread(target=provider.shutdown, name="tracing-shutdown", daemon=True)
    closing.start()
    await asyncio.to_thread(closing.join, limit.total_seconds())
    return not closing.is_alive()
