"""Deleting what is old, in batches of one transaction each. Each statement answers how many rows it deleted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Table, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_scheduler.jobs import JobState
from tocsin_scheduler.store import tables

_BATCH = 1000
_KEPT_OF_A_TYPE = 100
_ENDED_WELL = (JobState.SUCCEEDED, JobState.CANCELLED)


async def finished_jobs(connection: AsyncConnection, before: datetime) -> int:
    """Jobs that succeeded or were cancelled before an instant, but the last 100 of a type. Index jobs_by_state."""
    jobs = tables.jobs
    rank = func.row_number().over(partition_by=jobs.c.type, order_by=(jobs.c.created_at.desc(), jobs.c.id.desc()))
    ranked = select(jobs.c.id, jobs.c.finished_at, rank.label("rank")).where(jobs.c.state.in_(_ENDED_WELL)).subquery()
    old = select(ranked.c.id).where(ranked.c.rank > _KEPT_OF_A_TYPE, ranked.c.finished_at < before).limit(_BATCH)
    return (await connection.execute(delete(jobs).where(jobs.c.id.in_(old)))).rowcount


async def dead_jobs(connection: AsyncConnection, before: datetime) -> int:
    """Jobs that died before an instant. Index jobs_finished."""
    jobs = tables.jobs
    return await _delete(connection, jobs, (jobs.c.state == JobState.DEAD) & (jobs.c.finished_at < before))


async def runs(connection: AsyncConnection, before: datetime) -> int:
    """Runs noted before an instant that wait no more. Index schedule_runs_at."""
    noted = tables.schedule_runs
    return await _delete(connection, noted, (noted.c.outcome != "waiting") & (noted.c.at < before))


async def inbox(connection: AsyncConnection, before: datetime) -> int:
    """Messages taken in before an instant."""
    return await _delete(connection, tables.inbox, tables.inbox.c.at < before)


async def requests(connection: AsyncConnection, before: datetime) -> int:
    """Request ids that came before an instant."""
    return await _delete(connection, tables.idempotency_keys, tables.idempotency_keys.c.at < before)


async def _delete(connection: AsyncConnection, table: Table, is_old: ColumnElement[bool]) -> int:
    key = tuple_(*table.primary_key.columns)
    old = select(*table.primary_key.columns).where(is_old).limit(_BATCH)
    return (await connection.execute(delete(table).where(key.in_(old)))).rowcount
