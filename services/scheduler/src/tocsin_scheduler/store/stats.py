"""Counting jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_scheduler.jobs import JobState
from tocsin_scheduler.store.tables import jobs, outbox


@dataclass(frozen=True)
class StateCount:
    """How many jobs of a type are in a state, and since when the oldest exists."""

    type: str
    state: JobState
    count: int
    oldest: datetime


@dataclass(frozen=True)
class Recent:
    """What ended of a type lately: durations of the last attempts (None: nothing began), share of dead ones."""

    p50: timedelta | None
    p95: timedelta | None
    failure_rate: float


async def counts(connection: AsyncConnection) -> list[StateCount]:
    """Jobs by type and state."""
    grouped = select(jobs.c.type, jobs.c.state, func.count().label("jobs"), func.min(jobs.c.created_at).label("oldest"))
    rows = await connection.execute(grouped.group_by(jobs.c.type, jobs.c.state))
    return [StateCount(row.type, JobState(row.state), row.jobs, row.oldest) for row in rows]


async def recent(connection: AsyncConnection, since: datetime) -> Mapping[str, Recent]:
    """What succeeded or died since an instant, by type. Index jobs_finished."""
    took = func.extract("epoch", jobs.c.finished_at - jobs.c.started_at)
    dead = func.sum(case((jobs.c.state == JobState.DEAD, 1), else_=0))
    grouped = (
        select(
            jobs.c.type,
            func.percentile_cont(0.5).within_group(took).label("p50"),
            func.percentile_cont(0.95).within_group(took).label("p95"),
            (dead * 1.0 / func.count()).label("failure_rate"),
        )
        .where(jobs.c.finished_at >= since, jobs.c.state.in_((JobState.SUCCEEDED, JobState.DEAD)))
        .group_by(jobs.c.type)
    )
    rows = await connection.execute(grouped)
    return {row.type: Recent(_span(row.p50), _span(row.p95), float(row.failure_rate)) for row in rows}


async def queued_by_class(connection: AsyncConnection) -> Mapping[str, int]:
    """Queued jobs by lane. Index jobs_by_state."""
    grouped = select(jobs.c["class"].label("lane"), func.count().label("jobs")).where(jobs.c.state == JobState.QUEUED)
    return {row.lane: row.jobs for row in await connection.execute(grouped.group_by(jobs.c["class"]))}


async def outbox_rows(connection: AsyncConnection) -> int:
    """Messages that wait to be published."""
    return int(await connection.scalar(select(func.count()).select_from(outbox)) or 0)


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=float(seconds))
