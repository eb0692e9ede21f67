"""Merged deliveries follow the fate of the one they joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.store.conditions import UNTOLD
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.history import noting
from tocsin_dispatcher.store.inboxes import lock_inboxes
from tocsin_dispatcher.store.rows import DELIVERY_COLUMNS, delivery_of
from tocsin_dispatcher.store.statement import BIG, INSTANT, UUID_, RowSet, statement
from tocsin_dispatcher.values import Delivery

_ENDED = RowSet("e", partner_id=BIG, id=UUID_)

# Primary key, then index deliveries_merged. Who has the key to a fact may be joined at any moment; who gave it up has
# the members it has.
_JOINED = statement(
    f"""
SELECT DISTINCT d.partner_id, d.user_id
  FROM {_ENDED}
  JOIN deliveries d ON d.partner_id = e.partner_id AND d.id = e.id
 WHERE d.fact_key IS NOT NULL
    OR EXISTS (SELECT 1 FROM deliveries m
                WHERE m.partner_id = e.partner_id AND m.merged_into = e.id AND m.status = 'merged')
""",  # noqa: S608 - the row set is of our own making
    _ENDED,
)

# Index deliveries_merged, then deliveries_one_per_fact. Of several about one fact the oldest speaks now and the others
# join it; where another delivery has come to tell the fact, all join that one. What a digest told keeps its name: it
# joins no other; and what the digest may have told without an answer, it may have told already: the next attempt is
# marked.
_RELEASE = statement(
    f"""
WITH orphans AS (
  SELECT d.partner_id, d.id, d.user_id, d.channel, d.destination_id, d.fact_key,
         CASE WHEN t.purpose = 'digest' THEN t.id END AS digest_id,
         t.purpose = 'digest' AND t.possible_duplicate AS may_be_told,
         first_value(d.id) OVER (PARTITION BY d.partner_id, d.user_id, d.channel, d.destination_id, d.fact_key,
                                              CASE WHEN d.fact_key IS NULL THEN d.id END
                                 ORDER BY d.created_at, d.id) AS heir
    FROM {_ENDED}
    JOIN deliveries t ON t.partner_id = e.partner_id AND t.id = e.id
    CROSS JOIN LATERAL (
          SELECT * FROM deliveries m
           WHERE m.partner_id = e.partner_id AND m.merged_into = e.id AND m.status = 'merged' OFFSET 0) d
), fates AS (
  SELECT o.partner_id, o.id, o.digest_id, o.may_be_told,
         coalesce(t.id, CASE WHEN o.heir <> o.id THEN o.heir END) AS joins
    FROM orphans o
    LEFT JOIN LATERAL (
          SELECT t.id FROM deliveries t
           WHERE t.partner_id = o.partner_id AND t.user_id = o.user_id AND t.channel = o.channel
             AND t.destination_id IS NOT DISTINCT FROM o.destination_id AND t.fact_key = o.fact_key
             AND t.fact_key IS NOT NULL AND t.status NOT IN {UNTOLD} OFFSET 0) t ON true
), released AS (
  UPDATE deliveries d
     SET status = CASE WHEN f.joins IS NULL THEN 'pending' ELSE 'merged' END,
         reason = CASE WHEN f.joins IS NULL THEN NULL ELSE 'merged' END,
         due_at = CASE WHEN f.joins IS NULL THEN :now END,
         merged_into = coalesce(f.joins, f.digest_id),
         possible_duplicate = d.possible_duplicate OR f.may_be_told
    FROM fates f
   WHERE d.partner_id = f.partner_id AND d.id = f.id AND d.status = 'merged'
  RETURNING d.*, CASE WHEN f.joins IS NULL THEN 'released' ELSE 'merged' END AS happening,
            CAST(NULL AS timestamptz) AS until, f.joins AS joined_id
), noted AS (
  {noting("released")}
)
SELECT {DELIVERY_COLUMNS} FROM released d
""",  # noqa: S608 - the row set is of our own making
    _ENDED,
    now=INSTANT,
)


async def lock_before_ending(
    connection: Connection, ending: Sequence[DeliveryKey], joining: Iterable[UserKey] = ()
) -> None:
    """Before deliveries are locked that will be suppressed, expire or fail: lock the inboxes of the users whose
    deliveries others may have joined, and of those `joining` now.

    In the order that intake has (inboxes, then deliveries): it writes nothing about the same facts until the
    transaction ends, and sees the end or is seen by `release_members`.
    """
    users = set(joining)
    if ending:
        joined = await connection.execute(_JOINED, _ENDED.filled(sorted(ending)))
        users |= {UserKey(row.partner_id, row.user_id) for row in joined}
    if users:
        await lock_inboxes(connection, list(users))


async def release_members(connection: Connection, ended: Sequence[DeliveryKey], now: datetime) -> list[Delivery]:
    """After these were suppressed, expired or failed: what had joined them is due again. Answers what is.

    `lock_before_ending` was called for them.
    """
    if not ended:
        return []
    keys = _ENDED.filled(sorted(ended))
    released = [delivery_of(row) for row in await connection.execute(_RELEASE, {**keys, "now": now})]
    return [delivery for delivery in released if delivery.status.value == "pending"]
