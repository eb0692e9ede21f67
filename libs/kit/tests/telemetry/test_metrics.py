"""The metrics' names, labels and buckets are what dashboards and alert rules are written against."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from tocsin_kit.telemetry.metrics import Metrics

WANTED = {
    "alert_jobs_processed": ("job_type", "status"),
    "alert_job_duration_seconds": ("job_type",),
    "alerts_evaluated": ("alert_type", "triggered"),
    "notifications_delivered": ("channel", "status"),
    "notification_delivery_duration_seconds": ("channel",),
    "alert_queue_depth": ("queue_name",),
    "circuit_breaker_state": ("service",),
    "tocsin_fact_to_firing_seconds": (),
    "tocsin_firing_to_attempt_seconds": ("class",),
    "tocsin_outbox_oldest_seconds": ("service",),
    "tocsin_deliveries_overdue": (),
    "tocsin_deliveries_oldest_overdue_seconds": (),
    "tocsin_held_deliveries": ("reason",),
    "tocsin_suppressed": ("channel", "reason"),
    "tocsin_provider_attempts": ("provider", "outcome"),
    "tocsin_sms_segments": (),
    "tocsin_template_failures": ("channel", "reason"),
    "tocsin_live_sockets": (),
    "tocsin_ledger_gap": (),
    "tocsin_rpc_requests": ("service", "method", "status"),
    "tocsin_rpc_duration_seconds": ("service", "method"),
}


def every_metric(metrics: Metrics) -> list[MetricWrapperBase]:
    """Each metric once, in use."""
    names = [name for name in vars(Metrics) if not name.startswith("_")]
    return [getattr(metrics, name) for name in names]


def test_every_metric_has_its_name_and_labels() -> None:
    made = {metric._name: metric._labelnames for metric in every_metric(Metrics(CollectorRegistry()))}
    assert made == WANTED


def test_buckets_reach_beyond_what_is_alerted_on() -> None:
    metrics = Metrics(CollectorRegistry())
    assert metrics.job_duration._kwargs["buckets"] == (0.1, 0.5, 1, 2, 5, 10, 30, 120)
    assert metrics.delivery_duration._kwargs["buckets"] == (0.1, 0.5, 1, 2, 5, 10, 30, 60)


def test_an_app_exports_only_what_it_uses() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    assert generate_latest(registry) == b""
    metrics.sms_segments.inc(2)
    assert registry.get_sample_value("tocsin_sms_segments_total") == 2
    assert b"tocsin_ledger_gap" not in generate_latest(registry)
