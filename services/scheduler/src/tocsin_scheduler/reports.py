"""Taking in what workers say of jobs: each message once, in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from random import Random
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_kit.clock import Clock
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.engine import in_transaction
from tocsin_scheduler.jobs import Job, JobState, Progress, begun, failed, has_ended, progressed, succeeded
from tocsin_scheduler.measuring import JobMeter
from tocsin_scheduler.store import inbox
from tocsin_scheduler.store import jobs as job_rows


@dataclass(frozen=True)
class Started:
    """Work began."""


@dataclass(frozen=True)
class Succeeded:
    """Work is done."""

    counts: Mapping[str, int]


@dataclass(frozen=True)
class Failed:
    """Work failed; `retryable` says whether another attempt can help."""

    retryable: bool
    reason: str


@dataclass(frozen=True)
class Report:
    """What a worker said of an attempt; `number` rises within it."""

    message_id: str
    job_id: UUID
    attempt: int
    number: int
    at: datetime
    event: Started | Progress | Succeeded | Failed


def after(job: Job, report: Report, now: datetime, random: Random) -> Job:
    """The job after a report. What is said of an attempt that is over changes nothing, unless it did the work."""
    match report.event:
        case Started():
            return begun(job, report.attempt, report.at, now)
        case Progress() as progress:
            return progressed(job, report.attempt, progress, report.at, now)
        case Succeeded(counts):
            return succeeded(job, counts, report.at)
        case Failed(retryable, reason):
            return failed(job, report.attempt, reason, report.at, retryable=retryable, random=random)


class Bookkeeper:
    """Keeps the jobs' record by what workers say. Rings `overseer` and `ticker` when they have work sooner by it, and
    `overseer` when it may have passed over what was locked here."""

    def __init__(
        self, engine: AsyncEngine, meter: JobMeter, *, clock: Clock, random: Random, overseer: Bell, ticker: Bell
    ) -> None:
        self._engine, self._meter = engine, meter
        self._clock, self._random, self._overseer, self._ticker = clock, random, overseer, ticker

    async def take_in(self, reports: Sequence[Report]) -> None:
        """Apply reports; those taken in before, and those of jobs that are forgotten, change nothing."""
        now = self._clock.now()
        before, changed = await in_transaction(self._engine, lambda connection: self._apply(connection, reports, now))
        ended = [job for job in changed if has_ended(job)]
        counted = {job.id for job in before if has_ended(job)}  # as dead, and done after all
        self._meter.ended([job for job in ended if job.id not in counted])
        if any(job.state is JobState.RETRYING for job in changed) or any(job.is_due(now) for job in before):
            # Of what changed only a retry can be due before what the overseer knows: a deadline moves later, an ended
            # job has none.
            self._overseer.set()
        if any(job.schedule for job in ended):
            self._ticker.set()

    async def _apply(
        self, connection: AsyncConnection, reports: Sequence[Report], now: datetime
    ) -> tuple[list[Job], list[Job]]:
        """The jobs spoken of as they were, and those that changed as they are."""
        new = await inbox.remember(connection, [report.message_id for report in reports], now)
        news = sorted(
            {report.message_id: report for report in reports if report.message_id in new}.values(),
            key=lambda report: (report.attempt, report.number),
        )
        before = await job_rows.lock(connection, {report.job_id for report in news})
        changed = []
        for job in before:
            own = (report for report in news if report.job_id == job.id)
            latest = reduce(lambda known, report: after(known, report, now, self._random), own, job)
            if latest is not job:
                changed.append(latest)
        await job_rows.save(connection, changed)
        return before, changed
