"""What intake writes: notifications and the deliveries that were planned for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, FLAG, INSTANT, SMALL, TEXT, UUID_, RowSet, statement
from tocsin_dispatcher.values import Channel, Delivery, Firing, InAppMessage, SameFact
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


@dataclass(frozen=True, slots=True)
class FactKey:
    """One purchase on one channel of one user."""

    user: UserKey
    channel: Channel
    fact_key: str


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
    traceparent=TEXT,
    tracestate=TEXT,
)

# Fails on deliveries_one_per_fact when two would tell the same: intake has settled that under the users' locks.
_INSERT_DELIVERIES = statement(
    f"""
INSERT INTO deliveries (partner_id, id, purpose, notification_id, user_id, channel, destination_id, destination,
                        class, status, reason, due_at, expires_at, merged_into, fact_key, traceparent, tracestate,
                        created_at, sent_at)
SELECT x.partner_id, x.id, x.purpose, x.notification_id, x.user_id, x.channel, x.destination_id, x.destination,
       x.lane, x.status, x.reason, CASE WHEN x.status IN ('pending', 'held') THEN x.due_at END, x.expires_at,
       x.merged_into, x.fact_key, x.traceparent, x.tracestate, :now, CASE WHEN x.status = 'sent' THEN :now END
  FROM {_DELIVERIES}
""",  # noqa: S608 - the row set is of our own making
    _DELIVERIES,
    now=INSTANT,
)

_FACTS = RowSet("k", partner_id=BIG, user_id=BIG, channel=TEXT, fact_key=TEXT)

# Index deliveries_one_per_fact. Locks what it finds, by key: a worker cannot begin to send it meanwhile.
_TELLING = statement(
    f"""
SELECT d.partner_id, d.id, d.user_id, d.channel, d.fact_key, d.status, n.critical, n.daily_digest
  FROM {_FACTS}
  JOIN deliveries d ON d.partner_id = k.partner_id AND d.user_id = k.user_id AND d.channel = k.channel
                   AND d.destination_id IS NULL AND d.fact_key = k.fact_key
                   AND d.fact_key IS NOT NULL AND d.status NOT IN ('suppressed', 'merged', 'expired', 'failed')
  JOIN notifications n ON n.partner_id = d.partner_id AND n.id = d.notification_id
 ORDER BY d.partner_id, d.id
   FOR NO KEY UPDATE OF d
""",  # noqa: S608 - the row set is of our own making
    _FACTS,
)

_DISPLACED = RowSet("x", partner_id=BIG, id=UUID_, merged_into=UUID_)

# Primary key; the rows are locked already. A worker that had claimed one finds its lease gone.
_DISPLACE = statement(
    f"""
UPDATE deliveries d
   SET status = 'merged', reason = 'merged', merged_into = x.merged_into, due_at = NULL, leased_until = NULL
  FROM {_DISPLACED}
 WHERE d.partner_id = x.partner_id AND d.id = x.id
""",  # noqa: S608 - the row set is of our own making
    _DISPLACED,
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


async def deliveries_telling(connection: Connection, facts: Sequence[FactKey]) -> Mapping[FactKey, SameFact]:
    """The living deliveries that tell these facts already, locked."""
    if not facts:
        return {}
    rows = await connection.execute(
        _TELLING, _FACTS.filled([(*fact.user, fact.channel, fact.fact_key) for fact in facts])
    )
    return {
        FactKey(UserKey(row.partner_id, row.user_id), Channel(row.channel), row.fact_key): SameFact(
            row.id, DeliveryState(row.status), row.critical, row.daily_digest
        )
        for row in rows
    }


async def displace(connection: Connection, displaced: Sequence[tuple[DeliveryKey, UUID]]) -> None:
    """Each delivery becomes merged into the other one named; their rows are locked."""
    if displaced:
        await connection.execute(_DISPLACE, _DISPLACED.filled([(*key, into) for key, into in displaced]))


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
        delivery.traceparent,
        delivery.tracestate,
    )
