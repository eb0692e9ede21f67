"""Rows as the values that travel outside of the store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import AlertKind, Channel, Delivery, Notification, Purpose, WorkClass
from tocsin_dispatcher.values.context_json import context_from_json

#: The columns of a delivery `d` that `delivery_of` reads.
DELIVERY_COLUMNS = """d.partner_id, d.id, d.purpose, d.notification_id, d.user_id, d.channel, d.destination_id,
       d.destination, d.class, d.status, d.reason, d.due_at, d.attempt, d.failures, d.expires_at, d.fact_key,
       d.created_at, d.provider, d.provider_id, d.token_taken, d.repeated_after_unknown, d.possible_duplicate,
       d.leased_until, d.segments, d.traceparent, d.tracestate"""

#: The columns of its notification `n` that `notification_of` reads beside them.
NOTIFICATION_COLUMNS = """n.alert_id, n.kind, n.critical, n.daily_digest, n.metadata, n.fired_at, n.title, n.message,
       n.action_url, n.time_zone, n.locale"""


def delivery_of(row: Row[Any], status: str | None = None, due_at: datetime | None = None) -> Delivery:
    """The delivery in a row with `DELIVERY_COLUMNS`; `status` and `due_at` stand for the row's where those were others
    before."""
    return Delivery(
        id=row.id,
        partner_id=row.partner_id,
        purpose=Purpose(row.purpose),
        notification_id=row.notification_id,
        user_id=row.user_id,
        channel=Channel(row.channel),
        destination_id=row.destination_id,
        destination=row.destination,
        work_class=WorkClass(getattr(row, "class")),
        status=DeliveryState(status or row.status),
        reason=None if row.reason is None else Reason(row.reason),
        due_at=due_at or row.due_at or row.created_at,
        attempt=row.attempt,
        failures=row.failures,
        expires_at=row.expires_at,
        fact_key=row.fact_key,
        created_at=row.created_at,
        provider=row.provider,
        provider_id=row.provider_id,
        token_taken=row.token_taken,
        repeated_after_unknown=row.repeated_after_unknown,
        segments=row.segments,
        traceparent=row.traceparent,
        tracestate=row.tracestate,
    )


def notification_of(row: Row[Any]) -> Notification:
    """The notification that the delivery in a row carries, from `NOTIFICATION_COLUMNS`."""
    kind = AlertKind(row.kind)
    return Notification(
        id=row.notification_id,
        partner_id=row.partner_id,
        user_id=row.user_id,
        alert_id=row.alert_id,
        kind=kind,
        work_class=WorkClass(getattr(row, "class")),
        critical=row.critical,
        daily_digest=row.daily_digest,
        context=context_from_json(kind, row.metadata),
        fired_at=row.fired_at,
        title=row.title,
        message=row.message,
        action_url=row.action_url,
    )
