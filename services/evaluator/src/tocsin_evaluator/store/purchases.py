"""Pending and posted forms of one purchase: finding candidates and joining them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.upserts import Key, key_arrays

#: The posted form comes at most this many days after the pending one (evaluation page, "One purchase, one alert").
LONGEST_DAYS = 8
#: How far the posted amount may be from a pending one that is flagged an estimate.
ESTIMATE_WITHIN = Decimal("0.20")

#: The same by instants, with a margin: the days are compared as local days.
WINDOW = timedelta(days=LONGEST_DAYS + 2)


@dataclass(frozen=True)
class Candidate:
    """A pending and a posted form that may be one purchase."""

    partner_id: int
    pending_id: int
    posted_id: int
    linked_by_bank: bool
    same_amount: bool
    apart: timedelta


# New rows by primary key; the other form by primary key or transactions_by_pending (the bank's link), else by
# transactions_by_account within the window. Rows of the same account are kept still by the lock on its row. The two
# directions stand apart: one join that finds both forms again by a CASE has no index to go by, and took 47 s for a
# batch of 374 into a table nobody had analysed yet.
CANDIDATES = text("""
WITH new AS (
  SELECT t.* FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[])) AS k(partner_id, id)
  JOIN transactions t ON t.partner_id = k.partner_id AND t.id = k.id
  WHERE NOT t.paired AND t.status IN ('pending', 'posted')
), linked AS (
  SELECT p.partner_id, p.id AS pending_id, n.id AS posted_id, p.posted_at AS pending_at, n.posted_at
  FROM new n JOIN transactions p ON p.partner_id = n.partner_id AND p.id = n.pending_transaction_id
  WHERE n.status = 'posted' AND p.status = 'pending' AND NOT p.paired AND p.user_id = n.user_id
  UNION
  SELECT n.partner_id, n.id, q.id, n.posted_at, q.posted_at
  FROM new n JOIN transactions q ON q.partner_id = n.partner_id AND q.pending_transaction_id = n.id
  WHERE n.status = 'pending' AND q.status = 'posted' AND NOT q.paired AND q.user_id = n.user_id
), alike AS (
  SELECT n.partner_id, n.user_id, n.account_id, n.currency,
         n.id AS pending_id, n.posted_at AS pending_at, n.amount AS pending_amount, n.is_estimate,
         o.id AS posted_id, o.posted_at, o.amount AS posted_amount
  FROM new n
  JOIN transactions o ON o.partner_id = n.partner_id AND o.account_id = n.account_id
    AND o.posted_at BETWEEN n.posted_at - CAST(:window AS interval) AND n.posted_at + CAST(:window AS interval)
    AND o.user_id = n.user_id AND o.merchant_norm = n.merchant_norm AND o.currency = n.currency
  WHERE n.status = 'pending' AND o.status = 'posted' AND NOT o.paired
    AND o.pending_transaction_id IS NULL AND o.posted_on - n.posted_on BETWEEN 0 AND :days
  UNION
  SELECT n.partner_id, n.user_id, n.account_id, n.currency,
         o.id, o.posted_at, o.amount, o.is_estimate, n.id, n.posted_at, n.amount
  FROM new n
  JOIN transactions o ON o.partner_id = n.partner_id AND o.account_id = n.account_id
    AND o.posted_at BETWEEN n.posted_at - CAST(:window AS interval) AND n.posted_at + CAST(:window AS interval)
    AND o.user_id = n.user_id AND o.merchant_norm = n.merchant_norm AND o.currency = n.currency
  WHERE n.status = 'posted' AND o.status = 'pending' AND NOT o.paired
    AND n.pending_transaction_id IS NULL AND n.posted_on - o.posted_on BETWEEN 0 AND :days
)
SELECT partner_id, pending_id, posted_id, true AS linked_by_bank, true AS same_amount, posted_at - pending_at AS apart
FROM linked
UNION
SELECT partner_id, pending_id, posted_id, false, pending_amount = posted_amount, posted_at - pending_at
FROM alike c
WHERE pending_amount = posted_amount
   OR (is_estimate AND sign(posted_amount) = sign(pending_amount)
       AND abs(posted_amount - pending_amount) <= CAST(:within AS numeric) * abs(pending_amount)
       AND NOT EXISTS (
         SELECT 1 FROM alerts a
         WHERE a.partner_id = c.partner_id AND a.user_id = c.user_id AND a.kind = 'transaction_limit'
           AND a.active AND a.deleted_at IS NULL AND a.currency = c.currency
           AND (a.account_id IS NULL OR a.account_id = c.account_id)
           AND (a.direction = 'any' OR (a.direction = 'debit') = (c.posted_amount < 0))
           AND abs(c.posted_amount) >= a.amount AND abs(c.pending_amount) < a.amount))
""")

# By primary key. The form that was here first names the purchase and its day, the pending one where both are new.
_PAIR = text("""
UPDATE transactions t SET paired = true, purchase_id = first.id, purchase_on = first.purchase_on
FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:purchase_ids AS bigint[]))
  AS k(partner_id, id, purchase_id)
JOIN transactions first ON first.partner_id = k.partner_id AND first.id = k.purchase_id
WHERE t.partner_id = k.partner_id AND t.id = k.id
""")


async def candidates(connection: AsyncConnection, new: Iterable[Key]) -> list[Candidate]:
    """All pairs that a newly arrived transaction may be part of."""
    parameters = {**key_arrays(new), "window": WINDOW, "days": LONGEST_DAYS, "within": ESTIMATE_WITHIN}
    rows = await connection.execute(CANDIDATES, parameters)
    return [Candidate(*row) for row in rows]


async def pair(connection: AsyncConnection, members: Sequence[tuple[int, int, int]]) -> None:
    """Note rows, given as (partner, transaction, purchase), as forms of that purchase."""
    if not members:
        return
    in_order = sorted(members)
    arrays = {
        "partner_ids": [each[0] for each in in_order],
        "ids": [each[1] for each in in_order],
        "purchase_ids": [each[2] for each in in_order],
    }
    await connection.execute(_PAIR, arrays)
