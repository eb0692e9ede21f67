"""The trace a call or a job runs in, as a value."""

from tocsin_evaluator.model.facts import Trace
from tocsin_kit.telemetry.propagation import traceparent_of, tracestate_of


def current_trace() -> Trace:
    """The current span as a parent for what comes of it."""
    return Trace(traceparent_of(), tracestate_of())
