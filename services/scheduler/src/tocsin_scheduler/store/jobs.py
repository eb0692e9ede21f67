"""Statements on jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, bindparam, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_scheduler.jobs import ACTIVE, AttemptError, Job, JobState, Progress, WorkClass
from tocsin_scheduler.store.tables import UNDER_WAY, jobs

#: A retry that is due, or a deadline that has passed; as in the index jobs_due.
_DUE = func.coalesce(jobs.c.retry_at, jobs.c.deadline_at)
_LISTED_DEAD = 500


#: The columns that change in a job's life.
_CHANGING = (
    "state",
    "attempt",
    "max_attempts",
    "deadline_at",
    "retry_at",
    "started_at",
    "finished_at",
    "progress_done",
    "progress_total",
    "result",
    "errors",
)


@dataclass(frozen=True)
class Place:
    """Where a page of jobs ended, newest first."""

    created_at: datetime
    id: UUID


def _error(error: AttemptError) -> dict[str, object]:
    return {
        "attempt": error.attempt,
        "at": error.at.isoformat(),
        "reason": error.reason,
        "retryable": error.retryable,
        "trace_id": error.trace_id,
    }


def _read_error(stored: Mapping[str, Any]) -> AttemptError:
    return AttemptError(
        attempt=stored["attempt"],
        at=datetime.fromisoformat(stored["at"]),
        reason=stored["reason"],
        retryable=stored["retryable"],
        trace_id=stored["trace_id"],
    )


def _changing(job: Job) -> dict[str, object]:
    """The columns that change in a job's life."""
    return {
        "state": job.state,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "deadline_at": job.deadline_at,
        "retry_at": job.retry_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "progress_done": job.progress.done if job.progress else None,
        "progress_total": job.progress.total if job.progress else None,
        "result": dict(job.result) if job.result is not None else None,
        "errors": [_error(error) for error in job.errors],
    }


def _fixed(job: Job) -> dict[str, object]:
    """The columns that are written once."""
    return {
        "id": job.id,
        "type": job.type,
        "args": dict(job.args),
        "class": job.work_class,
        "due_at": job.due_at,
        "created_at": job.created_at,
        "schedule": job.schedule,
        "late": job.late,
        "traceparent": job.traceparent,
    }


def _read(row: Row[Any]) -> Job:
    values = row._mapping
    done = values["progress_done"]
    return Job(
        id=values["id"],
        type=values["type"],
        args=values["args"],
        work_class=WorkClass(values["class"]),
        state=JobState(values["state"]),
        attempt=values["attempt"],
        max_attempts=values["max_attempts"],
        due_at=values["due_at"],
        created_at=values["created_at"],
        deadline_at=values["deadline_at"],
        retry_at=values["retry_at"],
        started_at=values["started_at"],
        finished_at=values["finished_at"],
        progress=None if done is None else Progress(done, values["progress_total"]),
        result=values["result"],
        errors=tuple(_read_error(stored) for stored in values["errors"]),
        schedule=values["schedule"],
        late=values["late"],
        traceparent=values["traceparent"],
    )


async def add(connection: AsyncConnection, wanted: Sequence[Job]) -> set[UUID]:
    """Write jobs; answers the ids of those written. One whose schedule has a job under way is not."""
    if not wanted:
        return set()
    rows = [_fixed(job) | _changing(job) for job in wanted]
    written = await connection.execute(insert(jobs).on_conflict_do_nothing().returning(jobs.c.id), rows)
    return {row.id for row in written}


# Built once: every report of a worker passes here.
_SAVE = (
    update(jobs)
    .where(jobs.c.id == bindparam("which"))
    .values({name: bindparam(f"new_{name}", type_=jobs.c[name].type) for name in _CHANGING})
)
_LOCK = select(jobs).where(jobs.c.id.in_(bindparam("ids", expanding=True))).order_by(jobs.c.id).with_for_update()


async def save(connection: AsyncConnection, changed: Sequence[Job]) -> None:
    """Write what changed of jobs that the caller has locked."""
    if not changed:
        return
    rows = [{"which": job.id} | {f"new_{name}": value for name, value in _changing(job).items()} for job in changed]
    await connection.execute(_SAVE, rows)


async def lock(connection: AsyncConnection, ids: Collection[UUID]) -> list[Job]:
    """Those of the jobs that exist, locked, in the order of their ids."""
    if not ids:
        return []
    return [_read(row) for row in await connection.execute(_LOCK, {"ids": list(ids)})]


async def claim_due(connection: AsyncConnection, now: datetime, limit: int) -> list[Job]:
    """Jobs whose retry is due or whose deadline has passed, locked; those another replica has are passed over.

    Index jobs_due.
    """
    statement = (
        select(jobs)
        .where(text(UNDER_WAY), now >= _DUE)
        .order_by(_DUE, jobs.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_read(row) for row in await connection.execute(statement)]


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When the next retry is due or the next deadline passes. Index jobs_due."""
    earliest: datetime | None = await connection.scalar(select(func.min(_DUE)).where(text(UNDER_WAY)))
    return earliest


async def under_way(connection: AsyncConnection, schedule: str, args: Mapping[str, str]) -> Job | None:
    """The schedule's job that is queued, running or retrying. Index jobs_one_per_schedule."""
    statement = select(jobs).where(
        jobs.c.schedule == schedule,
        jobs.c.args == bindparam("wanted_args", dict(args), type_=JSONB),
        jobs.c.state.in_(ACTIVE),
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _read(row)


async def get(connection: AsyncConnection, job_id: UUID) -> Job | None:
    """One job."""
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).one_or_none()
    return None if row is None else _read(row)


def _newest_first(listed: Select[Any], after: Place | None, size: int) -> Select[Any]:
    if after is not None:
        listed = listed.where(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(after.created_at, after.id))
    return listed.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(size)


async def page(
    connection: AsyncConnection, state: JobState | None, type_: str, after: Place | None, size: int
) -> list[Job]:
    """Jobs of a state and type (None and empty: any), newest first. Indexes jobs_newest, jobs_by_state, _by_type."""
    listed = select(jobs)
    if state is not None:
        listed = listed.where(jobs.c.state == state)
    if type_:
        listed = listed.where(jobs.c.type == type_)
    return [_read(row) for row in await connection.execute(_newest_first(listed, after, size))]


async def dead_page(connection: AsyncConnection, type_: str, after: Place | None, size: int) -> list[Job]:
    """Dead jobs of a type (empty: any), newest first, at most 500 of a type. Index jobs_by_state."""
    rank = func.row_number().over(partition_by=jobs.c.type, order_by=(jobs.c.created_at.desc(), jobs.c.id.desc()))
    ranked = select(jobs.c.id, rank.label("rank")).where(jobs.c.state == JobState.DEAD).subquery()
    listed = select(jobs).join(ranked, ranked.c.id == jobs.c.id).where(ranked.c.rank <= _LISTED_DEAD)
    if type_:
        listed = listed.where(jobs.c.type == type_)
    return [_read(row) for row in await connection.execute(_newest_first(listed, after, size))]
