"""The books: notifications by minute of firing, what was compared, and what must never be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import TextClause

from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.conditions import WAITING
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, FLAG, INSTANT, RowSet, statement
from tocsin_dispatcher.values import Channel
from tocsin_dispatcher.values.minutes import Compared, Minute

#: So many of what is wrong are named.
NAMED = 20

_HIGH = "('x' || substr(replace(id::text, '-', ''), 1, 16))::bit(64)::bigint"
_LOW = "('x' || substr(replace(id::text, '-', ''), 17, 16))::bit(64)::bigint"

# Index notifications_fired.
_MINUTES = statement(
    f"""
SELECT date_trunc('minute', fired_at) AS minute, count(*) AS many, bit_xor({_HIGH}) AS high, bit_xor({_LOW}) AS low
  FROM notifications
 WHERE fired_at >= :since AND fired_at < :until AND (:partner_id = 0 OR partner_id = :partner_id)
 GROUP BY 1 ORDER BY 1
""",  # noqa: S608 - constants of our own
    since=INSTANT,
    until=INSTANT,
    partner_id=BIG,
)

_COMPARED = RowSet("x", minute=INSTANT, firings=BIG, notifications=BIG, differs=FLAG)

# Primary key. A gap keeps the instant it was first seen at.
_WRITE = statement(
    f"""
INSERT INTO ledger_minutes AS l (minute, firings, notifications, differs, first_differed_at, checked_at)
SELECT x.minute, x.firings, x.notifications, x.differs, CASE WHEN x.differs THEN :now END, :now FROM {_COMPARED}
 ORDER BY x.minute
ON CONFLICT (minute) DO UPDATE
   SET firings = excluded.firings, notifications = excluded.notifications, differs = excluded.differs,
       first_differed_at = CASE WHEN excluded.differs THEN coalesce(l.first_differed_at, excluded.checked_at) END,
       checked_at = excluded.checked_at
""",  # noqa: S608 - the row set is of our own making
    _COMPARED,
    now=INSTANT,
)

# Index ledger_minutes_differing.
_GAPS = statement(
    "SELECT minute, firings, notifications, first_differed_at FROM ledger_minutes WHERE differs ORDER BY minute"
)

# Primary key, its last entry.
_COMPARED_UNTIL = statement("SELECT max(minute) + interval '1 minute' FROM ledger_minutes")

# Index deliveries_created.
_TOTALS = statement(
    """
SELECT channel, status, count(*) AS many FROM deliveries
 WHERE created_at >= :since AND created_at < :until AND (:partner_id = 0 OR partner_id = :partner_id)
 GROUP BY channel, status ORDER BY channel, status
""",
    since=INSTANT,
    until=INSTANT,
    partner_id=BIG,
)

# Index notifications_created, then deliveries_planned_once.
_UNPLANNED = statement(
    f"""
SELECT n.partner_id, n.id, count(*) OVER () AS many FROM notifications n
 WHERE n.created_at >= :since AND n.created_at < :until AND (:partner_id = 0 OR n.partner_id = :partner_id)
   AND n.planned <> (SELECT count(*) FROM deliveries d
                      WHERE d.partner_id = n.partner_id AND d.notification_id = n.id
                        AND d.notification_id IS NOT NULL)
 ORDER BY n.created_at, n.id LIMIT {NAMED}
""",  # noqa: S608 - a constant of our own
    since=INSTANT,
    until=INSTANT,
    partner_id=BIG,
)

# Index deliveries_due: a sending delivery is due when its lease ends.
_LATE = f"""
  FROM (VALUES ('email'), ('sms'), ('push'), ('webhook')) AS c(channel)
  CROSS JOIN (VALUES ('realtime'), ('user'), ('periodic'), ('bills')) AS w(lane)
  JOIN deliveries d ON d.channel = c.channel AND d.class = w.lane AND d.due_at < :before AND d.{WAITING}
"""
_COUNT_LATE = statement(f"SELECT count(*) {_LATE}", before=INSTANT)


def _late(condition: str) -> TextClause:
    return statement(
        f"""
SELECT d.partner_id, d.id, count(*) OVER () AS many {_LATE}
 WHERE {condition} AND (:partner_id = 0 OR d.partner_id = :partner_id)
 ORDER BY d.due_at, d.id LIMIT {NAMED}
""",
        before=INSTANT,
        partner_id=BIG,
    )


_LOST, _OVERDUE = _late("d.status = 'sending'"), _late("d.status <> 'sending'")

# Index deliveries_created, then deliveries_by_id: a merged one whose target ended without telling anybody.
_ORPHANS = statement(
    f"""
SELECT m.partner_id, m.id, count(*) OVER () AS many
  FROM deliveries m JOIN deliveries t ON t.partner_id = m.partner_id AND t.id = m.merged_into
 WHERE m.merged_into IS NOT NULL AND m.status = 'merged' AND m.created_at >= :since AND m.created_at < :until
   AND t.status IN ('suppressed', 'expired', 'failed') AND (:partner_id = 0 OR m.partner_id = :partner_id)
 ORDER BY m.created_at, m.id LIMIT {NAMED}
""",  # noqa: S608 - a constant of our own
    since=INSTANT,
    until=INSTANT,
    partner_id=BIG,
)

# Index deliveries_created, then deliveries_merged: a digest that tells nothing.
_HOLLOW = statement(
    f"""
SELECT d.partner_id, d.id, count(*) OVER () AS many FROM deliveries d
 WHERE d.created_at >= :since AND d.created_at < :until AND (:partner_id = 0 OR d.partner_id = :partner_id)
   AND d.purpose = 'digest' AND d.status NOT IN ('suppressed', 'expired', 'failed')
   AND NOT EXISTS (SELECT 1 FROM deliveries m
                    WHERE m.partner_id = d.partner_id AND m.merged_into = d.id AND m.status = 'merged')
 ORDER BY d.created_at, d.id LIMIT {NAMED}
""",  # noqa: S608 - a constant of our own
    since=INSTANT,
    until=INSTANT,
    partner_id=BIG,
)

# Index deliveries_due.
_WAITING_BY_CHANNEL = statement(
    f"""
SELECT channel, coalesce(reason, '') AS reason, status, count(*) AS many, count(*) FILTER (WHERE due_at <= :now) AS due,
       min(due_at) AS first_due_at
  FROM deliveries WHERE {WAITING}
 GROUP BY 1, 2, 3
""",  # noqa: S608 - constants of our own
    now=INSTANT,
)

#: Beyond so many it does not matter how many more wait, and counting would cost what sending needs.
_OUTBOX = statement("SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS waiting")


@dataclass(frozen=True, slots=True)
class Gap:
    """A minute that did not balance when it was last compared, and since when that is known."""

    line: Compared
    known_since: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """Deliveries that wait, of one channel, state and reason (empty: none)."""

    channel: Channel
    status: DeliveryState
    reason: str
    count: int
    due: int
    """Those among them that are due: a worker should have them."""
    first_due_at: datetime


class Named(NamedTuple):
    """A notification or delivery, by its partner and id."""

    partner_id: int
    id: UUID


@dataclass(frozen=True, slots=True)
class Found:
    """How many there are of what must never be found, and the first of them (up to `NAMED`)."""

    count: int
    first: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Books:
    """What must be nought: notifications whose planned deliveries are not all there, lost and overdue deliveries, and
    orphans: merged ones whose message ended untold, and digests that tell nothing."""

    unplanned: Found
    lost: Found
    overdue: Found
    orphans: Found

    @property
    def balanced(self) -> bool:
        """Whether nothing was found."""
        return not (self.unplanned.count or self.lost.count or self.overdue.count or self.orphans.count)


async def notification_minutes(
    connection: Connection, since: datetime, until: datetime, partner_id: int = 0
) -> list[Minute]:
    """The notifications of each minute of firing that had some; of one partner, or (0) of all."""
    values = {"since": since, "until": until, "partner_id": partner_id}
    return [Minute(row.minute, row.many, row.high, row.low) for row in await connection.execute(_MINUTES, values)]


async def write_compared(connection: Connection, lines: Sequence[Compared], now: datetime) -> None:
    """Keep what was compared."""
    rows = [(line.minute, line.firings, line.notifications, not line.balanced) for line in lines]
    await connection.execute(_WRITE, {**_COMPARED.filled(rows), "now": now})


async def gaps(connection: Connection) -> list[Gap]:
    """The minutes that did not balance when they were last compared, in order."""
    return [
        Gap(Compared(row.minute, row.firings, row.notifications, balanced=False), row.first_differed_at)
        for row in await connection.execute(_GAPS)
    ]


async def compared_until(connection: Connection) -> datetime | None:
    """The end of the last minute that was compared; None before the first audit."""
    until: datetime | None = await connection.scalar(_COMPARED_UNTIL)
    return until


async def totals(
    connection: Connection, since: datetime, until: datetime, partner_id: int
) -> list[tuple[Channel, DeliveryState, int]]:
    """Deliveries planned in a span, by channel and state."""
    rows = await connection.execute(_TOTALS, {"since": since, "until": until, "partner_id": partner_id})
    return [(Channel(row.channel), DeliveryState(row.status), row.many) for row in rows]


async def books(
    connection: Connection, since: datetime, until: datetime, late_before: datetime, partner_id: int = 0
) -> Books:
    """What is wrong with what was planned from `since` on and before `until`, and with whatever was due before
    `late_before`; of one partner, or (0) of all."""
    planned = {"since": since, "until": until, "partner_id": partner_id}
    late = {"before": late_before, "partner_id": partner_id}
    untold, hollow = [await _found(connection, sql, planned) for sql in (_ORPHANS, _HOLLOW)]
    return Books(
        unplanned=await _found(connection, _UNPLANNED, planned),
        lost=await _found(connection, _LOST, late),
        overdue=await _found(connection, _OVERDUE, late),
        orphans=Found(untold.count + hollow.count, (untold.first + hollow.first)[:NAMED]),
    )


async def _found(connection: Connection, sql: TextClause, values: Mapping[str, object]) -> Found:
    rows = (await connection.execute(sql, values)).all()
    return Found(rows[0].many if rows else 0, tuple(Named(row.partner_id, row.id) for row in rows))


async def late_deliveries(connection: Connection, before: datetime) -> int:
    """How many deliveries were due before an instant."""
    return await connection.scalar(_COUNT_LATE, {"before": before}) or 0


async def waiting(connection: Connection, now: datetime) -> list[Waiting]:
    """How many deliveries wait, by channel, state and reason."""
    return [
        Waiting(Channel(row.channel), DeliveryState(row.status), row.reason, row.many, row.due, row.first_due_at)
        for row in await connection.execute(_WAITING_BY_CHANNEL, {"now": now})
    ]


async def outbox_rows(connection: Connection) -> int:
    """How many messages the broker has not acknowledged yet."""
    return await connection.scalar(_OUTBOX) or 0
