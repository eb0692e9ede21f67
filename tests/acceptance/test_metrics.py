"""What operators see of one purchase: what is counted of it, in the service that counts it, and every gauge."""

from datetime import timedelta

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Timetable

#: After a purchase that is told by e-mail and text, sweeps and an audit.
COUNTED = {
    "evaluator": (
        ("alerts_evaluated_total", {"alert_type": "transaction_limit", "triggered": "true"}),
        ("tocsin_fact_to_firing_seconds_count", {}),
    ),
    "dispatcher": (
        ("notifications_delivered_total", {"channel": "email", "status": "delivered"}),
        ("notifications_delivered_total", {"channel": "sms", "status": "delivered"}),
        ("notification_delivery_duration_seconds_count", {"channel": "email"}),
        ("tocsin_firing_to_attempt_seconds_count", {"class": "realtime"}),
        ("tocsin_provider_attempts_total", {"provider": "sendgrid", "outcome": "accepted"}),
        ("tocsin_provider_attempts_total", {"provider": "twilio", "outcome": "accepted"}),
        ("tocsin_suppressed_total", {"channel": "push", "reason": "no_address"}),
        ("tocsin_sms_segments_total", {}),
        ("tocsin_rpc_requests_total", None),
    ),
    "scheduler": (
        ("alert_jobs_processed_total", {"job_type": "evaluate.periodic", "status": "succeeded"}),
        ("alert_job_duration_seconds_count", {"job_type": "evaluate.periodic"}),
    ),
}
GAUGED = {
    "evaluator": (
        ("alert_queue_depth", {"queue_name": "outbox.evaluator"}),
        ("tocsin_outbox_oldest_seconds", {"service": "evaluator"}),
    ),
    "dispatcher": (
        ("alert_queue_depth", {"queue_name": "deliveries.email"}),
        ("circuit_breaker_state", {"service": "sendgrid"}),
        ("circuit_breaker_state", {"service": "twilio"}),
        ("circuit_breaker_state", {"service": "webhook"}),
        ("circuit_breaker_state", {"service": "webpush"}),
        ("tocsin_deliveries_overdue", {}),
        ("tocsin_ledger_gap", {}),
    ),
    "scheduler": (("alert_queue_depth", {"queue_name": "jobs.periodic"}),),
    "gateway": (("alert_queue_depth", {"queue_name": "outbox.gateway"}), ("tocsin_live_sockets", {})),
}


def value(day: Timetable, service: str, name: str, labels: dict[str, str] | None) -> float | None:
    """A sample; without labels named, the sum over all."""
    (registry,) = day.stack.registries[service]
    if labels is not None:
        return registry.get_sample_value(name, labels)
    samples = [one.value for family in registry.collect() for one in family.samples if one.name == name]
    return sum(samples) if samples else None


async def test_one_purchase_is_seen_in_every_metric(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(
            transaction_limit={"amount": "100.00", "currency": "USD"}, sms_delivery=True, push_delivery=True
        )
        await day.at("09:05", day.purchase("250.00"))
        await day.want(
            "email: Large transaction",
            "sms: Large transaction: $250.00 (limit: $100.00)",
            "inbox: Large transaction",
        )
        await day.wait(timedelta(hours=20))  # sweeps, and the audit at four

        counted = {(s, n, str(w)): value(day, s, n, w) for s, each in COUNTED.items() for n, w in each}
        assert [one for one, found in counted.items() if not found] == []
        gauged = {(s, n, str(w)): value(day, s, n, w) for s, each in GAUGED.items() for n, w in each}
        assert [one for one, found in gauged.items() if found is None] == []
