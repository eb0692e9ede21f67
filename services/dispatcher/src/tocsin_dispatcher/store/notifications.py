"""The inbox: reading and marking notifications. Every statement is scoped to one user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.inboxes import inbox_of, lock_inboxes, raise_inboxes
from tocsin_dispatcher.store.statement import BIG, FLAG, INSTANT, SMALL, TEXT, UUID_, UUIDS, RowSet, statement
from tocsin_dispatcher.values import AlertKind, Channel, FiringContext
from tocsin_dispatcher.values.context_json import context_from_json


@dataclass(frozen=True, slots=True)
class InboxDelivery:
    """How a notification reached its user on one channel."""

    channel: Channel
    status: DeliveryState
    reason: Reason | None
    created_at: datetime
    due_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class InboxNotification:
    """A notification as its user sees it."""

    id: UUID
    alert_id: int
    kind: AlertKind
    title: str
    message: str
    action_url: str
    context: FiringContext
    critical: bool
    created_at: datetime
    read_at: datetime | None
    deleted_at: datetime | None
    version: int
    deliveries: tuple[InboxDelivery, ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """Which notifications to list; None does not filter."""

    unread: bool | None = None
    kind: AlertKind | None = None
    alert_id: int | None = None
    critical: bool | None = None
    words: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a list, newest first, a page ended."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Marked:
    """What marking changed: how many notifications, and the inbox's version after it."""

    count: int
    version: int


_COLUMNS = """n.id, n.alert_id, n.kind, n.title, n.message, n.action_url, n.metadata, n.critical, n.created_at,
       n.read_at, n.deleted_at, n.version"""
_MINE = "n.partner_id = :partner_id AND n.user_id = :user_id"
_SCOPE = {"partner_id": BIG, "user_id": BIG}

# Index notifications_listed, read backwards from the place where the last page ended. The words are looked for in this
# user's rows only, so no index of all words is needed.
_LIST = statement(
    f"""
SELECT {_COLUMNS}
  FROM notifications n
 WHERE {_MINE} AND n.deleted_at IS NULL
   AND (CAST(:after_at AS timestamptz) IS NULL OR (n.created_at, n.id) < (:after_at, :after_id))
   AND (CAST(:unread AS boolean) IS NULL OR (n.read_at IS NULL) = :unread)
   AND (CAST(:kind AS text) IS NULL OR n.kind = :kind)
   AND (CAST(:alert_id AS bigint) IS NULL OR n.alert_id = :alert_id)
   AND (CAST(:critical AS boolean) IS NULL OR n.critical = :critical)
   AND (CAST(:words AS text) IS NULL OR n.search @@ websearch_to_tsquery('simple', :words))
   AND (CAST(:since AS timestamptz) IS NULL OR n.created_at >= :since)
   AND (CAST(:until AS timestamptz) IS NULL OR n.created_at < :until)
 ORDER BY n.created_at DESC, n.id DESC
 LIMIT :size
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    after_at=INSTANT,
    after_id=UUID_,
    unread=FLAG,
    kind=TEXT,
    alert_id=BIG,
    critical=FLAG,
    words=TEXT,
    since=INSTANT,
    until=INSTANT,
    size=SMALL,
)

# Primary key.
_GET = statement(
    f"SELECT {_COLUMNS} FROM notifications n WHERE {_MINE} AND n.id = :id AND n.deleted_at IS NULL",  # noqa: S608
    **_SCOPE,
    id=UUID_,
)

# Index notifications_changed.
_CHANGES = statement(
    f"SELECT {_COLUMNS} FROM notifications n WHERE {_MINE} AND n.version > :since ORDER BY n.version LIMIT :size",  # noqa: S608
    **_SCOPE,
    since=BIG,
    size=SMALL,
)

# Index deliveries_planned_once.
_DELIVERIES = statement(
    """
SELECT d.notification_id, d.channel, d.status, d.reason, d.created_at, d.due_at, d.sent_at, d.delivered_at, d.failed_at
  FROM deliveries d
 WHERE d.partner_id = :partner_id AND d.notification_id = ANY(:ids) AND d.notification_id IS NOT NULL
 ORDER BY d.notification_id, d.channel
""",
    partner_id=BIG,
    ids=UUIDS,
)

_TOLD = RowSet("k", partner_id=BIG, id=UUID_)

# Primary key.
_GET_TOLD = statement(
    f"SELECT {_COLUMNS} FROM {_TOLD} JOIN notifications n ON n.partner_id = k.partner_id AND n.id = k.id",  # noqa: S608
    _TOLD,
)

# Index deliveries_planned_once.
_DELIVERIES_TOLD = statement(
    f"""
SELECT d.notification_id, d.channel, d.status, d.reason, d.created_at, d.due_at, d.sent_at, d.delivered_at, d.failed_at
  FROM {_TOLD}
  JOIN deliveries d ON d.partner_id = k.partner_id AND d.notification_id = k.id AND d.notification_id IS NOT NULL
 ORDER BY d.notification_id, d.channel
""",  # noqa: S608 - the row set is of our own making
    _TOLD,
)

# Primary key; the user's inbox is locked. What was read before stays as it was.
_READ = statement(
    f"""
UPDATE notifications n SET read_at = :now, version = :version
 WHERE {_MINE} AND n.id = :id AND n.read_at IS NULL AND n.deleted_at IS NULL
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    id=UUID_,
    now=INSTANT,
    version=BIG,
)

# Index notifications_unread; the user's inbox is locked. Each gets a version of its own, so that pages of changes end
# between any two.
_READ_ALL = statement(
    f"""
WITH mine AS (
  SELECT n.id, row_number() OVER (ORDER BY n.version) AS place FROM notifications n
   WHERE {_MINE} AND n.read_at IS NULL AND n.deleted_at IS NULL
)
UPDATE notifications n SET read_at = :now, version = :version + m.place
  FROM mine m
 WHERE {_MINE} AND n.id = m.id
RETURNING n.id
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    now=INSTANT,
    version=BIG,
)

# Primary key; the user's inbox is locked.
_DELETE = statement(
    f"""
UPDATE notifications n SET deleted_at = :now, version = :version
 WHERE {_MINE} AND n.id = :id AND n.deleted_at IS NULL
RETURNING n.read_at IS NULL AS was_unread
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    id=UUID_,
    now=INSTANT,
    version=BIG,
)

# Index deliveries_planned_once. Shown, or read, is what delivered means in the inbox.
_SHOWN = statement(
    """
UPDATE deliveries d SET status = 'delivered', delivered_at = :now
  FROM notifications n
 WHERE n.partner_id = :partner_id AND n.user_id = :user_id AND n.id = ANY(:ids)
   AND d.partner_id = n.partner_id AND d.notification_id = n.id AND d.notification_id IS NOT NULL
   AND d.channel = 'in_app' AND d.status = 'sent'
RETURNING d.id, d.notification_id, d.class, d.attempt, d.traceparent, d.tracestate
""",
    **_SCOPE,
    ids=UUIDS,
    now=INSTANT,
)


async def list_notifications(
    connection: Connection, user: UserKey, filters: Filters, size: int, after: Place | None
) -> list[InboxNotification]:
    """A page of the user's inbox, newest first."""
    rows = await connection.execute(
        _LIST,
        {
            **user._asdict(),
            "after_at": after and after.created_at,
            "after_id": after and after.id,
            "unread": filters.unread,
            "kind": filters.kind,
            "alert_id": filters.alert_id,
            "critical": filters.critical,
            "words": filters.words,
            "since": filters.since,
            "until": filters.until,
            "size": size,
        },
    )
    return await _with_deliveries(connection, user, rows.all())


async def get_notification(connection: Connection, user: UserKey, notification_id: UUID) -> InboxNotification | None:
    """One of the user's notifications; None where there is none, or it was taken out."""
    rows = await connection.execute(_GET, {**user._asdict(), "id": notification_id})
    found = await _with_deliveries(connection, user, rows.all())
    return found[0] if found else None


async def notifications_told(
    connection: Connection, keys: Sequence[tuple[int, UUID]]
) -> Mapping[UUID, InboxNotification]:
    """Notifications by (partner, id), as their users see them; those taken out of the inbox too."""
    told = _TOLD.filled(sorted(set(keys)))
    rows = (await connection.execute(_GET_TOLD, told)).all()
    deliveries = _by_notification(await connection.execute(_DELIVERIES_TOLD, told))
    return {row.id: _notification(row, deliveries) for row in rows}


async def list_changes(connection: Connection, user: UserKey, since: int, size: int) -> list[InboxNotification]:
    """What changed after a version, by version; deleted ones included."""
    rows = await connection.execute(_CHANGES, {**user._asdict(), "since": since, "size": size})
    return await _with_deliveries(connection, user, rows.all())


async def mark_read(connection: Connection, user: UserKey, notification_id: UUID, now: datetime) -> Marked:
    """Mark one read, under the inbox's lock."""
    inbox = (await lock_inboxes(connection, [user]))[user]
    values = {**user._asdict(), "id": notification_id, "now": now, "version": inbox.version + 1}
    marked = (await connection.execute(_READ, values)).rowcount
    if marked:
        await raise_inboxes(connection, [(user, -1, inbox.version + 1)])
    return Marked(marked, inbox.version + marked)


async def mark_all_read(connection: Connection, user: UserKey, now: datetime) -> tuple[Marked, list[UUID]]:
    """Mark all read, under the inbox's lock; answers their ids too."""
    inbox = (await lock_inboxes(connection, [user]))[user]
    rows = await connection.execute(_READ_ALL, {**user._asdict(), "now": now, "version": inbox.version})
    ids = list(rows.scalars())
    if ids:
        await raise_inboxes(connection, [(user, -len(ids), inbox.version + len(ids))])
    return Marked(len(ids), inbox.version + len(ids)), ids


async def delete_notification(connection: Connection, user: UserKey, notification_id: UUID, now: datetime) -> Marked:
    """Take one out of the inbox, under its lock."""
    inbox = (await lock_inboxes(connection, [user]))[user]
    values = {**user._asdict(), "id": notification_id, "now": now, "version": inbox.version + 1}
    row = (await connection.execute(_DELETE, values)).one_or_none()
    if row is None:
        return Marked(0, inbox.version)
    await raise_inboxes(connection, [(user, -1 if row.was_unread else 0, inbox.version + 1)])
    return Marked(1, inbox.version + 1)


async def mark_shown(connection: Connection, user: UserKey, ids: Sequence[UUID], now: datetime) -> Sequence[Row[Any]]:
    """The in-app deliveries of these notifications become delivered; answers those that did."""
    return (await connection.execute(_SHOWN, {**user._asdict(), "ids": list(ids), "now": now})).all()


async def unread_of(connection: Connection, user: UserKey) -> Marked:
    """How many are unread, and the version that belongs to."""
    inbox = await inbox_of(connection, user)
    return Marked(inbox.unread, inbox.version)


async def _with_deliveries(connection: Connection, user: UserKey, rows: Sequence[Row[Any]]) -> list[InboxNotification]:
    if not rows:
        return []
    parameters = {"partner_id": user.partner_id, "ids": [row.id for row in rows]}
    deliveries = _by_notification(await connection.execute(_DELIVERIES, parameters))
    return [_notification(row, deliveries) for row in rows]


def _by_notification(rows: Iterable[Row[Any]]) -> Mapping[UUID, Sequence[InboxDelivery]]:
    deliveries: dict[UUID, list[InboxDelivery]] = {}
    for row in rows:
        deliveries.setdefault(row.notification_id, []).append(_delivery(row))
    return deliveries


def _notification(row: Row[Any], deliveries: Mapping[UUID, Sequence[InboxDelivery]]) -> InboxNotification:
    kind = AlertKind(row.kind)
    return InboxNotification(
        id=row.id,
        alert_id=row.alert_id,
        kind=kind,
        title=row.title,
        message=row.message,
        action_url=row.action_url,
        context=context_from_json(kind, row.metadata),
        critical=row.critical,
        created_at=row.created_at,
        read_at=row.read_at,
        deleted_at=row.deleted_at,
        version=row.version,
        deliveries=tuple(deliveries.get(row.id, ())),
    )


def _delivery(row: Row[Any]) -> InboxDelivery:
    return InboxDelivery(
        channel=Channel(row.channel),
        status=DeliveryState(row.status),
        reason=None if row.reason is None else Reason(row.reason),
        created_at=row.created_at,
        due_at=row.due_at,
        sent_at=row.sent_at,
        delivered_at=row.delivered_at,
        failed_at=row.failed_at,
    )
