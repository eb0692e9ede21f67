"""The books: notifications by minute of firing, what was compared, and what must never be found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.conditions import WAITING
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, FLAG, INSTANT, RowSet, statement
from tocsin_dispatcher.values import Channel
from tocsin_dispatcher.values.minutes import Compared, Minute

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

# Primary key.
_READ = statement(
    """
SELECT minute, firings, notifications, differs FROM ledger_minutes
 WHERE minute >= :since AND minute < :until ORDER BY minute
""",
    since=INSTANT,
    until=INSTANT,
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
    """
SELECT count(*) FROM notifications n
 WHERE n.created_at >= :since AND n.created_at < :until
   AND n.planned <> (SELECT count(*) FROM deliveries d
                      WHERE d.partner_id = n.partner_id AND d.notification_id = n.id
                        AND d.notification_id IS NOT NULL)
""",
    since=INSTANT,
    until=INSTANT,
)

# Index deliveries_due: a sending delivery is due when its lease ends.
_LATE = statement(
    f"""
SELECT count(*) FILTER (WHERE d.status = 'sending') AS lost, count(*) FILTER (WHERE d.status <> 'sending') AS overdue
  FROM (VALUES ('email'), ('sms'), ('push'), ('webhook')) AS c(channel)
  CROSS JOIN (VALUES ('realtime'), ('user'), ('periodic'), ('bills')) AS w(lane)
  JOIN deliveries d ON d.channel = c.channel AND d.class = w.lane AND d.due_at < :before AND d.{WAITING}
""",  # noqa: S608 - constants of our own
    before=INSTANT,
)

# Index deliveries_merged: a merged one whose target ended without telling anybody.
_ORPHANS = statement(
    """
SELECT count(*) FROM deliveries m JOIN deliveries t ON t.partner_id = m.partner_id AND t.id = m.merged_into
 WHERE m.merged_into IS NOT NULL AND m.status = 'merged' AND m.created_at >= :since
   AND t.status IN ('suppressed', 'expired', 'failed')
""",
    since=INSTANT,
)

# Index deliveries_created, then deliveries_merged: a digest that tells nothing.
_HOLLOW = statement(
    """
SELECT count(*) FROM deliveries d
 WHERE d.created_at >= :since AND d.purpose = 'digest' AND d.status NOT IN ('suppressed', 'expired', 'failed')
   AND NOT EXISTS (SELECT 1 FROM deliveries m
                    WHERE m.partner_id = d.partner_id AND m.merged_into = d.id AND m.status = 'merged')
""",
    since=INSTANT,
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


@dataclass(frozen=True, slots=True)
class Books:
    """What must be nought: planned deliveries that are not there, lost and overdue ones, and orphans: merged ones whose
    message ended untold, and digests that tell nothing."""

    unplanned: int
    lost: int
    overdue: int
    orphans: int


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


async def compared_minutes(connection: Connection, since: datetime, until: datetime) -> list[Compared]:
    """The minutes that were compared, in order."""
    rows = await connection.execute(_READ, {"since": since, "until": until})
    return [Compared(row.minute, row.firings, row.notifications, not row.differs) for row in rows]


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


async def books(connection: Connection, since: datetime, now: datetime, patience: timedelta) -> Books:
    """What is wrong with the deliveries since an instant; due for longer than `patience` is overdue."""
    unplanned = await connection.scalar(_UNPLANNED, {"since": since, "until": now})
    late = (await connection.execute(_LATE, {"before": now - patience})).one()
    orphans = await connection.scalar(_ORPHANS, {"since": since})
    hollow = await connection.scalar(_HOLLOW, {"since": since})
    return Books(unplanned or 0, late.lost, late.overdue, (orphans or 0) + (hollow or 0))


async def late_deliveries(connection: Connection, before: datetime) -> int:
    """How many deliveries were due before an instant."""
    row = (await connection.execute(_LATE, {"before": before})).one()
    return int(row.lost + row.overdue)


async def waiting(connection: Connection, now: datetime) -> list[Waiting]:
    """How many deliveries wait, by channel, state and reason."""
    return [
        Waiting(Channel(row.channel), DeliveryState(row.status), row.reason, row.many, row.due, row.first_due_at)
        for row in await connection.execute(_WAITING_BY_CHANNEL, {"now": now})
    ]


async def outbox_rows(connection: Connection) -> int:
    """How many messages the broker has not acknowledged yet."""
    return await connection.scalar(_OUTBOX) or 0
