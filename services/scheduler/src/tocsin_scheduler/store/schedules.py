"""Statements on schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_scheduler.jobs import WorkClass
from tocsin_scheduler.schedules import CatchUp, Schedule
from tocsin_scheduler.store.tables import schedules


def read(row: Row[Any]) -> Schedule:
    """The schedule of a row."""
    values = row._mapping
    return Schedule(
        name=values["name"],
        cron=values["cron"],
        time_zone=values["time_zone"],
        type=values["type"],
        args=values["args"],
        work_class=WorkClass(values["class"]),
        enabled=values["enabled"],
        catch_up=CatchUp(values["catch_up"]),
        next_run_at=values["next_run_at"],
    )


async def add_missing(connection: AsyncConnection, wanted: Sequence[Schedule]) -> None:
    """Add those whose name is not there yet."""
    rows = [
        {
            "name": one.name,
            "cron": one.cron,
            "time_zone": one.time_zone,
            "type": one.type,
            "args": dict(one.args),
            "class": one.work_class,
            "enabled": one.enabled,
            "catch_up": one.catch_up,
            "next_run_at": one.next_run_at,
        }
        for one in sorted(wanted, key=lambda one: one.name)
    ]
    await connection.execute(insert(schedules).on_conflict_do_nothing(), rows)


async def claim_due(connection: AsyncConnection, now: datetime, limit: int) -> list[Schedule]:
    """Schedules that are due, locked until the transaction ends; those another replica has are passed over.

    Index schedules_due.
    """
    due = (
        select(schedules)
        .where(schedules.c.enabled, schedules.c.next_run_at <= now)
        .order_by(schedules.c.next_run_at, schedules.c.name)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [read(row) for row in await connection.execute(due)]


async def move(connection: AsyncConnection, next_times: Mapping[str, datetime]) -> None:
    """Set the next times of schedules that the caller has locked, by name."""
    statement = (
        update(schedules).where(schedules.c.name == bindparam("which")).values(next_run_at=bindparam("next_time"))
    )
    await connection.execute(
        statement, [{"which": name, "next_time": next_time} for name, next_time in next_times.items()]
    )


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When the next schedule is due. Index schedules_due."""
    earliest: datetime | None = await connection.scalar(
        select(func.min(schedules.c.next_run_at)).where(schedules.c.enabled)
    )
    return earliest


async def lock(connection: AsyncConnection, name: str) -> Schedule | None:
    """One schedule, locked; None where there is none of that name."""
    row = (await connection.execute(select(schedules).where(schedules.c.name == name).with_for_update())).one_or_none()
    return None if row is None else read(row)


async def save(connection: AsyncConnection, schedule: Schedule) -> None:
    """Write what can change of a schedule that the caller has locked."""
    await connection.execute(
        update(schedules)
        .where(schedules.c.name == schedule.name)
        .values(
            cron=schedule.cron,
            time_zone=schedule.time_zone,
            enabled=schedule.enabled,
            catch_up=schedule.catch_up,
            next_run_at=schedule.next_run_at,
        )
    )


async def class_of(connection: AsyncConnection, type_: str) -> WorkClass | None:
    """The lane in which schedules make jobs of a type; None where none does. The table is small."""
    lane = await connection.scalar(
        select(schedules.c["class"]).where(schedules.c.type == type_).order_by(schedules.c.name).limit(1)
    )
    return None if lane is None else WorkClass(lane)


async def page(connection: AsyncConnection, after: str | None, size: int) -> list[Schedule]:
    """Schedules by name, from the one after `after` on."""
    listed = select(schedules).order_by(schedules.c.name).limit(size)
    if after is not None:
        listed = listed.where(schedules.c.name > after)
    return [read(row) for row in await connection.execute(listed)]
