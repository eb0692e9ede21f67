"""Budgets whose spending is derived from transactions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.model.words import SpentSource
from tocsin_evaluator.store.rows import BudgetRow
from tocsin_evaluator.store.upserts import Key, key_arrays


@dataclass(frozen=True)
class Derived:
    """A derived budget as far as its period, its owner and its category go."""

    partner_id: int
    id: int
    user_id: int
    category: str
    period: str
    starts_on: date | None

    @property
    def key(self) -> Key:
        """(partner, id)."""
        return self.partner_id, self.id


def derived_of(row: BudgetRow) -> Derived | None:
    """The derived budget in a row; None where its spending is reported."""
    if row.spent_source != SpentSource.DERIVED:
        return None
    return Derived(row.partner_id, row.id, row.user_id, row.category, row.period, row.starts_on)


# budgets_by_user, then the primary key: all that a transaction will write is locked at once, in key order. A null
# category means all of the user's.
LOCK = text("""
WITH wanted AS (
  SELECT b.partner_id, b.id
  FROM unnest(CAST(:partners AS bigint[]), CAST(:users AS bigint[]), CAST(:categories AS text[]))
    AS t(partner_id, user_id, category)
  JOIN budgets b ON b.partner_id = t.partner_id AND b.user_id = t.user_id
  WHERE b.spent_source = 'derived' AND (t.category IS NULL OR t.category = b.category)
  UNION
  SELECT * FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[]))
)
SELECT b.partner_id, b.id, b.user_id, b.category, b.period, b.starts_on, b.spent_source
FROM wanted w JOIN budgets b ON b.partner_id = w.partner_id AND b.id = w.id
ORDER BY b.partner_id, b.id
FOR NO KEY UPDATE OF b
""")

# Budgets by primary key, their transactions by transactions_by_user: two days of margin for the zones.
_DERIVE = text("""
UPDATE budgets b SET spent = s.spent, spent_from = s.spent_from, spent_until = s.spent_until,
  version = b.version + 1, received_at = :at
FROM (
  SELECT k.partner_id, k.id, k.spent_from, k.spent_until,
    (SELECT coalesce(-sum(t.amount), 0) FROM transactions t
     WHERE t.partner_id = k.partner_id AND t.user_id = own.user_id
       AND t.posted_at >= CAST(k.spent_from - 2 AS timestamp) AT TIME ZONE 'UTC'
       AND t.posted_at < CAST(k.spent_until + 2 AS timestamp) AT TIME ZONE 'UTC'
       AND t.posted_on >= k.spent_from AND t.posted_on < k.spent_until
       AND t.category = own.category AND t.currency = own.currency
       AND (t.status = 'posted' OR (t.status = 'pending' AND coalesce(t.other_form_id, t.id) = t.id))) AS spent
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
SELECT b.partner_id, b.id, b.user_id, b.category, b.period, b.starts_on
FROM budgets b
WHERE b.spent_source = 'derived' AND b.spent_until <= CAST(:latest_day AS date)
""")


async def lock(
    connection: AsyncConnection, keys: Iterable[Key], touched: Iterable[tuple[int, int, str | None]] = ()
) -> list[Derived]:
    """Lock these budgets and the derived ones of (partner, user, category), in key order; no category means each of
    the user's. Answers the derived ones among all of them.
    """
    rows = list(touched)
    arrays: dict[str, object] = {
        **key_arrays(keys),
        "partners": [each[0] for each in rows],
        "users": [each[1] for each in rows],
        "categories": [each[2] for each in rows],
    }
    if not rows and not arrays["ids"]:
        return []
    found = await connection.execute(LOCK, arrays)
    return [Derived(*row) for *row, source in found if source == SpentSource.DERIVED]


async def derive(connection: AsyncConnection, periods: Sequence[tuple[Derived, date, date]], at: datetime) -> set[Key]:
    """Sum the spending of locked budgets anew, each from one day until before another; answers those that changed.

    Refunds subtract, only the budget's own currency counts, a pending form counts until its posted one is here. The
    statement's snapshot is newer than the locks, so nothing committed before them is missed.
    """
    if not periods:
        return set()
    parameters: dict[str, object] = {
        "at": at,
        "partner_ids": [budget.partner_id for budget, _, _ in periods],
        "ids": [budget.id for budget, _, _ in periods],
        "froms": [first for _, first, _ in periods],
        "untils": [until for _, _, until in periods],
    }
    return {(partner, id_) for partner, id_ in await connection.execute(_DERIVE, parameters)}


async def turned(connection: AsyncConnection, latest_day: date) -> list[Derived]:
    """Derived budgets whose period is over where it is latest on earth."""
    return [Derived(*row) for row in await connection.execute(_TURNED, {"latest_day": latest_day})]
