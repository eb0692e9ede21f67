"""The metrics of operations, by the names that dashboards and alert rules know.

A metric exists in an app's registry from its first use on: an app exports what it measures and nothing else.
"""

from __future__ import annotations

from functools import cached_property

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

JOB_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 120)
DELIVERY_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60)
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_RPC_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def exemplar() -> dict[str, str] | None:
    """The current trace's id as an exemplar; None when there is no trace or it is not kept."""
    span_context = trace.get_current_span().get_span_context()
    if not span_context.trace_flags.sampled:
        return None
    return {"trace_id": trace.format_trace_id(span_context.trace_id)}


class Metrics:
    """Every metric of the suite, on one app's registry. Make one per app and pass it on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    @cached_property
    def jobs_processed(self) -> Counter:
        """Jobs that ended, by type and status."""
        return self._counter("alert_jobs_processed_total", "Jobs that ended.", "job_type", "status")

    @cached_property
    def job_duration(self) -> Histogram:
        """Seconds from a job's start to its end."""
        return self._histogram("alert_job_duration_seconds", "Duration of jobs.", JOB_BUCKETS, "job_type")

    @cached_property
    def alerts_evaluated(self) -> Counter:
        """Evaluations; `triggered` is `true` or `false`."""
        return self._counter("alerts_evaluated_total", "Alerts evaluated.", "alert_type", "triggered")

    @cached_property
    def notifications_delivered(self) -> Counter:
        """Deliveries that reached a final status."""
        return self._counter("notifications_delivered_total", "Deliveries that ended.", "channel", "status")

    @cached_property
    def delivery_duration(self) -> Histogram:
        """Seconds from a delivery's due time to the provider's answer."""
        return self._histogram(
            "notification_delivery_duration_seconds", "Duration of deliveries.", DELIVERY_BUCKETS, "channel"
        )

    @cached_property
    def queue_depth(self) -> Gauge:
        """Rows waiting in `jobs.<class>`, `deliveries.<channel>` or `outbox.<service>`."""
        return self._gauge("alert_queue_depth", "Rows that wait.", "queue_name")

    @cached_property
    def circuit_breaker_state(self) -> Gauge:
        """The worst of a provider's breakers: 0 closed, 1 half open, 2 open."""
        return self._gauge("circuit_breaker_state", "0 closed, 1 half open, 2 open.", "service")

    @cached_property
    def fact_to_firing(self) -> Histogram:
        """Seconds from a fact's arrival to its firing."""
        return self._histogram("tocsin_fact_to_firing_seconds", "From fact to firing.", _LATENCY_BUCKETS)

    @cached_property
    def firing_to_attempt(self) -> Histogram:
        """Seconds from a firing to the first attempt of its deliveries."""
        return self._histogram(
            "tocsin_firing_to_attempt_seconds", "From firing to first attempt.", _LATENCY_BUCKETS, "class"
        )

    @cached_property
    def outbox_oldest(self) -> Gauge:
        """Age in seconds of the oldest outbox row; 0 when there is none."""
        return self._gauge("tocsin_outbox_oldest_seconds", "Age of the oldest outbox row.", "service")

    @cached_property
    def deliveries_overdue(self) -> Gauge:
        """Deliveries due for more than a minute."""
        return self._gauge("tocsin_deliveries_overdue", "Deliveries that are overdue.")

    @cached_property
    def oldest_overdue(self) -> Gauge:
        """For how many seconds the oldest delivery that is due has been due; 0 where none is."""
        return self._gauge("tocsin_deliveries_oldest_overdue_seconds", "Age of the oldest delivery that is due.")

    @cached_property
    def held_deliveries(self) -> Gauge:
        """Deliveries held back, by reason."""
        return self._gauge("tocsin_held_deliveries", "Deliveries held back.", "reason")

    @cached_property
    def suppressed(self) -> Counter:
        """Deliveries not made, by channel and reason."""
        return self._counter("tocsin_suppressed_total", "Deliveries suppressed.", "channel", "reason")

    @cached_property
    def provider_attempts(self) -> Counter:
        """Calls to providers, by what came of them."""
        return self._counter("tocsin_provider_attempts_total", "Calls to providers.", "provider", "outcome")

    @cached_property
    def sms_segments(self) -> Counter:
        """SMS segments sent."""
        return self._counter("tocsin_sms_segments_total", "SMS segments sent.")

    @cached_property
    def template_failures(self) -> Counter:
        """Messages that were told in built-in words because a bank's template failed, by channel and how it failed."""
        return self._counter("tocsin_template_failures_total", "Banks' templates that failed.", "channel", "reason")

    @cached_property
    def live_sockets(self) -> Gauge:
        """WebSockets that are open."""
        return self._gauge("tocsin_live_sockets", "Live sockets.")

    @cached_property
    def ledger_gap(self) -> Gauge:
        """Firings and notifications without a match, as the last audit found. Mostly firings."""
        return self._gauge("tocsin_ledger_gap", "Firings and notifications without a match.")

    @cached_property
    def rpc_requests(self) -> Counter:
        """RPCs served, by gRPC status."""
        return self._counter("tocsin_rpc_requests_total", "RPCs served.", "service", "method", "status")

    @cached_property
    def rpc_duration(self) -> Histogram:
        """Seconds an RPC took."""
        return self._histogram("tocsin_rpc_duration_seconds", "Duration of RPCs.", _RPC_BUCKETS, "service", "method")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)
