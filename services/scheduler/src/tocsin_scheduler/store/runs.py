"""Statements on the runs of schedules: a time becomes a run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, exists, func, literal_column, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_scheduler.schedules import Schedule
from tocsin_scheduler.store.schedules import read
from tocsin_scheduler.store.tables import jobs, schedule_runs, schedules

_WAITING = "waiting"
_ACTIVE = ("queued", "running", "retrying")


@dataclass(frozen=True)
class RunRow:
    """A run to write. `job_id` is set where a job is to be made for it."""

    schedule: str
    run_at: datetime
    outcome: str
    late: bool
    job_id: UUID | None


async def add(connection: AsyncConnection, rows: Sequence[RunRow], at: datetime) -> set[tuple[str, datetime]]:
    """Write runs; answers (schedule, run time) of those that were not there before."""
    if not rows:
        return set()
    written = await connection.execute(
        insert(schedule_runs).on_conflict_do_nothing().returning(schedule_runs.c.schedule, schedule_runs.c.run_at),
        [
            {
                "schedule": row.schedule,
                "run_at": row.run_at,
                "outcome": row.outcome,
                "late": row.late,
                "job_id": row.job_id,
                "at": at,
            }
            for row in rows
        ],
    )
    return {(row.schedule, row.run_at) for row in written}


async def not_made(connection: AsyncConnection, job_ids: Sequence[UUID], outcome: str) -> None:
    """Give `outcome` to the runs whose jobs could not be made. Index schedule_runs_job."""
    if not job_ids:
        return
    await connection.execute(
        update(schedule_runs).where(schedule_runs.c.job_id.in_(job_ids)).values(outcome=outcome, job_id=None)
    )


# Index schedule_runs_waiting.
_ANY_WAITING = select(exists().where(schedule_runs.c.outcome == _WAITING))


async def any_waiting(connection: AsyncConnection) -> bool:
    """Whether any run waits for its turn."""
    return bool(await connection.scalar(_ANY_WAITING))


async def claim_turns(connection: AsyncConnection, limit: int) -> list[tuple[Schedule, datetime]]:
    """Schedules with waiting runs and no job under way, locked, each with its oldest waiting time.

    Index schedule_runs_waiting. The lock is on the schedule: who holds it decides about its runs.
    """
    waiting = select(schedule_runs.c.schedule).where(schedule_runs.c.outcome == _WAITING)
    oldest = (
        select(func.min(schedule_runs.c.run_at).label("run_at"))
        .where(schedule_runs.c.schedule == schedules.c.name, schedule_runs.c.outcome == _WAITING)
        .lateral("oldest")
    )
    under_way = exists(literal_column("1")).where(
        jobs.c.schedule == schedules.c.name, jobs.c.args == schedules.c.args, jobs.c.state.in_(_ACTIVE)
    )
    turns = (
        select(schedules, oldest.c.run_at)
        .select_from(schedules.join(oldest, true()))
        .where(schedules.c.enabled, schedules.c.name.in_(waiting), ~under_way)
        .order_by(schedules.c.name)
        .limit(limit)
        .with_for_update(of=schedules, skip_locked=True)
    )
    found = await connection.execute(turns)
    return [(read(row), row.run_at) for row in found if row.run_at is not None]


async def take_turns(connection: AsyncConnection, turns: Mapping[UUID, tuple[str, datetime]]) -> set[UUID]:
    """Mark waiting runs as turned into the jobs with these ids; answers the jobs whose run still waited."""
    taken: set[UUID] = set()
    statement = (
        update(schedule_runs)
        .where(
            schedule_runs.c.schedule == bindparam("whose"),
            schedule_runs.c.run_at == bindparam("time"),
            schedule_runs.c.outcome == _WAITING,
        )
        .values(outcome="queued", job_id=bindparam("job"))
    )
    for job_id, (schedule, run_at) in turns.items():
        result = await connection.execute(statement, {"whose": schedule, "time": run_at, "job": job_id})
        if result.rowcount:
            taken.add(job_id)
    return taken
