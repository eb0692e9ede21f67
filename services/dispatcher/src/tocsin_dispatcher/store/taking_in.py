"""What intake writes: notifications and the deliveries that were planned for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.history import decided, noting
from tocsin_dispatcher.store.statement import BIG, FLAG, INSTANT, SMALL, TEXT, UUID_, RowSet, statement
from tocsin_dispatcher.values import Delivery, Firing, InAppMessage
from tocsin_dispatcher.values.context_json import context_to_json


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A firing with its words, the inbox's version it gets and how many deliveries are planned for it."""

    firing: Firing
    words: InAppMessage
    version: int
    planned: int


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A planned delivery; `merged_into` names the one that already tells its fact."""

    delivery: Delivery
    merged_into: UUID | None = None


_NOTIFICATIONS = RowSet(
    "x",
    partner_id=BIG,
    id=UUID_,
    user_id=BIG,
    alert_id=BIG,
    kind=TEXT,
    lane=TEXT,
    critical=FLAG,
    daily_digest=FLAG,
    alert_name=TEXT,
    title=TEXT,
    message=TEXT,
    action_url=TEXT,
    metadata=TEXT,
    profile_version=BIG,
    time_zone=TEXT,
    locale=TEXT,
    planned=SMALL,
    fired_at=INSTANT,
    version=BIG,
)

# The primary key makes a firing that comes again do nothing. Users' unread rows are locked already.
_INSERT_NOTIFICATIONS = statement(
    f"""
INSERT INTO notifications (partner_id, id, user_id, alert_id, kind, class, critical, daily_digest, alert_name, title,
                           message, action_url, metadata, profile_version, time_zone, locale, planned, fired_at,
                           created_at, version)
SELECT x.partner_id, x.id, x.user_id, x.alert_id, x.kind, x.lane, x.critical, x.daily_digest, x.alert_name, x.title,
       x.message, x.action_url, CAST(x.metadata AS jsonb), x.profile_version, x.time_zone, x.locale, x.planned,
       x.fired_at, :now, x.version
  FROM {_NOTIFICATIONS}
ON CONFLICT (partner_id, id) DO NOTHING
RETURNING id
""",  # noqa: S608 - the row set is of our own making
    _NOTIFICATIONS,
    now=INSTANT,
)

_DELIVERIES = RowSet(
    "x",
    partner_id=BIG,
    id=UUID_,
    purpose=TEXT,
    notification_id=UUID_,
    user_id=BIG,
    channel=TEXT,
    destination_id=UUID_,
    destination=TEXT,
    lane=TEXT,
    status=TEXT,
    reason=TEXT,
    due_at=INSTANT,
    expires_at=INSTANT,
    merged_into=UUID_,
    fact_key=TEXT,
    token_taken=FLAG,
    traceparent=TEXT,
    tracestate=TEXT,
)

# Fails on deliveries_one_per_fact when two would tell the same: intake has settled that under the users' locks.
_INSERT_DELIVERIES = statement(
    f"""
WITH planned AS (
  INSERT INTO deliveries (partner_id, id, purpose, notification_id, user_id, channel, destination_id, destination,
                          class, status, reason, due_at, expires_at, merged_into, fact_key, token_taken, traceparent,
                          tracestate, created_at, sent_at)
  SELECT x.partner_id, x.id, x.purpose, x.notification_id, x.user_id, x.channel, x.destination_id, x.destination,
         x.lane, x.status, x.reason, CASE WHEN x.status IN ('pending', 'held') THEN x.due_at END, x.expires_at,
         x.merged_into, x.fact_key, x.token_taken, x.traceparent, x.tracestate, :now,
         CASE WHEN x.status = 'sent' THEN :now END
    FROM {_DELIVERIES}
  RETURNING partner_id, id, reason, due_at AS until, merged_into AS joined_id, {decided("new")} AS happening
)
{noting("planned")}
""",  # noqa: S608 - the row set is of our own making
    _DELIVERIES,
    now=INSTANT,
)


async def insert_notifications(
    connection: Connection, notifications: Sequence[NewNotification], now: datetime
) -> frozenset[UUID]:
    """Write those that are not there yet; answers their ids."""
    rows = [_notification_row(new) for new in notifications]
    written = await connection.execute(_INSERT_NOTIFICATIONS, {**_NOTIFICATIONS.filled(rows), "now": now})
    return frozenset(written.scalars())


async def insert_deliveries(connection: Connection, deliveries: Sequence[NewDelivery], now: datetime) -> None:
    """Write planned deliveries."""
    rows = [_delivery_row(new.delivery, new.merged_into) for new in deliveries]
    await connection.execute(_INSERT_DELIVERIES, {**_DELIVERIES.filled(rows), "now": now})


def _notification_row(new: NewNotification) -> tuple[object, ...]:
    firing, words = new.firing, new.words
    return (
        firing.partner_id,
        firing.id,
        firing.user_id,
        firing.alert_id,
        firing.kind,
        firing.work_class,
        firing.critical,
        firing.daily_digest,
        firing.alert_name,
        words.title,
        words.message,
        words.action_url,
        json.dumps(context_to_json(firing.context)),
        firing.profile_version,
        firing.time_zone,
        firing.locale,
        new.planned,
        firing.fired_at,
        new.version,
    )


def _delivery_row(delivery: Delivery, merged_into: UUID | None) -> tuple[object, ...]:
    return (
        delivery.partner_id,
        delivery.id,
        delivery.purpose,
        delivery.notification_id,
        delivery.user_id,
        delivery.channel,
        delivery.destination_id,
        delivery.destination,
        delivery.work_class,
        delivery.status,
        delivery.reason,
        delivery.due_at,
        delivery.expires_at,
        merged_into,
        delivery.fact_key,
        delivery.token_taken,
        delivery.traceparent,
        delivery.tracestate,
    )
