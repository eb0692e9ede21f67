"""Claiming due deliveries, learning when the next is due, and giving claims back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store.conditions import WAITING, held_together
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.rows import (
    CODE_COLUMNS,
    DELIVERY_COLUMNS,
    NOTIFICATION_COLUMNS,
    TRIAL_COLUMNS,
    delivery_of,
    told_by,
)
from tocsin_dispatcher.store.statement import BIG, INSTANT, SMALL, TEXT, UUID_, Parameter, RowSet, statement
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
    members: tuple[Claimed, ...] = ()
    """Of a digest: what it tells."""

    @property
    def key(self) -> DeliveryKey:
        """The delivery's key."""
        return DeliveryKey(self.delivery.partner_id, self.delivery.id)


#: In hand at once of one webhook endpoint, or one browser: one that hangs slows nobody else.
SLOTS_OF_ONE = 4

#: So many rows are looked at for each that is claimed: partners who have less than their share leave room to others.
_LOOK_AHEAD = 4

#: Of held messages that leave together the first one is claimed, and it brings the others (`store.digests`): what two
#: replicas had in part would leave as two digests. First of all one of the class realtime, which has slots of its own.
_FIRST_OF_ITS_DIGEST = f"""({held_together("d.")}) IS NOT TRUE OR NOT EXISTS (
                 SELECT 1 FROM deliveries e
                  WHERE e.partner_id = d.partner_id AND e.user_id = d.user_id AND e.channel = d.channel
                    AND e.destination_id IS NOT DISTINCT FROM d.destination_id AND {held_together("e.")}
                    AND e.due_at <= :now
                    AND (e.class <> 'realtime', e.due_at, e.id) < (d.class <> 'realtime', d.due_at, d.id))"""  # noqa: S608 - constants of our own

# The locking SELECT repeats the condition, which PostgreSQL checks again on the newest row version (what waits no
# longer has no due time), as IS TRUE, lest an index offers all that is due. A held delivery that is due becomes
# pending: its release.
CLAIM_CHOSEN = f"""locked AS (
  SELECT d.partner_id, d.id, d.status, d.due_at
    FROM deliveries d JOIN chosen c ON c.partner_id = d.partner_id AND c.id = d.id
   WHERE (d.due_at <= :now) IS TRUE
     AND (d.notification_id IS NOT NULL OR d.purpose IN ('test', 'verification', 'digest'))
   ORDER BY d.partner_id, d.id
     FOR NO KEY UPDATE OF d SKIP LOCKED
), claimed AS (
  UPDATE deliveries d
     SET leased_until = :leased_until, due_at = :leased_until,
         status = CASE WHEN d.status = 'held' THEN 'pending' ELSE d.status END
    FROM locked l
   WHERE d.partner_id = l.partner_id AND d.id = l.id
  RETURNING d.*, l.status AS status_before, l.due_at AS due_before
)
SELECT {DELIVERY_COLUMNS}, d.status_before, d.due_before, {NOTIFICATION_COLUMNS}, {TRIAL_COLUMNS}, {CODE_COLUMNS}
  FROM claimed d
  LEFT JOIN notifications n ON n.partner_id = d.partner_id AND n.id = d.notification_id
  LEFT JOIN template_trials t ON d.purpose = 'test' AND t.partner_id = d.partner_id AND t.delivery_id = d.id
  LEFT JOIN verifications v ON d.purpose = 'verification' AND v.partner_id = d.partner_id AND v.user_id = d.user_id
        AND v.channel = d.channel AND v.delivery_id = d.id
"""  # noqa: S608 - constants of our own
"""Claims what the common table expression `chosen` names (partner_id, id), with the parameters now and
leased_until; `claimed_rows` reads what it answers."""

_WANTED = RowSet("w", lane=TEXT)
_ROOMS = RowSet("r", destination_id=UUID_, room=SMALL)


# Index deliveries_due_by_partner: from each class and partner to the next one's earliest row (whatever its backlog),
# then the first due rows of each that has some. Among these classes and partners take turns, so that none has more than
# its share of a round. A range of one partner, ordered by it, is what no other index serves: by deliveries_due the
# first rows of a small partner would be looked for among all of a large one. Then primary keys in order.
def _claim_sql(columns: str = "", admitted: str = "", shared: str = "") -> str:
    return f"""
WITH RECURSIVE waiting AS (
  SELECT w.lane, first.partner_id, first.due_at
    FROM {_WANTED}
   CROSS JOIN LATERAL (
         SELECT d.partner_id, d.due_at FROM deliveries d
          WHERE d.channel = :channel AND d.class = w.lane AND {WAITING}
          ORDER BY d.partner_id, d.due_at LIMIT 1) first
   UNION ALL
  SELECT w.lane, next.partner_id, next.due_at
    FROM waiting w
   CROSS JOIN LATERAL (
         SELECT d.partner_id, d.due_at FROM deliveries d
          WHERE d.channel = :channel AND d.class = w.lane AND d.partner_id > w.partner_id AND {WAITING}
          ORDER BY d.partner_id, d.due_at LIMIT 1) next
), due AS (
  SELECT lane, partner_id FROM waiting WHERE due_at <= :now
), looked_at AS (
  SELECT c.partner_id, c.id, c.due_at,{columns}
         row_number() OVER (PARTITION BY due.lane, due.partner_id ORDER BY c.due_at) AS turn
    FROM due
   CROSS JOIN LATERAL (
         SELECT d.partner_id, d.id, d.due_at, d.destination_id FROM deliveries d
          WHERE d.channel = :channel AND d.class = due.lane AND d.due_at <= :now AND {WAITING}
            AND d.partner_id BETWEEN due.partner_id AND due.partner_id{admitted}
            AND ({_FIRST_OF_ITS_DIGEST})
          ORDER BY d.partner_id, d.due_at
          LIMIT greatest(1, :slots * {_LOOK_AHEAD} / (SELECT count(*) FROM due))) c
), chosen AS (
  SELECT partner_id, id FROM looked_at{shared} ORDER BY turn, partner_id <= :after, partner_id, due_at LIMIT :slots
), {CLAIM_CHOSEN}"""  # noqa: S608 - constants of our own


_CLAIM_PARAMETERS: Mapping[str, Parameter] = {
    "channel": TEXT,
    "slots": SMALL,
    "after": BIG,
    "now": INSTANT,
    "leased_until": INSTANT,
}
_CLAIM = statement(_claim_sql(), _WANTED, **_CLAIM_PARAMETERS)

#: An address whose slots are all in use.
_FULL = f"d.destination_id IN (SELECT r.destination_id FROM {_ROOMS} WHERE r.room = 0)"  # noqa: S608

# The same where deliveries have addresses of their own: none has more in hand than its slots. Rows of one that is full
# are passed over within the index's order, so that whatever waits for it, the others' are found behind.
_CLAIM_SHARED = statement(
    _claim_sql(
        columns=" c.destination_id, row_number() OVER (PARTITION BY c.destination_id ORDER BY c.due_at) AS place,",
        admitted=f" AND ({_FULL}) IS NOT TRUE",
        shared=f"""
    LEFT JOIN {_ROOMS} USING (destination_id)
   WHERE destination_id IS NULL OR place <= coalesce(r.room, {SLOTS_OF_ONE})""",
    ),
    _WANTED,
    _ROOMS,
    **_CLAIM_PARAMETERS,
)

_CLASSES = RowSet("w", lane=TEXT)


def _next_due_sql(admitted: str = "") -> str:
    return f"""
SELECT w.lane, (SELECT min(d.due_at) FROM deliveries d
                 WHERE d.channel = :channel AND d.class = w.lane AND {WAITING}{admitted})
  FROM {_CLASSES}
"""  # noqa: S608 - constants of our own


# Index deliveries_due, its first entry per class.
_NEXT_DUE = statement(_next_due_sql(), _CLASSES, channel=TEXT)

# The same, passing over rows of addresses that are full.
_NEXT_DUE_SHARED = statement(_next_due_sql(f" AND ({_FULL}) IS NOT TRUE"), _CLASSES, _ROOMS, channel=TEXT)

_GIVEN_BACK = RowSet("x", partner_id=BIG, id=UUID_, leased_until=INSTANT)

# Primary key. Only what still stands under this very claim, and was not begun. What somebody has locked is left to its
# lease.
_GIVE_BACK = statement(
    f"""
WITH ours AS (
  SELECT d.partner_id, d.id
    FROM {_GIVEN_BACK}
    JOIN deliveries d ON d.partner_id = x.partner_id AND d.id = x.id
   WHERE d.leased_until = x.leased_until AND (d.status IN ('pending', 'retrying', 'unknown')) IS TRUE
     FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE deliveries d SET leased_until = NULL, due_at = :due_at
  FROM ours o
 WHERE d.partner_id = o.partner_id AND d.id = o.id
""",  # noqa: S608 - constants of our own
    _GIVEN_BACK,
    due_at=INSTANT,
)


async def claim(
    connection: Connection,
    channel: Channel,
    classes: Sequence[WorkClass],
    slots: int,
    now: datetime,
    leased_until: datetime,
    after: int = 0,
    rooms: Mapping[UUID, int] | None = None,
) -> list[Claimed]:
    """Claim at most `slots` due deliveries of a channel, classes and partners taking turns, each with its earliest.

    The partner that follows `after` begins: where slots become free one by one, each is another partner's. `rooms`, for
    channels whose deliveries have addresses of their own, are how many may be claimed of an address, SLOTS_OF_ONE where
    it does not say.
    """
    wanted = _WANTED.filled([(work_class,) for work_class in classes])
    parameters = {
        **wanted,
        "channel": channel,
        "slots": slots,
        "after": after,
        "now": now,
        "leased_until": leased_until,
    }
    if rooms is None:
        rows = await connection.execute(_CLAIM, parameters)
    else:
        rows = await connection.execute(_CLAIM_SHARED, {**parameters, **_ROOMS.filled(rooms.items())})
    return claimed_rows(rows, leased_until)


def claimed_rows(rows: Iterable[Row[Any]], leased_until: datetime) -> list[Claimed]:
    """What `CLAIM_CHOSEN` claimed."""
    return [
        Claimed(
            delivery_of(row, row.status_before, row.due_before),
            told_by(row),
            leased_until,
            row.possible_duplicate,
        )
        for row in rows
    ]


def last_served(claims: Sequence[Claimed], after: int) -> int:
    """The partner that came last in a round that began after `after`."""
    return max((one.key.partner_id for one in claims), key=lambda partner: (partner <= after, partner), default=after)


async def due_by_class(
    connection: Connection, channel: Channel, rooms: Mapping[UUID, int] | None = None
) -> Mapping[WorkClass, datetime]:
    """Per class when its next delivery is due, or its lease ends, but of addresses without room; without an entry
    nothing waits."""
    wanted = {**_CLASSES.filled([(work_class,) for work_class in WorkClass]), "channel": channel}
    if rooms is None:
        rows = await connection.execute(_NEXT_DUE, wanted)
    else:
        rows = await connection.execute(_NEXT_DUE_SHARED, {**wanted, **_ROOMS.filled(rooms.items())})
    return {WorkClass(lane): due_at for lane, due_at in rows if due_at is not None}


async def give_back(connection: Connection, claims: Sequence[Claimed], due_at: datetime) -> None:
    """Let others have what was claimed and not begun, from `due_at` on."""
    rows = sorted((*claimed.key, claimed.leased_until) for claimed in claims)
    if rows:
        await connection.execute(_GIVE_BACK, {**_GIVEN_BACK.filled(rows), "due_at": due_at})
