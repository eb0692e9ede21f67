"""Rate limits: how many messages a user had on a channel in this hour and this local day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, DAY, INSTANT, SMALL, TEXT, RowSet, statement
from tocsin_dispatcher.values import Channel, Counts


@dataclass(frozen=True, slots=True)
class Wanted:
    """Tokens wanted for one user: normal and critical ones, the windows they fall into, and the limits."""

    user: UserKey
    hour: datetime
    day: date
    normal: int
    critical: int
    per_hour: int
    per_day: int


@dataclass(frozen=True, slots=True)
class Granted:
    """What one user got, and the counts after it."""

    normal: int
    critical: int
    counts: Counts


_WINDOWS = RowSet("k", partner_id=BIG, user_id=BIG, hour=INSTANT, day=DAY)

# Primary key.
_READ = statement(
    f"""
SELECT k.partner_id, k.user_id,
       CASE WHEN c.hour >= k.hour THEN c.hour_count ELSE 0 END AS this_hour,
       CASE WHEN c.day >= k.day THEN c.day_count ELSE 0 END AS today,
       CASE WHEN c.hour >= k.hour THEN c.hour_critical ELSE 0 END AS critical_this_hour
  FROM {_WINDOWS}
  JOIN counters c ON c.partner_id = k.partner_id AND c.user_id = k.user_id AND c.channel = :channel
""",  # noqa: S608 - the row set is of our own making
    _WINDOWS,
    channel=TEXT,
)

# Primary key: rows to take from, made where there are none, in key order.
_MAKE = statement(
    f"""
INSERT INTO counters (partner_id, user_id, channel, hour, hour_count, hour_critical, day, day_count)
SELECT k.partner_id, k.user_id, :channel, k.hour, 0, 0, k.day, 0
  FROM {_WINDOWS}
 ORDER BY k.partner_id, k.user_id
ON CONFLICT DO NOTHING
""",  # noqa: S608 - the row set is of our own making
    _WINDOWS,
    channel=TEXT,
)

_WANTED = RowSet(
    "x",
    partner_id=BIG,
    user_id=BIG,
    hour=INSTANT,
    day=DAY,
    normal=SMALL,
    critical=SMALL,
    per_hour=SMALL,
    per_day=SMALL,
)

# Primary key, locked in key order. What is granted is computed in the locking SELECT, so on the newest counts: two
# workers never both take the last token. A window that is over counts nothing.
_TAKE = statement(
    f"""
WITH now_counted AS (
  SELECT c.partner_id, c.user_id, x.hour, x.day,
         least(x.normal,
               greatest(x.per_hour - CASE WHEN c.hour >= x.hour THEN c.hour_count ELSE 0 END, 0),
               greatest(x.per_day - CASE WHEN c.day >= x.day THEN c.day_count ELSE 0 END, 0)) AS granted,
         least(x.critical,
               greatest(:critical_per_hour - CASE WHEN c.hour >= x.hour THEN c.hour_critical ELSE 0 END, 0))
           AS granted_critical
    FROM {_WANTED}
    JOIN counters c ON c.partner_id = x.partner_id AND c.user_id = x.user_id AND c.channel = :channel
   ORDER BY c.partner_id, c.user_id
     FOR NO KEY UPDATE OF c
)
UPDATE counters c
   SET hour = greatest(c.hour, n.hour),
       hour_count = CASE WHEN c.hour >= n.hour THEN c.hour_count ELSE 0 END + n.granted,
       hour_critical = CASE WHEN c.hour >= n.hour THEN c.hour_critical ELSE 0 END + n.granted_critical,
       day = greatest(c.day, n.day),
       day_count = CASE WHEN c.day >= n.day THEN c.day_count ELSE 0 END + n.granted
  FROM now_counted n
 WHERE c.partner_id = n.partner_id AND c.user_id = n.user_id AND c.channel = :channel
RETURNING c.partner_id, c.user_id, n.granted, n.granted_critical, c.hour_count, c.day_count, c.hour_critical
""",  # noqa: S608 - the row set is of our own making
    _WANTED,
    channel=TEXT,
    critical_per_hour=SMALL,
)


async def counts_of(
    connection: Connection, channel: Channel, windows: Iterable[tuple[UserKey, datetime, date]]
) -> Mapping[UserKey, Counts]:
    """The counts of users in their hour and local day; who is not in the answer had nothing."""
    rows = [(*user, hour, day) for user, hour, day in windows]
    found = await connection.execute(_READ, {**_WINDOWS.filled(rows), "channel": channel})
    return {
        UserKey(row.partner_id, row.user_id): Counts(row.this_hour, row.today, row.critical_this_hour) for row in found
    }


async def take_tokens(
    connection: Connection, channel: Channel, wanted: Sequence[Wanted], critical_per_hour: int
) -> Mapping[UserKey, Granted]:
    """Take what is wanted and there: granted = least(wanted, room in the hour, room in the day)."""
    if not wanted:
        return {}
    ordered = sorted(wanted, key=lambda want: want.user)
    windows = _WINDOWS.filled([(*want.user, want.hour, want.day) for want in ordered])
    await connection.execute(_MAKE, {**windows, "channel": channel})
    rows = [
        (*want.user, want.hour, want.day, want.normal, want.critical, want.per_hour, want.per_day) for want in ordered
    ]
    parameters = {**_WANTED.filled(rows), "channel": channel, "critical_per_hour": critical_per_hour}
    return {
        UserKey(row.partner_id, row.user_id): Granted(
            row.granted, row.granted_critical, Counts(row.hour_count, row.day_count, row.hour_critical)
        )
        for row in await connection.execute(_TAKE, parameters)
    }
