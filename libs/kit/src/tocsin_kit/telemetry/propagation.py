"""Carrying a trace over a wire or through a row (W3C Trace Context)."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()


def trace_headers(context: Context | None = None) -> dict[str, str]:
    """`traceparent` and, if any, `tracestate` of `context` (None: the current one); empty without a trace."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context)
    return carrier


def traceparent_of(context: Context | None = None) -> str | None:
    """The `traceparent` of `context` (None: the current one); None when there is no trace."""
    return trace_headers(context).get("traceparent")


def tracestate_of(context: Context | None = None) -> str | None:
    """The `tracestate` of `context` (None: the current one); None when there is none."""
    return trace_headers(context).get("tracestate")


def context_of(traceparent: str | None, tracestate: str | None = None) -> Context:
    """A context whose parent is the remote span; an unreadable or missing `traceparent` gives one without a parent."""
    carrier = {"traceparent": traceparent or "", "tracestate": tracestate or ""}
    return _W3C.extract({key: value for key, value in carrier.items() if value}, Context())


def link_to(traceparent: str | None, tracestate: str | None = None) -> trace.Link | None:
    """A link to the remote span, for work that follows from it without being part of its trace."""
    span_context = trace.get_current_span(context_of(traceparent, tracestate)).get_span_context()
    return trace.Link(span_context) if span_context.is_valid else None


def cause_of(tracestate: str | None) -> list[trace.Link]:
    """A link to the span named by our own entry of `tracestate` (`tocsin=<trace id>-<span id>`); else none.

    Work that is one of a million made by the same run is a trace of its own, linked to that run (operations page).
    """
    for entry in (tracestate or "").split(","):
        name, _, value = entry.strip().partition("=")
        if name == "tocsin":
            link = link_to(f"00-{value}-01")
            return [] if link is None else [link]
    return []
