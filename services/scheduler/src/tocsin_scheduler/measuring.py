"""What the scheduler counts about jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin_kit.clock import Clock
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics
from tocsin_scheduler.jobs import Job, JobState, WorkClass
from tocsin_scheduler.store import stats

#: How often gauges are refreshed (operations page, "Metrics").
REFRESH = timedelta(seconds=10)
STATS_WINDOW = timedelta(hours=1)


@dataclass(frozen=True)
class TypeStats:
    """How a type of job is doing; durations and rate are those of the last hour, None where nothing ended."""

    type: str
    counts: dict[JobState, int]
    oldest_queued_age: timedelta | None
    p50_duration: timedelta | None
    p95_duration: timedelta | None
    failure_rate: float


class JobMeter:
    """Counts jobs that ended and gauges those that wait."""

    def __init__(self, metrics: Metrics, engine: AsyncEngine, outbox: Outbox, clock: Clock) -> None:
        self._metrics, self._engine, self._outbox, self._clock = metrics, engine, outbox, clock

    def ended(self, jobs: Sequence[Job]) -> None:
        """Count jobs that have just ended, and how long their last attempt took."""
        for job in jobs:
            self._metrics.jobs_processed.labels(job.type, job.state).inc()
            if job.started_at is not None and job.finished_at is not None:
                took = max(timedelta(0), job.finished_at - job.started_at)
                self._metrics.job_duration.labels(job.type).observe(took.total_seconds())

    async def refresh(self) -> datetime | None:
        """Set the gauges. Answers None: gauges are no work that a simulation waits for."""
        now = self._clock.now()
        async with self._engine.connect() as connection:
            waiting = await stats.queued_by_class(connection)
            unpublished = await stats.outbox_rows(connection)
            oldest = await self._outbox.oldest(connection)
        for lane in WorkClass:
            self._metrics.queue_depth.labels(f"jobs.{lane}").set(waiting.get(lane, 0))
        self._metrics.queue_depth.labels("outbox.scheduler").set(unpublished)
        age = (now - oldest).total_seconds() if oldest is not None else 0.0
        self._metrics.outbox_oldest.labels("scheduler").set(max(0.0, age))
        return None


async def type_stats(engine: AsyncEngine, now: datetime) -> list[TypeStats]:
    """How every type that has jobs is doing, by name."""
    async with engine.connect() as connection:
        counts = await stats.counts(connection)
        recent = await stats.recent(connection, now - STATS_WINDOW)
    kinds = sorted({row.type for row in counts})
    oldest = {row.type: row.oldest for row in counts if row.state is JobState.QUEUED}
    return [
        TypeStats(
            type=kind,
            counts={row.state: row.count for row in counts if row.type == kind},
            oldest_queued_age=max(timedelta(0), now - oldest[kind]) if kind in oldest else None,
            p50_duration=recent[kind].p50 if kind in recent else None,
            p95_duration=recent[kind].p95 if kind in recent else None,
            failure_rate=recent[kind].failure_rate if kind in recent else 0.0,
        )
        for kind in kinds
    ]
