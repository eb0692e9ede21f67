"""Forgetting: the job `scheduler.retention`, in small batches (data model, "How long things live")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_kit.clock import Clock
from tocsin_kit.messaging.jobs import JobOrder, Progress
from tocsin_kit.postgres.engine import in_transaction
from tocsin_scheduler.store import forgetting

JOB_TYPE = "scheduler.retention"
#: A worker's word may come again for as long as a stream keeps it; two days is longer than any outage is left alone.
_KEEP_INBOX = timedelta(days=2)
_KEEP_REQUESTS = timedelta(hours=24)

Forget = Callable[[AsyncConnection, datetime], Awaitable[int]]


@dataclass(frozen=True)
class Retention:
    """Forgets ended jobs (but the last 100 of a type), dead ones later, runs, the inbox and request ids."""

    engine: AsyncEngine
    clock: Clock
    keep_finished: timedelta
    keep_dead: timedelta

    async def __call__(self, _order: JobOrder, progress: Progress) -> dict[str, int]:
        """Forget all that is old enough; answers how many rows of each kind."""
        now = self.clock.now()
        steps: tuple[tuple[str, Forget, datetime], ...] = (
            ("jobs", forgetting.finished_jobs, now - self.keep_finished),
            ("dead_jobs", forgetting.dead_jobs, now - self.keep_dead),
            ("runs", forgetting.runs, now - self.keep_finished),
            ("inbox", forgetting.inbox, now - _KEEP_INBOX),
            ("requests", forgetting.requests, now - _KEEP_REQUESTS),
        )
        forgotten: dict[str, int] = {}
        for done, (name, forget, before) in enumerate(steps, 1):
            forgotten[name] = await self._in_batches(forget, before)
            await progress(done, len(steps))
        return forgotten

    async def _in_batches(self, forget: Forget, before: datetime) -> int:
        total = 0
        while gone := await in_transaction(self.engine, lambda connection: forget(connection, before)):
            total += gone
        return total
