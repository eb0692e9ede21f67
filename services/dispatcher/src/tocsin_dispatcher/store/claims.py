"""Claiming due deliveries, learning when the next is due, and giving claims back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.rows import DELIVERY_COLUMNS, NOTIFICATION_COLUMNS, delivery_of, notification_of
from tocsin_dispatcher.store.statement import BIG, INSTANT, SMALL, TEXT, UUID_, RowSet, statement
from tocsin_dispatcher.store.tables import WAITING
from tocsin_dispatcher.values import Channel, Delivery, Notification, WorkClass


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this worker has until `leased_until`, as it was before the claim.

    `leased_until` also names the claim: nobody else has the same delivery with the same lease.
    """

    delivery: Delivery
    notification: Notification
    leased_until: datetime
    possible_duplicate: bool
    """An earlier attempt may have been taken: the next one is marked."""

    @property
    def key(self) -> DeliveryKey:
        """The delivery's key."""
        return DeliveryKey(self.delivery.partner_id, self.delivery.id)


#: So many rows are looked at for each that is claimed, so that one partner's flood does not fill the whole round.
_LOOK_AHEAD = 4

_WANTED = RowSet("w", lane=TEXT)

# Index deliveries_due, once per class; then primary keys in order. Among the rows looked at classes and partners take
# turns, so that none has more than its share of a round. The locking SELECT repeats the conditions, which PostgreSQL
# checks again on the newest row version. A held delivery that is due becomes pending: that is its release.
_CLAIM = statement(
    f"""
WITH looked_at AS (
  SELECT c.partner_id, c.id, c.due_at,
         row_number() OVER (PARTITION BY w.lane, c.partner_id ORDER BY c.due_at) AS turn
    FROM {_WANTED}
   CROSS JOIN LATERAL (
         SELECT d.partner_id, d.id, d.due_at
           FROM deliveries d
          WHERE d.channel = :channel AND d.class = w.lane AND d.due_at <= :now AND {WAITING}
          ORDER BY d.due_at
          LIMIT :slots * {_LOOK_AHEAD}) c
), chosen AS (
  SELECT partner_id, id FROM looked_at ORDER BY turn, due_at LIMIT :slots
), locked AS (
  SELECT d.partner_id, d.id, d.status, d.notification_id
    FROM deliveries d JOIN chosen c ON c.partner_id = d.partner_id AND c.id = d.id
   WHERE d.due_at <= :now AND d.{WAITING}
   ORDER BY d.partner_id, d.id
     FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE deliveries d
   SET leased_until = :leased_until, due_at = :leased_until,
       status = CASE WHEN d.status = 'held' THEN 'pending' ELSE d.status END
  FROM locked l
  JOIN notifications n ON n.partner_id = l.partner_id AND n.id = l.notification_id
 WHERE d.partner_id = l.partner_id AND d.id = l.id
RETURNING {DELIVERY_COLUMNS}, l.status AS status_before, {NOTIFICATION_COLUMNS}
""",  # noqa: S608 - constants of our own
    _WANTED,
    channel=TEXT,
    slots=SMALL,
    now=INSTANT,
    leased_until=INSTANT,
)

_CLASSES = RowSet("w", lane=TEXT)

# Index deliveries_due, its first entry per class.
_NEXT_DUE = statement(
    f"""
SELECT w.lane, (SELECT min(d.due_at) FROM deliveries d WHERE d.channel = :channel AND d.class = w.lane AND {WAITING})
  FROM {_CLASSES}
""",  # noqa: S608 - constants of our own
    _CLASSES,
    channel=TEXT,
)

_GIVEN_BACK = RowSet("x", partner_id=BIG, id=UUID_, leased_until=INSTANT)

# Primary key. Only what still stands under this very claim, and was not begun.
_GIVE_BACK = statement(
    f"""
UPDATE deliveries d SET leased_until = NULL, due_at = :now
  FROM {_GIVEN_BACK}
 WHERE d.partner_id = x.partner_id AND d.id = x.id AND d.leased_until = x.leased_until
   AND d.status IN ('pending', 'retrying', 'unknown')
""",  # noqa: S608 - constants of our own
    _GIVEN_BACK,
    now=INSTANT,
)


async def claim(
    connection: Connection,
    channel: Channel,
    classes: Sequence[WorkClass],
    slots: int,
    now: datetime,
    leased_until: datetime,
) -> list[Claimed]:
    """Claim at most `slots` due deliveries of a channel, earliest first, classes and partners taking turns."""
    wanted = _WANTED.filled([(work_class,) for work_class in classes])
    parameters = {**wanted, "channel": channel, "slots": slots, "now": now, "leased_until": leased_until}
    return [
        Claimed(delivery_of(row, row.status_before), notification_of(row), leased_until, row.possible_duplicate)
        for row in await connection.execute(_CLAIM, parameters)
    ]


async def due_by_class(connection: Connection, channel: Channel) -> Mapping[WorkClass, datetime]:
    """Per class when its next delivery is due, or its lease ends; without an entry nothing waits."""
    classes = _CLASSES.filled([(work_class,) for work_class in WorkClass])
    rows = await connection.execute(_NEXT_DUE, {**classes, "channel": channel})
    return {WorkClass(lane): due_at for lane, due_at in rows if due_at is not None}


async def give_back(connection: Connection, claims: Sequence[Claimed], now: datetime) -> None:
    """Let others have what was claimed and not begun."""
    rows = [(*claimed.key, claimed.leased_until) for claimed in claims]
    if rows:
        await connection.execute(_GIVE_BACK, {**_GIVEN_BACK.filled(rows), "now": now})
