"""ScheduleService: what operators ask about schedules."""

from __future__ import annotations

from typing import Any

import grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.jobs.v1 import schedule_pb2, schedule_pb2_grpc
from tocsin_kit.rpc.errors import invalid_field
from tocsin_scheduler.changes import ScheduleChange, ScheduleDesk
from tocsin_scheduler.desk import Desk
from tocsin_scheduler.doors.once import once_of
from tocsin_scheduler.doors.paging import name_place, name_token, size_of
from tocsin_scheduler.doors.translate import catch_up_of, job_message, schedule_message
from tocsin_scheduler.schedules import CatchUp
from tocsin_scheduler.store import schedules as schedule_rows

Context = grpc.aio.ServicerContext[Any, Any]
_CHANGEABLE = frozenset({"cron", "time_zone", "enabled", "catch_up"})
_OUTPUT_ONLY = frozenset(schedule_pb2.Schedule.DESCRIPTOR.fields_by_name) - _CHANGEABLE


class ScheduleServicer(schedule_pb2_grpc.ScheduleServiceServicer):
    """Serves ScheduleService."""

    def __init__(self, engine: AsyncEngine, schedules: ScheduleDesk, jobs: Desk) -> None:
        self._engine, self._schedules, self._jobs = engine, schedules, jobs

    async def ListSchedules(
        self, request: schedule_pb2.ListSchedulesRequest, context: Context
    ) -> schedule_pb2.ListSchedulesResponse:
        """Schedules by name."""
        size, after = size_of(request.page_size), name_place(request.page_token)
        async with self._engine.connect() as connection:
            found = await schedule_rows.page(connection, after, size + 1)
        shown = found[:size]
        return schedule_pb2.ListSchedulesResponse(
            schedules=[schedule_message(schedule) for schedule in shown],
            next_page_token=name_token(shown[-1].name) if len(found) > size else "",
        )

    async def UpdateSchedule(
        self, request: schedule_pb2.UpdateScheduleRequest, context: Context
    ) -> schedule_pb2.UpdateScheduleResponse:
        """Change the fields named."""
        schedule = await self._schedules.change(request.name, _change(request))
        return schedule_pb2.UpdateScheduleResponse(schedule=schedule_message(schedule))

    async def PauseSchedule(
        self, request: schedule_pb2.PauseScheduleRequest, context: Context
    ) -> schedule_pb2.PauseScheduleResponse:
        """Stop a schedule from making jobs."""
        schedule = await self._schedules.change(request.name, ScheduleChange(enabled=False))
        return schedule_pb2.PauseScheduleResponse(schedule=schedule_message(schedule))

    async def ResumeSchedule(
        self, request: schedule_pb2.ResumeScheduleRequest, context: Context
    ) -> schedule_pb2.ResumeScheduleResponse:
        """Let a paused schedule go on."""
        schedule = await self._schedules.change(request.name, ScheduleChange(enabled=True))
        return schedule_pb2.ResumeScheduleResponse(schedule=schedule_message(schedule))

    async def RunSchedule(
        self, request: schedule_pb2.RunScheduleRequest, context: Context
    ) -> schedule_pb2.RunScheduleResponse:
        """Make a schedule's job now."""
        once = once_of("RunSchedule", request.request_id, request)
        job = await self._jobs.run(request.name, once)
        return schedule_pb2.RunScheduleResponse(job=job_message(job))


def _change(request: schedule_pb2.UpdateScheduleRequest) -> ScheduleChange:
    """What is to change: of the fields the mask names those that can, all of these where it names none."""
    for path in request.update_mask.paths:
        if path not in _CHANGEABLE and path.partition(".")[0] not in _OUTPUT_ONLY:
            raise invalid_field(f"schedule.{path}", "is not a field of a schedule")
    paths = _CHANGEABLE.intersection(request.update_mask.paths or _CHANGEABLE)
    wanted = request.schedule
    enabled = wanted.enabled if wanted.HasField("enabled") else True
    return ScheduleChange(
        cron=wanted.cron if "cron" in paths else None,
        time_zone=(wanted.time_zone or "UTC") if "time_zone" in paths else None,
        enabled=enabled if "enabled" in paths else None,
        catch_up=(catch_up_of(wanted.catch_up) or CatchUp.LATEST) if "catch_up" in paths else None,
    )
