"""Handing jobs out: a job's row and its message are written in one transaction, and taken back in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_kit.messaging.publisher import Outgoing
from tocsin_kit.postgres.outbox import Outbox
from tocsin_scheduler.jobs import Job
from tocsin_scheduler.store import unpublished


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

    async def take_back(self, connection: AsyncConnection, job: Job) -> bool:
        """Take the message of a queued job out of the outbox; False where the broker may have it already.

        After the commit the caller calls `taken_back`.
        """
        return await unpublished.withdraw(connection, job.work_class, _message_id(job))

    def taken_back(self) -> None:
        """A message is taken back for good: nobody waits for it to be published."""
        self.outbox.activity.ended(f"outbox.{self.outbox.service}")

    async def not_published(self, connection: AsyncConnection, jobs: Sequence[Job]) -> Sequence[Job]:
        """Those of the queued jobs whose message still waits in the outbox: no worker can know of them."""
        if not jobs:
            return []
        ids = [_message_id(job) for job in jobs]
        waiting = await unpublished.among(connection, {job.work_class for job in jobs}, ids)
        return [job for job, id_ in zip(jobs, ids, strict=True) if id_ in waiting]

    def _message(self, job: Job) -> Outgoing:
        return Outgoing(
            work_class=job.work_class,
            subject=f"tocsin.jobs.{job.verb}.{job.work_class}",
            message_id=_message_id(job),
            payload=self.encode(job),
            traceparent=job.traceparent,
        )


def _message_id(job: Job) -> str:
    return f"{job.id}:{job.attempt}"
