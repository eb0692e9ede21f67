"""JobService: what operators ask about jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.jobs.v1 import job_pb2, job_pb2_grpc
from tocsin_kit.clock import Clock
from tocsin_kit.rpc.errors import not_found
from tocsin_scheduler.desk import Desk
from tocsin_scheduler.doors.once import once_of
from tocsin_scheduler.doors.paging import job_place, job_token, size_of
from tocsin_scheduler.doors.translate import job_message, state_of, stats_message
from tocsin_scheduler.jobs import Job
from tocsin_scheduler.measuring import type_stats
from tocsin_scheduler.store import jobs as job_rows

Context = grpc.aio.ServicerContext[Any, Any]


class JobServicer(job_pb2_grpc.JobServiceServicer):
    """Serves JobService."""

    def __init__(self, engine: AsyncEngine, desk: Desk, clock: Clock) -> None:
        self._engine, self._desk, self._clock = engine, desk, clock

    async def GetJobStats(self, request: job_pb2.GetJobStatsRequest, context: Context) -> job_pb2.GetJobStatsResponse:
        """How jobs are doing, by type."""
        found = await type_stats(self._engine, self._clock.now())
        return job_pb2.GetJobStatsResponse(types=[stats_message(stats) for stats in found])

    async def ListJobs(self, request: job_pb2.ListJobsRequest, context: Context) -> job_pb2.ListJobsResponse:
        """Jobs, newest first."""
        size, place = size_of(request.page_size), job_place(request.page_token)
        async with self._engine.connect() as connection:
            found = await job_rows.page(connection, state_of(request.state), request.type, place, size + 1)
        shown, token = _page(found, size)
        return job_pb2.ListJobsResponse(jobs=shown, next_page_token=token)

    async def ListFailedJobs(
        self, request: job_pb2.ListFailedJobsRequest, context: Context
    ) -> job_pb2.ListFailedJobsResponse:
        """Dead jobs, newest first."""
        size, place = size_of(request.page_size), job_place(request.page_token)
        async with self._engine.connect() as connection:
            found = await job_rows.dead_page(connection, request.type, place, size + 1)
        shown, token = _page(found, size)
        return job_pb2.ListFailedJobsResponse(jobs=shown, next_page_token=token)

    async def GetJob(self, request: job_pb2.GetJobRequest, context: Context) -> job_pb2.GetJobResponse:
        """One job."""
        async with self._engine.connect() as connection:
            job = await job_rows.get(connection, UUID(request.id))
        if job is None:
            raise not_found("job")
        return job_pb2.GetJobResponse(job=job_message(job))

    async def TriggerJob(self, request: job_pb2.TriggerJobRequest, context: Context) -> job_pb2.TriggerJobResponse:
        """Queue a job now."""
        once = once_of("TriggerJob", request.request_id, request)
        job = await self._desk.trigger(request.type, request.user_id, request.partner_id, once)
        return job_pb2.TriggerJobResponse(job=job_message(job))

    async def RetryJob(self, request: job_pb2.RetryJobRequest, context: Context) -> job_pb2.RetryJobResponse:
        """Queue a dead job again."""
        return job_pb2.RetryJobResponse(job=job_message(await self._desk.retry(UUID(request.id))))

    async def CancelJob(self, request: job_pb2.CancelJobRequest, context: Context) -> job_pb2.CancelJobResponse:
        """Cancel a job that has not begun."""
        return job_pb2.CancelJobResponse(job=job_message(await self._desk.cancel(UUID(request.id))))


def _page(found: Sequence[Job], size: int) -> tuple[list[job_pb2.Job], str]:
    """The page's jobs and the token of the next, given one job more than the page holds."""
    shown = found[:size]
    last = job_rows.Place(shown[-1].created_at, shown[-1].id) if len(found) > size else None
    return [job_message(job) for job in shown], job_token(last) if last else ""
