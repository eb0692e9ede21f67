"""Pending and posted forms of one purchase: finding candidates and joining them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.upserts import Key, key_arrays

Spending: TypeAlias = tuple[int, int, str]
"""(partner, user, category)."""

#: The posted form comes at most this many days after the pending one (evaluation page, "One purchase, one alert").
LONGEST_DAYS = 8
#: How far the posted amount may be from a pending one that is flagged an estimate.
ESTIMATE_WITHIN = Decimal("0.20")

#: The same by instants, with a margin: the days are compared as local days.
WINDOW = timedelta(days=LONGEST_DAYS + 2)


@dataclass(frozen=True)
class Candidate:
    """A pending and a posted form that may be one purchase.

    Where `posted_keeps_its_id` the posted one stays a purchase to tell of; only their money is one purchase's.
    """

    partner_id: int
    pending_id: int
    posted_id: int
    linked_by_bank: bool
    same_amount: bool
    posted_keeps_its_id: bool
    apart: timedelta


# Arrived rows by primary key; the other form by primary key or transactions_by_pending (the bank's link), else by
# transactions_by_account within the window. Rows of the same user are kept still by `one_at_a_time`. The two
# directions stand apart: one join that finds both forms again by a CASE has no index to go by, and took 47 s for a
# batch of 374 into a table nobody had analysed yet. `user_id + 0` keeps such a table from being joined by
# transactions_by_user: all of a user's purchases of those days, instead of an account's.
#
# The bank's link holds whatever has become of the form it names (a hold that is released is reversed), and may be said
# by a later version. A posted form that was told as a purchase of its own by then stays one: under another id it would
# be told again. Likeness is looked for once, when a form comes first. It never joins an estimate to a posted form that
# alone crosses a limit, or that message would be taken for one that was sent; their money is one purchase's all the
# same.
CANDIDATES = text("""
WITH arrived AS (
  SELECT t.*, k.is_new
  FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:are_new AS boolean[]))
    AS k(partner_id, id, is_new)
  JOIN transactions t ON t.partner_id = k.partner_id AND t.id = k.id
), linked AS (
  SELECT p.partner_id, p.id AS pending_id, n.id AS posted_id, p.posted_at AS pending_at, n.posted_at,
         NOT n.is_new AND EXISTS (
           SELECT 1 FROM alerts a JOIN occurrences o ON o.partner_id = a.partner_id AND o.alert_id = a.id
             AND o.key = a.condition_version || ':purchase:' || n.id
           WHERE a.partner_id = n.partner_id AND a.user_id = n.user_id AND n.purchase_id = n.id
             AND a.kind IN ('merchant_name', 'transaction_limit') AND a.active AND a.deleted_at IS NULL
         ) AS posted_keeps_its_id
  FROM arrived n JOIN transactions p ON p.partner_id = n.partner_id AND p.id = n.pending_transaction_id
  WHERE n.status = 'posted' AND n.pending_transaction_id IS NOT NULL AND p.other_form_id IS NULL
    AND p.user_id + 0 = n.user_id AND p.id <> n.id
  UNION
  SELECT n.partner_id, n.id, q.id, n.posted_at, q.posted_at, false
  FROM arrived n JOIN transactions q ON q.partner_id = n.partner_id AND q.pending_transaction_id = n.id
  WHERE n.is_new AND q.status = 'posted' AND n.other_form_id IS NULL AND q.user_id + 0 = n.user_id AND q.id <> n.id
), new AS (
  SELECT * FROM arrived WHERE is_new AND other_form_id IS NULL AND status IN ('pending', 'posted')
), alike AS (
  SELECT n.partner_id, n.user_id, n.account_id, n.currency,
         n.id AS pending_id, n.posted_at AS pending_at, n.amount AS pending_amount, n.is_estimate,
         o.id AS posted_id, o.posted_at, o.amount AS posted_amount
  FROM new n
  JOIN transactions o ON o.partner_id = n.partner_id AND o.account_id = n.account_id
    AND o.posted_at BETWEEN n.posted_at - CAST(:window AS interval) AND n.posted_at + CAST(:window AS interval)
    AND o.user_id + 0 = n.user_id AND o.merchant_norm = n.merchant_norm AND o.currency = n.currency
  WHERE n.status = 'pending' AND o.status = 'posted' AND o.other_form_id IS NULL
    AND o.pending_transaction_id IS NULL AND o.posted_on - n.posted_on BETWEEN 0 AND :days
  UNION
  SELECT n.partner_id, n.user_id, n.account_id, n.currency,
         o.id, o.posted_at, o.amount, o.is_estimate, n.id, n.posted_at, n.amount
  FROM new n
  JOIN transactions o ON o.partner_id = n.partner_id AND o.account_id = n.account_id
    AND o.posted_at BETWEEN n.posted_at - CAST(:window AS interval) AND n.posted_at + CAST(:window AS interval)
    AND o.user_id + 0 = n.user_id AND o.merchant_norm = n.merchant_norm AND o.currency = n.currency
  WHERE n.status = 'posted' AND o.status = 'pending' AND o.other_form_id IS NULL
    AND n.pending_transaction_id IS NULL AND n.posted_on - o.posted_on BETWEEN 0 AND :days
)
SELECT partner_id, pending_id, posted_id, true AS linked_by_bank, true AS same_amount, posted_keeps_its_id,
       posted_at - pending_at AS apart
FROM linked
UNION
SELECT partner_id, pending_id, posted_id, false, pending_amount = posted_amount,
       pending_amount <> posted_amount AND EXISTS (
         SELECT 1 FROM alerts a
         WHERE a.partner_id = c.partner_id AND a.user_id = c.user_id AND a.kind = 'transaction_limit'
           AND a.active AND a.deleted_at IS NULL AND a.currency = c.currency
           AND (a.account_id IS NULL OR a.account_id = c.account_id)
           AND (a.direction = 'any' OR (a.direction = 'debit') = (c.posted_amount < 0))
           AND abs(c.posted_amount) >= a.amount AND abs(c.pending_amount) < a.amount),
       posted_at - pending_at
FROM alike c
WHERE pending_amount = posted_amount
   OR (is_estimate AND sign(posted_amount) = sign(pending_amount)
       AND abs(posted_amount - pending_amount) <= CAST(:within AS numeric) * abs(pending_amount))
""")

# By primary key. The purchase and its day are taken from the form `named_by`, as they are stored with it.
_PAIR = text("""
UPDATE transactions t SET other_form_id = k.other_id, purchase_id = first.purchase_id, purchase_on = first.purchase_on
FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:other_ids AS bigint[]),
            CAST(:named_by AS bigint[])) AS k(partner_id, id, other_id, named_by)
JOIN transactions first ON first.partner_id = k.partner_id AND first.id = k.named_by
WHERE t.partner_id = k.partner_id AND t.id = k.id
RETURNING t.partner_id, t.user_id, t.category
""")

# By primary key: the rows to be deleted, then their other forms.
_PART = text("""
UPDATE transactions t SET other_form_id = NULL
FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[])) AS k(partner_id, id)
JOIN transactions doomed ON doomed.partner_id = k.partner_id AND doomed.id = k.id
WHERE t.partner_id = doomed.partner_id AND t.id = doomed.other_form_id AND t.other_form_id = doomed.id
  AND t.status = 'pending'
""")


# New rows by primary key, the others that name their pending form by transactions_by_pending.
_KEEP_APART = text("""
UPDATE transactions t SET purchase_id = t.id
FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[])) AS k(partner_id, id)
WHERE t.partner_id = k.partner_id AND t.id = k.id AND t.status = 'posted' AND t.other_form_id IS NULL
  AND EXISTS (
    SELECT 1 FROM transactions o
    WHERE o.partner_id = t.partner_id AND o.pending_transaction_id = t.pending_transaction_id
      AND o.status = 'posted' AND o.id <> t.id
      AND (o.other_form_id IS NOT NULL OR o.id < t.id OR o.id <> ALL (CAST(:ids AS bigint[]))))
""")


@dataclass(frozen=True)
class Form:
    """One form of a purchase: its other form, and the form whose purchase id and day it takes, which may be itself."""

    partner_id: int
    id: int
    other_id: int
    named_by: int


async def candidates(connection: AsyncConnection, arrived: Mapping[Key, bool]) -> list[Candidate]:
    """All pairs that an arrived transaction may be part of; `arrived` says of each whether it is its first version."""
    in_order = sorted(arrived)
    parameters: dict[str, object] = {
        **key_arrays(in_order),
        "are_new": [arrived[key] for key in in_order],
        "window": WINDOW,
        "days": LONGEST_DAYS,
        "within": ESTIMATE_WITHIN,
    }
    return [Candidate(*row) for row in await connection.execute(CANDIDATES, parameters)]


async def pair(connection: AsyncConnection, forms: Sequence[Form]) -> set[Spending]:
    """Note forms as those of one purchase; answers the spending that may have changed."""
    if not forms:
        return set()
    in_order = sorted(forms, key=lambda each: (each.partner_id, each.id))
    arrays = {
        "partner_ids": [each.partner_id for each in in_order],
        "ids": [each.id for each in in_order],
        "other_ids": [each.other_id for each in in_order],
        "named_by": [each.named_by for each in in_order],
    }
    return {(partner, user, category) for partner, user, category in await connection.execute(_PAIR, arrays)}


async def keep_apart(connection: AsyncConnection, linked: Iterable[Key]) -> None:
    """Of several bookings of one hold (an order sent in parts) the first is the hold's purchase; each other one, new
    and naming that hold, is a purchase of its own."""
    arrays = key_arrays(linked)
    if arrays["ids"]:
        await connection.execute(_KEEP_APART, arrays)


async def part(connection: AsyncConnection, doomed: Iterable[Key]) -> None:
    """Let the pending forms of posted rows that will be deleted stand for their purchases again.

    A posted form stays as it is when its pending one is deleted: it would take the next equal purchase for it.
    """
    arrays = key_arrays(doomed)
    if arrays["ids"]:
        await connection.execute(_PART, arrays)
