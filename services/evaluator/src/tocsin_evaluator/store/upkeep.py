"""What is checked and what is thrown away."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.model.words import KindName

# The ledger's primary key: its constraint holds the equation, this looks whether the constraint does.
_UNBALANCED = text("""
SELECT count(*) AS lines, count(*) FILTER (
  WHERE evaluated < "true" OR "true" <> fired + backfill + snoozed + currency + stale + cooldown + not_rearmed
                                        + already_sent + passed)
FROM evaluation_ledger WHERE minute >= :since
""")

# occurrences_by_time (BRIN), then the firings' primary key.
_OCCURRENCES = text("""
SELECT count(*) AS fired, count(*) FILTER (WHERE NOT EXISTS (
  SELECT 1 FROM firings f WHERE f.partner_id = o.partner_id AND f.id = o.firing_id))
FROM occurrences o WHERE o.at >= :since AND o.fired
""")


@dataclass(frozen=True)
class Findings:
    """What an audit saw: lines of the ledger and those that do not add up, occurrences and those without firing."""

    ledger_lines: int
    unbalanced: int
    occurrences: int
    without_firing: int


async def audit(connection: AsyncConnection, since: datetime) -> Findings:
    """Look at everything since an instant."""
    lines, unbalanced = (await connection.execute(_UNBALANCED, {"since": since})).one()
    fired, without = (await connection.execute(_OCCURRENCES, {"since": since})).one()
    return Findings(lines, unbalanced, fired, without)


class Old(StrEnum):
    """What grows old."""

    FIRINGS = "firings"
    TRANSACTIONS = "transactions"
    IDEMPOTENCY_KEYS = "idempotency_keys"
    SLICES = "slices"
    LEDGER = "ledger"
    BILL_DAYS = "bill_days"
    SWEEPS = "sweeps"
    OCCURRENCES = "occurrences"
    MILESTONES = "milestones"
    PROFILE_COPIES = "profile_copies"


# Each deletes at most `n` rows older than `before` and names its index.
_DELETE = {
    # firings_by_time
    Old.FIRINGS: text("""
DELETE FROM firings WHERE (partner_id, id) IN (
  SELECT partner_id, id FROM firings WHERE fired_at < :before ORDER BY fired_at LIMIT :n)
"""),
    # transactions_by_time (BRIN)
    Old.TRANSACTIONS: text("""
DELETE FROM transactions WHERE (partner_id, id) IN (
  SELECT partner_id, id FROM transactions WHERE posted_at < :before LIMIT :n)
"""),
    # by their time
    Old.IDEMPOTENCY_KEYS: text("""
DELETE FROM idempotency_keys WHERE (partner_id, caller, method, request_id) IN (
  SELECT partner_id, caller, method, request_id FROM idempotency_keys WHERE at < :before LIMIT :n)
"""),
    # profile_copies_by_time
    Old.PROFILE_COPIES: text("""
DELETE FROM profile_copies WHERE (partner_id, user_id) IN (
  SELECT partner_id, user_id FROM profile_copies WHERE at < :before ORDER BY at LIMIT :n)
"""),
    # the primary key: ids rise with time, near enough for throwing away
    Old.SLICES: text("""
DELETE FROM sweep_slices WHERE id IN (
  SELECT id FROM sweep_slices WHERE done_at < :before ORDER BY id LIMIT :n)
"""),
    # the primary key
    Old.LEDGER: text("""
DELETE FROM evaluation_ledger WHERE (minute, kind, way, replica) IN (
  SELECT minute, kind, way, replica FROM evaluation_ledger WHERE minute < :before LIMIT :n)
"""),
    Old.BILL_DAYS: text("""
DELETE FROM bill_days WHERE (zone, local_date) IN (
  SELECT zone, local_date FROM bill_days WHERE done_at < :before LIMIT :n)
"""),
    # Of sweeps the newest of each kind stays: it carries the count.
    Old.SWEEPS: text("""
DELETE FROM sweeps s WHERE (run_id, kind) IN (
  SELECT run_id, kind FROM sweeps WHERE cut_at < :before LIMIT :n)
AND EXISTS (SELECT 1 FROM sweeps newer WHERE newer.kind = s.kind AND newer.number > coalesce(s.number, 0))
"""),
    # Occurrences of one kind of alert; a goal's milestones are never among them.
    # occurrences_by_time (BRIN), then the alerts' primary key
    Old.OCCURRENCES: text("""
DELETE FROM occurrences WHERE (partner_id, alert_id, key) IN (
  SELECT o.partner_id, o.alert_id, o.key FROM occurrences o
  JOIN alerts a ON a.partner_id = o.partner_id AND a.id = o.alert_id
  WHERE o.at < :before AND a.kind = :kind LIMIT :n)
"""),
    # A goal's milestones stay as long as the goal, and the bank may post one again that it deleted: what goes is what
    # nobody asks any more, of alerts that are deleted and of conditions that were edited since.
    # occurrences_by_time (BRIN), then the alerts' primary key
    Old.MILESTONES: text("""
DELETE FROM occurrences WHERE (partner_id, alert_id, key) IN (
  SELECT o.partner_id, o.alert_id, o.key FROM occurrences o
  JOIN alerts a ON a.partner_id = o.partner_id AND a.id = o.alert_id
  WHERE o.at < :before AND a.kind = 'goal'
    AND (a.deleted_at < :before OR CAST(split_part(o.key, ':', 1) AS integer) < a.condition_version) LIMIT :n)
"""),
}


async def delete_batch(
    connection: AsyncConnection, what: Old, before: datetime, n: int, kind: KindName | None = None
) -> int:
    """Delete at most `n` rows of what is older than `before`; of occurrences those of one kind. Answers how many."""
    parameters: dict[str, object] = {"before": before, "n": n}
    if kind is not None:
        parameters["kind"] = kind.value
    return (await connection.execute(_DELETE[what], parameters)).rowcount
