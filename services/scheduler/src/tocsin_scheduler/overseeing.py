"""Watching jobs: queue those whose retry is due, take for lost those whose worker is silent.

A job whose message still waits in our own outbox (the broker is away) has no worker yet: it is given more time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from random import Random

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_kit.clock import Clock
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.engine import in_transaction
from tocsin_scheduler.jobs import LOST, Job, JobState, failed, has_ended, queued_again, still_here
from tocsin_scheduler.measuring import JobMeter
from tocsin_scheduler.orders import Orders
from tocsin_scheduler.store import jobs as job_rows

_BATCH = 200


class Overseer:
    """Looks after jobs under way, on any number of replicas. `ticker` is rung when a scheduled job has ended."""

    def __init__(
        self, engine: AsyncEngine, orders: Orders, meter: JobMeter, *, clock: Clock, random: Random, ticker: Bell
    ) -> None:
        self._engine, self._orders, self._meter = engine, orders, meter
        self._clock, self._random, self._ticker = clock, random, ticker

    async def round(self) -> datetime | None:
        """See to every job that is due; answers when the next one is. It is rung often and seldom has work: so it looks
        before it claims.

        None where somebody else has those that are due: another replica, for which the loop looks again soon, or this
        process, which rings when it is done with them.
        """
        while (due := await self._next_due()) is not None and due <= self._clock.now():
            if not await self._batch():
                return None
        return due

    async def _next_due(self) -> datetime | None:
        async with self._engine.connect() as connection:
            return await job_rows.next_due(connection)

    async def _batch(self) -> Sequence[Job]:
        now = self._clock.now()
        jobs, again = await in_transaction(self._engine, lambda connection: self._see_to(connection, now))
        self._orders.handed_out(again)
        ended = [job for job in jobs if has_ended(job)]
        self._meter.ended(ended)
        if any(job.schedule for job in ended):
            self._ticker.set()
        return jobs

    async def _see_to(self, connection: AsyncConnection, now: datetime) -> tuple[Sequence[Job], Sequence[Job]]:
        """All that were due, and those of them that are handed out again."""
        due = await job_rows.claim_due(connection, now, _BATCH)
        queued = [job for job in due if job.state is JobState.QUEUED]
        here = [still_here(job, now) for job in await self._orders.not_published(connection, queued)]
        again = [queued_again(job, now) for job in due if job.state is JobState.RETRYING]
        seen_to = {job.id for job in (*here, *again)}
        lost = [self._lost(job, now) for job in due if job.id not in seen_to]
        jobs = [*here, *again, *lost]
        await job_rows.save(connection, jobs)
        await self._orders.hand_out(connection, again, now)
        return jobs, again

    def _lost(self, job: Job, now: datetime) -> Job:
        return failed(job, job.attempt, LOST, now, retryable=True, random=self._random)
