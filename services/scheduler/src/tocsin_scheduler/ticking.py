"""Turning due times into runs and jobs, without a leader.

Every replica claims due schedules with SKIP LOCKED and, in the same transaction, writes the runs, the jobs, their
messages and the schedules' next times: a run is created once or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice, repeat, takewhile

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Tracer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.telemetry import names
from tocsin_kit.telemetry.propagation import traceparent_of
from tocsin_scheduler.cron import latest_between, next_after, times_after
from tocsin_scheduler.jobs import SILENCE, Job, JobState, attempts_of
from tocsin_scheduler.orders import Orders
from tocsin_scheduler.schedules import SHIPPED, CatchUp, Schedule
from tocsin_scheduler.store import jobs as job_rows
from tocsin_scheduler.store import runs as run_rows
from tocsin_scheduler.store import schedules as schedule_rows

#: A time is missed, and its run late, when it is older than this at the tick.
LATE_AFTER = timedelta(minutes=1)
_BATCH = 500
#: How many missed times of one `all` schedule a tick takes in; the next tick goes on.
_MISSED_AT_ONCE = 500


class RunOutcome(StrEnum):
    """What became of a time of a schedule."""

    QUEUED = "queued"
    SKIPPED_OVERLAP = "skipped_overlap"
    WAITING = "waiting"
    MISSED = "missed"


@dataclass(frozen=True)
class Run:
    """A time of a schedule and what is to become of it."""

    schedule: Schedule
    run_at: datetime
    outcome: RunOutcome
    late: bool


@dataclass(frozen=True)
class Tick:
    """What a due schedule turns into."""

    runs: tuple[Run, ...]
    next_run_at: datetime


def plan(schedule: Schedule, now: datetime) -> Tick:
    """The runs of a schedule that is due, and its next time.

    `latest` runs once for all times up to now, `none` only when the last of them is not missed; of `all` every missed
    time waits for its turn.
    """
    if schedule.catch_up is CatchUp.ALL:
        return _plan_all(schedule, now)
    run_at, next_run_at = _latest_and_next(schedule, now)
    late = now - run_at > LATE_AFTER
    missed = late and schedule.catch_up is CatchUp.NONE
    outcome = RunOutcome.MISSED if missed else RunOutcome.QUEUED
    return Tick((Run(schedule, run_at, outcome, late),), next_run_at)


def _latest_and_next(schedule: Schedule, now: datetime) -> tuple[datetime, datetime]:
    """The last time not after now, and the first after it; read at once where none was missed."""
    following = next_after(schedule.cron, schedule.time_zone, schedule.next_run_at)
    if following > now:
        return schedule.next_run_at, following
    run_at = latest_between(schedule.cron, schedule.time_zone, following, now)
    return run_at, next_after(schedule.cron, schedule.time_zone, now)


def _plan_all(schedule: Schedule, now: datetime) -> Tick:
    later = takewhile(lambda time: time <= now, times_after(schedule.cron, schedule.time_zone, schedule.next_run_at))
    times = [schedule.next_run_at, *islice(later, _MISSED_AT_ONCE - 1)]
    # A time that is not missed still stands behind those that are, and only one of several can have its job at once.
    first = RunOutcome.WAITING if now - times[0] > LATE_AFTER else RunOutcome.QUEUED
    outcomes = (first, *repeat(RunOutcome.WAITING, len(times) - 1))
    runs = tuple(
        Run(schedule, time, outcome, now - time > LATE_AFTER) for time, outcome in zip(times, outcomes, strict=True)
    )
    return Tick(runs, next_after(schedule.cron, schedule.time_zone, times[-1]))


class Ticker:
    """Makes jobs of schedules. `attempts` is the setting JOB_MAX_ATTEMPTS; `overseer` is rung when jobs are made."""

    def __init__(
        self,
        engine: AsyncEngine,
        orders: Orders,
        *,
        clock: Clock,
        ids: Ids,
        tracer: Tracer,
        attempts: int | None,
        overseer: Bell,
    ) -> None:
        self._engine, self._orders, self._clock, self._ids = engine, orders, clock, ids
        self._tracer, self._attempts, self._overseer = tracer, attempts, overseer
        self._shipped = False

    async def round(self) -> datetime | None:
        """Turn everything due into runs and jobs; answers the next time a schedule is due.

        None where somebody else has those that are due: another replica, for which the loop looks again soon, or this
        process, which rings when it is done with them.
        """
        if not self._shipped:
            await self.ship()
            self._shipped = True
        # Rung at the end of each scheduled job, and seldom due: so it looks before it claims.
        while (due := await self._next_due()) is not None and due <= self._clock.now():
            if not await self._tick():
                due = None
                break
        while await self._are_turns_waiting() and await self._promote() == _BATCH:
            pass
        return due

    async def _are_turns_waiting(self) -> bool:
        async with self._engine.connect() as connection:
            return await run_rows.any_waiting(connection)

    async def _next_due(self) -> datetime | None:
        async with self._engine.connect() as connection:
            return await schedule_rows.next_due(connection)

    async def ship(self) -> None:
        """Put the shipped schedules in place that are not there yet; what operators changed stays."""
        now = self._clock.now()
        shipped = [
            Schedule(
                name=one.name,
                cron=one.cron,
                time_zone=one.time_zone,
                type=one.type,
                args=one.args,
                work_class=one.work_class,
                enabled=True,
                catch_up=one.catch_up,
                next_run_at=next_after(one.cron, one.time_zone, now),
            )
            for one in SHIPPED
        ]
        await in_transaction(self._engine, lambda connection: schedule_rows.add_missing(connection, shipped))

    async def _tick(self) -> int:
        """One batch of due schedules; answers how many there were."""
        now = self._clock.now()
        due, jobs = await in_transaction(self._engine, lambda connection: self._tick_in(connection, now))
        self._tell(jobs)
        return due

    async def _tick_in(self, connection: AsyncConnection, now: datetime) -> tuple[int, list[Job]]:
        schedules = await schedule_rows.claim_due(connection, now, _BATCH)
        if not schedules:
            return 0, []
        ticks = [plan(schedule, now) for schedule in schedules]
        planned = [(run, self._job(run, now)) for tick in ticks for run in tick.runs]
        rows = [
            run_rows.RunRow(
                schedule=run.schedule.name,
                run_at=run.run_at,
                outcome=run.outcome,
                late=run.late,
                job_id=job.id if run.outcome is RunOutcome.QUEUED else None,
            )
            for run, job in planned
        ]
        new = await run_rows.add(connection, rows, now)
        wanted = [
            job for run, job in planned if run.outcome is RunOutcome.QUEUED and (run.schedule.name, run.run_at) in new
        ]
        made = await self._make(connection, wanted, now, otherwise=RunOutcome.SKIPPED_OVERLAP)
        moved = {schedule.name: tick.next_run_at for schedule, tick in zip(schedules, ticks, strict=True)}
        await schedule_rows.move(connection, moved)
        return len(schedules), made

    async def _promote(self) -> int:
        """One batch of waiting runs whose turn has come; answers how many there were."""
        now = self._clock.now()
        turns, jobs = await in_transaction(self._engine, lambda connection: self._promote_in(connection, now))
        self._tell(jobs)
        # A turn that another replica took first makes no job; looking again at once would find it again.
        return turns if jobs else 0

    async def _promote_in(self, connection: AsyncConnection, now: datetime) -> tuple[int, list[Job]]:
        turns = await run_rows.claim_turns(connection, _BATCH)
        jobs = [self._job(Run(schedule, run_at, RunOutcome.QUEUED, late=True), now) for schedule, run_at in turns]
        mine = await run_rows.take_turns(connection, {job.id: (job.schedule or "", job.due_at) for job in jobs})
        wanted = [job for job in jobs if job.id in mine]
        return len(turns), await self._make(connection, wanted, now, otherwise=RunOutcome.WAITING)

    async def _make(
        self, connection: AsyncConnection, wanted: Sequence[Job], now: datetime, *, otherwise: RunOutcome
    ) -> list[Job]:
        """Insert jobs and their messages; a run whose schedule has a job under way gets the outcome `otherwise`."""
        created = await job_rows.add(connection, wanted)
        made = [job for job in wanted if job.id in created]
        await self._orders.hand_out(connection, made, now)
        await run_rows.not_made(connection, [job.id for job in wanted if job.id not in created], otherwise)
        return made

    def _tell(self, jobs: Sequence[Job]) -> None:
        self._orders.handed_out(jobs)
        if jobs:
            self._overseer.set()

    def _job(self, run: Run, now: datetime) -> Job:
        schedule = run.schedule
        return Job(
            id=self._ids.uuid7(),
            type=schedule.type,
            args=schedule.args,
            work_class=schedule.work_class,
            state=JobState.QUEUED,
            attempt=1,
            max_attempts=attempts_of(schedule.work_class, self._attempts),
            due_at=run.run_at,
            created_at=now,
            deadline_at=now + SILENCE[schedule.work_class],
            schedule=schedule.name,
            late=run.late,
            traceparent=self._new_trace(schedule) if run.outcome is RunOutcome.QUEUED else None,
        )

    def _new_trace(self, schedule: Schedule) -> str | None:
        """A scheduled run is its own trace."""
        attributes = {names.JOB_TYPE: schedule.type}
        with self._tracer.start_as_current_span(
            f"schedule {schedule.name}", context=Context(), kind=SpanKind.PRODUCER, attributes=attributes
        ):
            return traceparent_of()
