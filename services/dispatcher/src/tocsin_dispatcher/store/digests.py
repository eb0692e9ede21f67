"""Digests: what comes due together is claimed together, becomes one delivery, and may leave it again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import NamedTuple
from uuid import UUID

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.store.claims import CLAIM_CHOSEN, Claimed, claimed_rows
from tocsin_dispatcher.store.conditions import held_together
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.rows import DELIVERY_COLUMNS, NOTIFICATION_COLUMNS, delivery_of, notification_of
from tocsin_dispatcher.store.statement import BIG, INSTANT, TEXT, UUID_, RowSet, statement
from tocsin_dispatcher.values import Channel, Delivery

_MOST = 1_000
"""Of one person, beyond which another digest follows; and of all in a round: intake waits for the inboxes of the people
in it."""


class Together(NamedTuple):
    """Whose held messages leave as one: a person's on a channel; on push, those to one browser."""

    user: UserKey
    destination_id: UUID | None


_PEOPLE = RowSet("k", partner_id=BIG, user_id=BIG, destination_id=UUID_)

#: What is due of one person.
_DUE = f"""SELECT d.partner_id, d.id FROM deliveries d
          WHERE d.partner_id = k.partner_id AND d.user_id = k.user_id AND d.channel = :channel
            AND d.destination_id IS NOT DISTINCT FROM k.destination_id AND {held_together("d.")} AND d.due_at <= :now
          ORDER BY d.due_at LIMIT {_MOST}"""  # noqa: S608 - constants of our own

# Index deliveries_held_together.
_COUNT_OTHERS = statement(
    f"""
SELECT k.partner_id, k.user_id, k.destination_id, (SELECT count(*) FROM ({_DUE}) AS due) AS others FROM {_PEOPLE}
""",  # noqa: S608 - constants of our own
    _PEOPLE,
    channel=TEXT,
    now=INSTANT,
)

# Index deliveries_held_together, then primary keys in order.
_CLAIM_OTHERS = statement(
    f"""
WITH chosen AS (
  SELECT h.partner_id, h.id FROM {_PEOPLE} CROSS JOIN LATERAL ({_DUE}) h
), {CLAIM_CHOSEN}""",  # noqa: S608 - constants of our own
    _PEOPLE,
    channel=TEXT,
    now=INSTANT,
    leased_until=INSTANT,
)

_DIGESTS = RowSet("k", partner_id=BIG, id=UUID_)

# Index deliveries_merged, from each digest: OFFSET 0 keeps it from being read whole where few looked merged.
_MEMBERS = statement(
    f"""
SELECT {DELIVERY_COLUMNS}, {NOTIFICATION_COLUMNS}
  FROM {_DIGESTS}
  CROSS JOIN LATERAL (
        SELECT * FROM deliveries m
         WHERE m.partner_id = k.partner_id AND m.merged_into = k.id AND m.status = 'merged' OFFSET 0) d
  JOIN notifications n ON n.partner_id = d.partner_id AND n.id = d.notification_id
 ORDER BY n.fired_at, n.id
""",  # noqa: S608 - the row set is of our own making
    _DIGESTS,
)

_CLAIMED = RowSet("x", partner_id=BIG, id=UUID_, leased_until=INSTANT)

# Primary key, locked in order: nothing takes them out of this claim until the transaction ends.
_LOCK = statement(
    f"""
SELECT d.id
  FROM {_CLAIMED}
  JOIN deliveries d ON d.partner_id = x.partner_id AND d.id = x.id AND d.leased_until = x.leased_until
   AND (d.status = 'pending') IS TRUE
 ORDER BY d.partner_id, d.id
   FOR NO KEY UPDATE OF d
""",  # noqa: S608 - the row set is of our own making
    _CLAIMED,
)

_MADE = RowSet(
    "x",
    partner_id=BIG,
    id=UUID_,
    user_id=BIG,
    channel=TEXT,
    destination_id=UUID_,
    destination=TEXT,
    lane=TEXT,
    expires_at=INSTANT,
    leased_until=INSTANT,
    traceparent=TEXT,
    tracestate=TEXT,
)

_INSERT = statement(
    f"""
INSERT INTO deliveries (partner_id, id, purpose, user_id, channel, destination_id, destination, class, status, due_at,
                        leased_until, expires_at, traceparent, tracestate, created_at)
SELECT x.partner_id, x.id, 'digest', x.user_id, x.channel, x.destination_id, x.destination, x.lane, 'pending',
       x.leased_until, x.leased_until, x.expires_at, x.traceparent, x.tracestate, :now
  FROM {_MADE}
""",  # noqa: S608 - the row set is of our own making
    _MADE,
    now=INSTANT,
)

_LEAVING = RowSet("x", partner_id=BIG, id=UUID_, digest_id=UUID_, leased_until=INSTANT)

# Primary key. Fenced by the digest's claim. Another one may tell the fact by now: this one, about to end, has no key to
# it while it stands by itself. The digest may have told it already: should a person have it tried again, that is
# marked.
_TAKE_OUT = statement(
    f"""
UPDATE deliveries d
   SET status = 'pending', reason = NULL, merged_into = NULL, due_at = x.leased_until, leased_until = x.leased_until,
       fact_key = NULL, possible_duplicate = d.possible_duplicate OR t.possible_duplicate
  FROM {_LEAVING}
  JOIN deliveries t ON t.partner_id = x.partner_id AND t.id = x.digest_id AND t.leased_until = x.leased_until
 WHERE d.partner_id = x.partner_id AND d.id = x.id AND (d.merged_into = x.digest_id) IS TRUE AND d.status = 'merged'
""",  # noqa: S608 - the row set is of our own making
    _LEAVING,
)


async def in_a_round(
    connection: Connection, channel: Channel, people: Sequence[Together], now: datetime
) -> Collection[Together]:
    """The first of these people that have no more due beside what was claimed of them than a round may bring along."""
    if len(people) <= 1:
        return people
    rows = await connection.execute(_COUNT_OTHERS, {**_filled(people), "channel": channel, "now": now})
    others = {Together(UserKey(row.partner_id, row.user_id), row.destination_id): row.others for row in rows}
    so_many = accumulate(others[one] for one in people)
    return {one for one, brought in zip(people, so_many, strict=True) if brought <= _MOST}


async def claim_others(
    connection: Connection, channel: Channel, people: Collection[Together], now: datetime, leased_until: datetime
) -> list[Claimed]:
    """Claim what else comes due together with what was claimed of these people, in the same transaction."""
    if not people:
        return []
    values = {**_filled(people), "channel": channel, "now": now, "leased_until": leased_until}
    return claimed_rows(await connection.execute(_CLAIM_OTHERS, values), leased_until)


async def members_of(connection: Connection, digests: Sequence[Claimed]) -> Mapping[DeliveryKey, tuple[Claimed, ...]]:
    """What claimed digests tell, the earliest firings first; claimed with them, as nobody else may touch it."""
    leases = {one.key: one.leased_until for one in digests}
    found: dict[DeliveryKey, list[Claimed]] = {key: [] for key in leases}
    for row in await connection.execute(_MEMBERS, _DIGESTS.filled(sorted(leases))):
        digest = DeliveryKey(row.partner_id, row.merged_into)
        found[digest].append(Claimed(delivery_of(row), notification_of(row), leases[digest], possible_duplicate=False))
    return {key: tuple(members) for key, members in found.items()}


async def lock_claimed(connection: Connection, claims: Sequence[Claimed]) -> frozenset[UUID]:
    """Lock what still stands under its claim, and answer its ids."""
    rows = [(*one.key, one.leased_until) for one in claims]
    return frozenset((await connection.execute(_LOCK, _CLAIMED.filled(rows))).scalars())


async def insert_digests(connection: Connection, digests: Sequence[tuple[Delivery, datetime]], now: datetime) -> None:
    """Write new digests, each claimed until an instant."""
    rows = [_row(digest, leased_until) for digest, leased_until in digests]
    await connection.execute(_INSERT, {**_MADE.filled(rows), "now": now})


async def take_out(connection: Connection, leaving: Sequence[tuple[DeliveryKey, UUID, datetime]]) -> None:
    """Members that their digest tells no longer stand by themselves again, each claimed as its digest is."""
    if leaving:
        await connection.execute(_TAKE_OUT, _LEAVING.filled([(*key, digest, lease) for key, digest, lease in leaving]))


def _filled(people: Collection[Together]) -> Mapping[str, list[object]]:
    return _PEOPLE.filled([(*one.user, one.destination_id) for one in people])


def _row(digest: Delivery, leased_until: datetime) -> tuple[object, ...]:
    return (
        digest.partner_id,
        digest.id,
        digest.user_id,
        digest.channel,
        digest.destination_id,
        digest.destination,
        digest.work_class,
        digest.expires_at,
        leased_until,
        digest.traceparent,
        digest.tracestate,
    )
