"""What operators change of schedules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_kit.clock import Clock
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.rpc.errors import invalid_field, not_found
from tocsin_scheduler.cron import CronRefused, check_cron, check_zone, next_after
from tocsin_scheduler.schedules import CatchUp, Schedule
from tocsin_scheduler.store import schedules as schedule_rows


@dataclass(frozen=True)
class ScheduleChange:
    """New values of a schedule; None leaves one as it is."""

    cron: str | None = None
    time_zone: str | None = None
    enabled: bool | None = None
    catch_up: CatchUp | None = None


def changed(before: Schedule, wanted: ScheduleChange, now: datetime) -> Schedule:
    """The schedule with the new values. A new cron or zone, and going on after a pause, count from now."""
    after = replace(
        before,
        cron=before.cron if wanted.cron is None else wanted.cron,
        time_zone=before.time_zone if wanted.time_zone is None else wanted.time_zone,
        enabled=before.enabled if wanted.enabled is None else wanted.enabled,
        catch_up=wanted.catch_up or before.catch_up,
    )
    goes_on = after.enabled and not before.enabled
    if goes_on or (after.cron, after.time_zone) != (before.cron, before.time_zone):
        return replace(after, next_run_at=next_after(after.cron, after.time_zone, now))
    return after


class ScheduleDesk:
    """Changes schedules. Rings `ticker`, whose next time changes with them."""

    def __init__(self, engine: AsyncEngine, *, clock: Clock, ticker: Bell) -> None:
        self._engine, self._clock, self._ticker = engine, clock, ticker

    async def change(self, name: str, wanted: ScheduleChange) -> Schedule:
        """The schedule after the change. Raises not_found, and invalid_field for an unreadable cron or zone."""
        _check(wanted)

        async def apply(connection: AsyncConnection) -> Schedule:
            before = await schedule_rows.lock(connection, name)
            if before is None:
                raise not_found("schedule")
            after = changed(before, wanted, self._clock.now())
            await schedule_rows.save(connection, after)
            return after

        schedule = await in_transaction(self._engine, apply)
        self._ticker.set()
        return schedule


def _check(wanted: ScheduleChange) -> None:
    for field, value, check in (
        ("schedule.cron", wanted.cron, check_cron),
        ("schedule.time_zone", wanted.time_zone, check_zone),
    ):
        try:
            if value is not None:
                check(value)
        except CronRefused as refusal:
            raise invalid_field(field, str(refusal)) from refusal
