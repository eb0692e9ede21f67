"""Reads the four databases as they stand, by SQL over the administrator's connection: what no service would answer.

Only the simulation and tests look behind the services' backs, to prove what they claim.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg

from tocsin_devstack.scenario import Kind

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

#: A planned delivery in one of these has ended, or waits for an instant it knows.
ENDED = ("sent", "delivered", "bounced", "suppressed", "merged", "expired", "failed")
WAITING = ("pending", "held", "retrying", "unknown")


@dataclass(frozen=True)
class Delivered:
    """A delivery of a notification as it stands."""

    id: UUID
    channel: str
    status: str
    reason: str | None
    due_at: datetime | None
    created_at: datetime
    sent_at: datetime | None
    """Of one that was put into a digest, when the digest left."""
    in_digest: bool = False


@dataclass(frozen=True)
class Told:
    """A notification with its deliveries; `context` is the firing's."""

    id: UUID
    user_id: int
    kind: Kind
    alert_name: str
    title: str
    message: str
    context: Mapping[str, object]
    fired_at: datetime
    deliveries: tuple[Delivered, ...]

    @property
    def waiting(self) -> tuple[UUID, ...]:
        """Its deliveries that have not ended."""
        return tuple(delivery.id for delivery in self.deliveries if delivery.status in WAITING)


@dataclass(frozen=True)
class Books:
    """What a window made: firings by kind, notifications, deliveries by channel and status, and what does not add up.

    `lost` counts firings without a notification, planned deliveries that are not there, and deliveries in no final or
    waiting state. `surplus` counts notifications without a firing.
    """

    firings: Mapping[Kind, int]
    notifications: int
    deliveries: Mapping[str, Mapping[str, int]]
    delivery_ids: frozenset[str]
    lost: int
    surplus: int


_TOLD = """
    -- the notifications made in [$1, $2) with all deliveries; of those made before, what was sent in it and those of $3
    SELECT n.id, n.user_id, n.kind, n.alert_name, n.title, n.message, n.metadata, n.fired_at,
           d.id AS delivery_id, d.channel, d.status, d.reason, d.due_at, d.created_at,
           coalesce(d.sent_at, t.sent_at) AS sent_at, t.id IS NOT NULL AS in_digest
    FROM notifications n LEFT JOIN deliveries d ON d.partner_id = n.partner_id AND d.notification_id = n.id
    LEFT JOIN deliveries t ON d.status = 'merged' AND t.partner_id = d.partner_id AND t.id = d.merged_into
                          AND t.purpose = 'digest'
    WHERE n.created_at >= $1 AND n.created_at < $2
       OR (coalesce(d.sent_at, t.sent_at) >= $1 AND coalesce(d.sent_at, t.sent_at) < $2 OR d.id = ANY($3))
          AND n.created_at < $1
    ORDER BY n.fired_at, n.id, d.channel
"""
_FIRINGS = "SELECT id, kind FROM firings WHERE fired_at >= $1 AND fired_at < $2"
_NOTIFICATIONS = "SELECT id, planned FROM notifications WHERE fired_at >= $1 AND fired_at < $2"
_DELIVERIES = """
    SELECT d.id, d.notification_id, d.channel, d.status FROM deliveries d
    WHERE d.created_at >= $1 AND d.created_at < $2
"""


class Databases:
    """Connections to the services' databases."""

    def __init__(self, connections: Mapping[str, Connection]) -> None:
        self.of = connections

    async def told(self, start: datetime, end: datetime, waiting: Collection[UUID]) -> list[Told]:
        """What was told in [start, end): new notifications, and older ones with what became of their deliveries.

        `waiting` are the deliveries that waited when it began: only a sent one says when it ended.
        """
        rows = await self.of["dispatcher"].fetch(_TOLD, start, end, list(waiting))
        by_id: dict[UUID, list[asyncpg.Record]] = {}
        for row in rows:
            by_id.setdefault(row["id"], []).append(row)
        return [_told(together) for together in by_id.values()]

    async def books(self, start: datetime, end: datetime) -> Books:
        """The books of [start, end)."""
        firings = await self.of["evaluator"].fetch(_FIRINGS, start, end)
        notifications = await self.of["dispatcher"].fetch(_NOTIFICATIONS, start, end)
        deliveries = await self.of["dispatcher"].fetch(_DELIVERIES, start, end)
        fired, notified = {row["id"] for row in firings}, {row["id"] for row in notifications}
        there = Counter(row["notification_id"] for row in deliveries)
        missing = sum(max(0, row["planned"] - there[row["id"]]) for row in notifications)
        nowhere = sum(row["status"] not in (*ENDED, *WAITING) for row in deliveries)
        counts: dict[str, Counter[str]] = {}
        for row in deliveries:
            counts.setdefault(row["channel"], Counter())[row["status"]] += 1
        kinds = Counter(Kind(row["kind"]) for row in firings)
        return Books(
            firings={kind: kinds[kind] for kind in Kind},
            notifications=len(notified),
            deliveries=counts,
            delivery_ids=frozenset(str(row["id"]) for row in deliveries),
            lost=len(fired - notified) + missing + nowhere,
            surplus=len(notified - fired),
        )


def _told(rows: Sequence[asyncpg.Record]) -> Told:
    first = rows[0]
    deliveries = tuple(_delivered(row) for row in rows if row["channel"] is not None)
    return Told(
        id=first["id"],
        user_id=first["user_id"],
        kind=Kind(first["kind"]),
        alert_name=first["alert_name"],
        title=first["title"],
        message=first["message"],
        context=json.loads(first["metadata"]),
        fired_at=first["fired_at"],
        deliveries=deliveries,
    )


def _delivered(row: asyncpg.Record) -> Delivered:
    return Delivered(
        id=row["delivery_id"],
        channel=row["channel"],
        status=row["status"],
        reason=row["reason"],
        due_at=row["due_at"],
        created_at=row["created_at"],
        sent_at=row["sent_at"],
        in_digest=row["in_digest"],
    )


@asynccontextmanager
async def reading(urls: Mapping[str, str]) -> AsyncIterator[Databases]:
    """Connections to the databases at `urls`, by service, open while inside."""
    async with AsyncExitStack() as stack:
        connections: dict[str, Connection] = {}
        for service, url in urls.items():
            connection = await asyncpg.connect(url)
            stack.push_async_callback(connection.close)
            connections[service] = connection
        yield Databases(connections)
