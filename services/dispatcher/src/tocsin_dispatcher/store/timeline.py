"""Everything that is stored of what happened to one notification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.deliveries import StoredAttempt, StoredDelivery, attempt_of_row, delivery_of_row
from tocsin_dispatcher.store.statement import BIG, UUID_, UUIDS, statement
from tocsin_dispatcher.values import AlertKind, FiringContext, Happening, Purpose, ReceiptEffect
from tocsin_dispatcher.values.context_json import context_from_json


@dataclass(frozen=True, slots=True)
class StoredNotification:
    """What fired, for whom, and whether it was read."""

    alert_name: str
    context: FiringContext
    fired_at: datetime
    read_at: datetime | None
    time_zone: str


@dataclass(frozen=True, slots=True)
class StoredHappening:
    """A line of a delivery's history."""

    at: datetime
    happening: Happening
    reason: Reason | None
    until: datetime | None
    joined_id: UUID | None
    joined: Purpose | None
    """Of a message that was joined with another one: what that one is for, also where it has left it since."""


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """What a provider said later."""

    at: datetime
    effect: ReceiptEffect
    name: str
    said: str
    attempt: int | None
    """The number of the call that it is about, where the provider says so."""


@dataclass(frozen=True, slots=True)
class Course:
    """A delivery with all that came of it. One that is not the notification's own is what its own was joined with."""

    delivery: StoredDelivery
    is_own: bool
    happenings: tuple[StoredHappening, ...]
    attempts: tuple[StoredAttempt, ...]
    receipts: tuple[StoredReceipt, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A notification and the course of each of its deliveries."""

    notification: StoredNotification
    courses: tuple[Course, ...]


# Primary keys. One that the user has taken out of the inbox is nobody's but an operator's (`user_id` null).
_NOTIFICATION = statement(
    """
SELECT n.kind, n.alert_name, n.metadata, n.fired_at, n.read_at, coalesce(c.time_zone, n.time_zone) AS time_zone
  FROM notifications n
  LEFT JOIN contacts c ON c.partner_id = n.partner_id AND c.user_id = n.user_id
 WHERE n.partner_id = :partner_id AND n.id = :id
   AND (CAST(:user_id AS bigint) IS NULL OR n.user_id = :user_id AND n.deleted_at IS NULL)
""",
    partner_id=BIG,
    user_id=BIG,
    id=UUID_,
)

# Index deliveries_planned_once, then the primary key from each to what it was joined with, and that with.
_DELIVERIES = statement(
    """
WITH RECURSIVE told AS (
  SELECT d.partner_id, d.id, d.merged_into FROM deliveries d
   WHERE d.partner_id = :partner_id AND d.notification_id = :id AND d.notification_id IS NOT NULL
   UNION
  SELECT d.partner_id, d.id, d.merged_into
    FROM told t JOIN deliveries d ON d.partner_id = t.partner_id AND d.id = t.merged_into
)
SELECT d.*, d.notification_id IS NOT DISTINCT FROM :id AS is_own
  FROM told t JOIN deliveries d ON d.partner_id = t.partner_id AND d.id = t.id
 ORDER BY d.created_at, d.id
""",
    partner_id=BIG,
    id=UUID_,
)

_OF_THESE: Mapping[str, Any] = {"partner_id": BIG, "ids": UUIDS}

# Primary key, and that of the one it was joined with.
_HAPPENINGS = statement(
    """
SELECT e.delivery_id, e.at, e.happening, e.reason, e.until, e.joined_id, j.purpose AS joined
  FROM delivery_events e
  LEFT JOIN deliveries j ON j.partner_id = e.partner_id AND j.id = e.joined_id
 WHERE e.partner_id = :partner_id AND e.delivery_id = ANY(:ids) ORDER BY e.id
""",
    **_OF_THESE,
)

# Primary key.
_ATTEMPTS = statement(
    "SELECT * FROM attempts WHERE partner_id = :partner_id AND delivery_id = ANY(:ids) ORDER BY number", **_OF_THESE
)

# Index receipts_of_delivery.
_RECEIPTS = statement(
    """
SELECT delivery_id, happened_at, event, details ->> 'name' AS name, details ->> 'detail' AS said, attempt
  FROM receipts
 WHERE delivery_id = ANY(:ids) AND partner_id = :partner_id AND applied_at IS NOT NULL
 ORDER BY happened_at, event_key
""",
    **_OF_THESE,
)


async def story_of(connection: Connection, partner_id: int, user_id: int | None, id_: UUID) -> Story | None:
    """A notification's story; None where there is no such one of this user's (None: of any)."""
    named = {"partner_id": partner_id, "id": id_}
    row = (await connection.execute(_NOTIFICATION, {**named, "user_id": user_id})).one_or_none()
    if row is None:
        return None
    deliveries = (await connection.execute(_DELIVERIES, named)).all()
    these = {"partner_id": partner_id, "ids": [one.id for one in deliveries]}
    happenings = _by_delivery(await connection.execute(_HAPPENINGS, these))
    attempts = _by_delivery(await connection.execute(_ATTEMPTS, these))
    receipts = _by_delivery(await connection.execute(_RECEIPTS, these))
    return Story(
        _notification(row),
        tuple(
            Course(
                delivery=delivery_of_row(one),
                is_own=one.is_own,
                happenings=tuple(_happening(each) for each in happenings.get(one.id, ())),
                attempts=tuple(attempt_of_row(each) for each in attempts.get(one.id, ())),
                receipts=tuple(_receipt(each) for each in receipts.get(one.id, ())),
            )
            for one in deliveries
        ),
    )


def _by_delivery(rows: Any) -> Mapping[UUID, Sequence[Row[Any]]]:
    found: dict[UUID, list[Row[Any]]] = {}
    for row in rows:
        found.setdefault(row.delivery_id, []).append(row)
    return found


def _notification(row: Row[Any]) -> StoredNotification:
    context = context_from_json(AlertKind(row.kind), row.metadata)
    return StoredNotification(row.alert_name, context, row.fired_at, row.read_at, row.time_zone)


def _happening(row: Row[Any]) -> StoredHappening:
    reason = None if row.reason is None else Reason(row.reason)
    joined = None if row.joined is None else Purpose(row.joined)
    return StoredHappening(row.at, Happening(row.happening), reason, row.until, row.joined_id, joined)


def _receipt(row: Row[Any]) -> StoredReceipt:
    return StoredReceipt(row.happened_at, ReceiptEffect(row.event), row.name or "", row.said or "", row.attempt)
