"""Handing jobs out: a job's row and its message are written in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_kit.messaging.publisher import Outgoing
from tocsin_kit.postgres.outbox import Outbox
from tocsin_scheduler.jobs import Job


@dataclass(frozen=True)
class Orders:
    """Writes the messages by which services learn of jobs. `encode` turns a job into the message's bytes."""

    outbox: Outbox
    encode: Callable[[Job], bytes]

    async def hand_out(self, connection: AsyncConnection, jobs: Sequence[Job], at: datetime) -> None:
        """Write a message per job in the caller's transaction; after its commit the caller calls `handed_out`."""
        await self.outbox.add(connection, [self._message(job) for job in jobs], at)

    def handed_out(self, jobs: Sequence[Job]) -> None:
        """The messages of these jobs are committed: wake who publishes them."""
        for job in jobs:
            self.outbox.wrote(job.work_class)

    def _message(self, job: Job) -> Outgoing:
        return Outgoing(
            work_class=job.work_class,
            subject=f"tocsin.jobs.{job.verb}.{job.work_class}",
            message_id=f"{job.id}:{job.attempt}",
            payload=self.encode(job),
            traceparent=job.traceparent,
        )
