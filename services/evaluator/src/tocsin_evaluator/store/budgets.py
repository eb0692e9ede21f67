"""Budgets whose spending is derived from transactions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.upserts import Key


@dataclass(frozen=True)
class Derived:
    """A derived budget as far as its period and its owner go."""

    partner_id: int
    id: int
    user_id: int
    period: str
    starts_on: date | None


# budgets_by_user, or the primary key; locked in key order. A null category means all of the user's.
_LOCK = text("""
SELECT b.partner_id, b.id, b.user_id, b.period, b.starts_on
FROM budgets b
WHERE b.spent_source = 'derived' AND (
  EXISTS (SELECT 1 FROM unnest(CAST(:partners AS bigint[]), CAST(:users AS bigint[]), CAST(:categories AS text[]))
            AS t(partner_id, user_id, category)
          WHERE t.partner_id = b.partner_id AND t.user_id = b.user_id
            AND (t.category IS NULL OR t.category = b.category)))
  AND (b.partner_id, b.user_id) IN (
    SELECT * FROM unnest(CAST(:partners AS bigint[]), CAST(:users AS bigint[])))
ORDER BY b.partner_id, b.id
FOR NO KEY UPDATE OF b
""")

# Budgets by primary key, their transactions by transactions_by_user: two days of margin for the zones.
_DERIVE = text("""
UPDATE budgets b SET spent = s.spent, spent_from = s.spent_from, spent_until = s.spent_until, version = b.version + 1
FROM (
  SELECT k.partner_id, k.id, k.spent_from, k.spent_until,
    (SELECT coalesce(-sum(t.amount), 0) FROM transactions t
     WHERE t.partner_id = k.partner_id AND t.user_id = own.user_id
       AND t.posted_at >= CAST(k.spent_from - 2 AS timestamp) AT TIME ZONE 'UTC'
       AND t.posted_at < CAST(k.spent_until + 2 AS timestamp) AT TIME ZONE 'UTC'
       AND t.posted_on >= k.spent_from AND t.posted_on < k.spent_until
       AND t.category = own.category AND t.currency = own.currency
       AND (t.status = 'posted' OR (t.status = 'pending' AND NOT t.paired))) AS spent
  FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:froms AS date[]), CAST(:untils AS date[]))
    AS k(partner_id, id, spent_from, spent_until)
  JOIN budgets own ON own.partner_id = k.partner_id AND own.id = k.id
) s
WHERE b.partner_id = s.partner_id AND b.id = s.id
  AND (b.spent, b.spent_from, b.spent_until) IS DISTINCT FROM (s.spent, s.spent_from, s.spent_until)
RETURNING b.partner_id, b.id
""")

# budgets_to_turn.
_TURNED = text("""
SELECT b.partner_id, b.id, b.user_id, b.period, b.starts_on
FROM budgets b
WHERE b.spent_source = 'derived' AND b.spent_until <= CAST(:latest_day AS date)
""")


async def lock_derived(connection: AsyncConnection, touched: Iterable[tuple[int, int, str | None]]) -> list[Derived]:
    """Lock the derived budgets of (partner, user, category), in key order; no category means each of the user's."""
    rows = sorted(set(touched), key=lambda each: (each[0], each[1], each[2] or ""))
    arrays = {
        "partners": [each[0] for each in rows],
        "users": [each[1] for each in rows],
        "categories": [each[2] for each in rows],
    }
    return [Derived(*row) for row in await connection.execute(_LOCK, arrays)]


async def derive(connection: AsyncConnection, periods: Sequence[tuple[Derived, date, date]]) -> set[Key]:
    """Sum the spending of locked budgets anew, each from one day until before another; answers those that changed.

    Refunds subtract, only the budget's own currency counts, a pending form counts until its posted one is here. The
    statement's snapshot is newer than the locks, so nothing committed before them is missed.
    """
    if not periods:
        return set()
    arrays = {
        "partner_ids": [budget.partner_id for budget, _, _ in periods],
        "ids": [budget.id for budget, _, _ in periods],
        "froms": [first for _, first, _ in periods],
        "untils": [until for _, _, until in periods],
    }
    return {(partner, id_) for partner, id_ in await connection.execute(_DERIVE, arrays)}


async def turned(connection: AsyncConnection, latest_day: date) -> list[Derived]:
    """Derived budgets whose period is over where it is latest on earth."""
    return [Derived(*row) for row in await connection.execute(_TURNED, {"latest_day": latest_day})]
