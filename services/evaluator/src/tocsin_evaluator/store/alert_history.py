"""When and how often alerts were evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.alerts import StoredAlert


@dataclass(frozen=True)
class History:
    """When an alert was last evaluated, and how often since its creation."""

    last_evaluated_at: datetime | None
    evaluation_count: int


# Per alert: the newest sweep of its kind (sweeps_by_number) or its owner's bill days (primary key), and its fact by
# primary key; transaction kinds: the user's transactions (transactions_by_user).
_HISTORY = text("""
SELECT a.partner_id, a.id,
  greatest(s.finished_at, b.done_at, f.seen_at, a.last_triggered_at),
  coalesce(s.number - a.sweeps_before, 0) + coalesce(b.n, 0)
    + greatest(coalesce(f.version, 0) - a.fact_version_before, 0)
FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[])) AS k(partner_id, id)
JOIN alerts a ON a.partner_id = k.partner_id AND a.id = k.id
LEFT JOIN people p ON p.partner_id = a.partner_id AND p.user_id = a.user_id
LEFT JOIN LATERAL (
  SELECT number, finished_at FROM sweeps WHERE kind = a.kind AND number > a.sweeps_before ORDER BY number DESC LIMIT 1
) s ON true
LEFT JOIN LATERAL (
  SELECT count(*) AS n, max(done_at) AS done_at FROM bill_days
  WHERE a.kind = 'upcoming_bill' AND zone = coalesce(p.time_zone, 'UTC') AND done_at >= a.created_at
) b ON true
LEFT JOIN LATERAL (
  SELECT version, received_at AS seen_at FROM accounts
  WHERE a.kind = 'account_threshold' AND partner_id = a.partner_id AND accounts.id = a.subject_id
    AND user_id = a.user_id AND version > a.fact_version_before
  UNION ALL
  SELECT version, received_at FROM goals
  WHERE a.kind = 'goal' AND partner_id = a.partner_id AND goals.id = a.subject_id
    AND user_id = a.user_id AND version > a.fact_version_before
  UNION ALL
  SELECT version, received_at FROM budgets
  WHERE a.kind = 'spending_target' AND partner_id = a.partner_id AND budgets.id = a.subject_id
    AND user_id = a.user_id AND version > a.fact_version_before
  UNION ALL
  SELECT version, received_at FROM bills
  WHERE a.kind = 'upcoming_bill' AND partner_id = a.partner_id AND bills.id = a.subject_id
    AND user_id = a.user_id AND version > a.fact_version_before
  UNION ALL
  SELECT count(*), max(received_at) FROM transactions
  WHERE a.kind IN ('merchant_name', 'transaction_limit') AND partner_id = a.partner_id
    AND user_id = a.user_id AND received_at >= a.created_at
  HAVING count(*) > 0
) f ON true
""")


async def history(connection: AsyncConnection, found: Sequence[StoredAlert]) -> Mapping[tuple[int, int], History]:
    """When and how often these alerts were evaluated, computed from sweeps, bill days and their facts' versions."""
    arrays = {"partner_ids": [each.partner_id for each in found], "ids": [each.id for each in found]}
    rows = await connection.execute(_HISTORY, arrays)
    return {(partner, id_): History(at, int(n)) for partner, id_, at, n in rows}
