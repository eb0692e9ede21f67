"""Sweeps and their slices: cut once per run, claimed by any replica under a lease."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.model.words import KindName


@dataclass(frozen=True)
class Slice:
    """A range of one partner's users whose alerts of a kind are swept together; `alerts` of them were live."""

    id: int
    run_id: UUID
    kind: str
    partner_id: int
    user_from: int
    user_to: int
    alerts: int
    traceparent: str | None


_BEGIN = text("""
INSERT INTO sweeps (run_id, kind, cut_at) VALUES (:run_id, :kind, :at) ON CONFLICT DO NOTHING
""")

# One index-only scan of alerts_by_user. Users are kept whole: all alerts of one have the rank of their first.
CUT = text("""
INSERT INTO sweep_slices (run_id, kind, partner_id, user_from, user_to, alerts, traceparent)
SELECT :run_id, :kind, partner_id, min(user_id), max(user_id), count(*), CAST(:traceparent AS text)
FROM (
  SELECT partner_id, user_id,
         (rank() OVER (PARTITION BY partner_id ORDER BY user_id) - 1) / CAST(:size AS bigint) AS number
  FROM alerts WHERE kind = :kind AND active AND deleted_at IS NULL
) AS ranked
GROUP BY partner_id, number
ORDER BY partner_id, number
""")

# sweep_slices_open. One slice, skipping those other replicas are about to claim.
_CLAIM = text("""
UPDATE sweep_slices SET leased_until = :until, leased_by = :replica
WHERE id = (SELECT id FROM sweep_slices WHERE done_at IS NULL AND (leased_until IS NULL OR leased_until <= :at)
            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, run_id, kind, partner_id, user_from, user_to, alerts, traceparent
""")

# The primary key.
_HOLD = text("""
SELECT 1 FROM sweep_slices WHERE id = :id AND done_at IS NULL AND leased_by = :replica FOR UPDATE
""")

# The primary key.
_DONE = text("""
UPDATE sweep_slices SET done_at = :at, fired = :fired, leased_until = NULL WHERE id = :id
""")

# sweep_slices_of_run.
_PROGRESS = text("""
SELECT count(*) FILTER (WHERE done_at IS NOT NULL), count(*), coalesce(sum(alerts), 0), coalesce(sum(fired), 0)
FROM sweep_slices WHERE run_id = :run_id
""")

_FINISH = text("""
UPDATE sweeps s SET finished_at = :at,
  number = 1 + coalesce((SELECT max(o.number) FROM sweeps o WHERE o.kind = s.kind AND o.number IS NOT NULL), 0)
WHERE s.run_id = :run_id AND s.finished_at IS NULL
""")


@dataclass(frozen=True)
class Progress:
    """How far a run is, in slices; alerts and firings so far."""

    done: int
    total: int
    alerts: int
    fired: int


async def cut(
    connection: AsyncConnection, run_id: UUID, kind: KindName, size: int, at: datetime, traceparent: str | None
) -> bool:
    """Cut a kind into slices of about `size` alerts, once per run; False where it has been cut."""
    begun = await connection.execute(_BEGIN, {"run_id": run_id, "kind": kind.value, "at": at})
    if begun.rowcount == 0:
        return False
    await connection.execute(CUT, {"run_id": run_id, "kind": kind.value, "size": size, "traceparent": traceparent})
    return True


async def claim(connection: AsyncConnection, replica: str, at: datetime, until: datetime) -> Slice | None:
    """Take the next slice that nobody works on, until then; None where there is none."""
    row = (await connection.execute(_CLAIM, {"replica": replica, "at": at, "until": until})).one_or_none()
    if row is None:
        return None
    return Slice(*row)


async def hold(connection: AsyncConnection, slice_id: int, replica: str) -> bool:
    """Keep a claimed slice to the transaction's end, however long that takes; False where its lease was lost to another
    replica, which has done or will do it.
    """
    return (await connection.execute(_HOLD, {"id": slice_id, "replica": replica})).first() is not None


async def done(connection: AsyncConnection, slice_id: int, fired: int, at: datetime) -> None:
    """Note a slice that is held as done."""
    await connection.execute(_DONE, {"id": slice_id, "fired": fired, "at": at})


async def progress(connection: AsyncConnection, run_id: UUID) -> Progress:
    """How far a run is."""
    return Progress(*(await connection.execute(_PROGRESS, {"run_id": run_id})).one())


async def finish(connection: AsyncConnection, run_id: UUID, at: datetime) -> None:
    """Number a run's sweeps among those of their kinds; once."""
    await connection.execute(_FINISH, {"run_id": run_id, "at": at})
