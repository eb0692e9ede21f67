"""Schedules become runs and jobs once, over a real database."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError

from tocsin_devstack.fixtures import NOON
from tocsin_scheduler.changes import ScheduleChange
from tocsin_scheduler.jobs import JobState
from tocsin_scheduler.schedules import SHIPPED, CatchUp
from tocsin_scheduler.store import schedules as schedule_rows
from tocsin_scheduler.store import tables

from .bench import Bench
from .conftest import MakeBench

FIVE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)


class Killed(BaseException):
    """The process ended here."""


async def test_shipped_schedules_are_there_from_the_first_start_and_keep_what_operators_changed(
    make_bench: MakeBench,
) -> None:
    first = await make_bench()
    due = await first.ticker.round()
    assert due == NOON + FIVE
    await first.schedule_desk.change("evaluate-periodic", ScheduleChange(cron="0 * * * *"))
    await (await make_bench()).ticker.round()
    async with first.engine.connect() as connection:
        found = {one.name: one.cron for one in await schedule_rows.page(connection, None, 100)}
    assert found == {one.name: one.cron for one in SHIPPED} | {"evaluate-periodic": "0 * * * *"}
    assert await first.jobs() == []


async def test_a_due_time_becomes_one_run_one_job_and_one_message(bench: Bench) -> None:
    await bench.only("sweep")
    assert await bench.ticker.round() == NOON + FIVE
    assert await bench.ticker.round() == NOON + FIVE
    assert await bench.runs() == [("sweep", NOON, "queued", False)]
    (job,) = await bench.jobs()
    assert (job.due_at, job.schedule, job.attempt, job.max_attempts) == (NOON, "sweep", 1, 2)
    assert job.trace_id
    assert await bench.messages() == [f"{job.id}:1"]


async def test_a_tick_that_finds_the_job_before_under_way_records_the_overlap(bench: Bench) -> None:
    await bench.only("sweep")
    await bench.ticker.round()
    await bench.tick_after(FIVE)
    await bench.end_all()
    await bench.tick_after(FIVE)
    assert [(at - NOON, outcome) for _, at, outcome, _ in await bench.runs()] == [
        (timedelta(0), "queued"),
        (FIVE, "skipped_overlap"),
        (2 * FIVE, "queued"),
    ]
    assert len(await bench.jobs()) == 2


async def test_two_replicas_under_load_create_each_run_once(make_bench: MakeBench) -> None:
    replicas = [await make_bench(), await make_bench(), await make_bench()]
    names = [f"s{number:04}" for number in range(1500)]
    await replicas[0].only(*names)
    for replica in replicas:
        replica.ticker._shipped = True
    await asyncio.gather(*(replica.ticker.round() for replica in replicas))
    assert [(name, at, outcome) for name, at, outcome, _ in await replicas[0].runs()] == [
        (name, NOON, "queued") for name in names
    ]
    assert sorted(job.schedule or "" for job in await replicas[0].jobs()) == names
    assert len(set(await replicas[0].messages())) == len(names)


async def test_schedules_that_another_replica_has_are_left_to_it(make_bench: MakeBench) -> None:
    one, other = await make_bench(), await make_bench()
    await one.only("sweep")
    async with other.engine.begin() as held:
        assert await schedule_rows.claim_due(held, NOON, 10)
        assert await one.ticker.round() is None
    assert await one.ticker.round() == NOON + FIVE
    assert len(await one.jobs()) == 1


@pytest.mark.parametrize("statement", range(6))
async def test_one_killed_between_statements_loses_and_doubles_nothing(make_bench: MakeBench, statement: int) -> None:
    """Killed before its n-th statement, or before the commit, the tick leaves nothing; the next replica does it all."""
    doomed, heir = await make_bench(), await make_bench()
    await doomed.only("sweep", "audit")
    heir.ticker._shipped = True
    seen = 0

    def kill(*_: object) -> None:
        nonlocal seen
        if seen == statement:
            raise Killed
        seen += 1

    event.listen(doomed.engine.sync_engine, "before_cursor_execute", kill)
    event.listen(doomed.engine.sync_engine, "commit", kill)
    with pytest.raises(Killed):
        await doomed.ticker.round()
    await heir.ticker.round()
    assert [(name, outcome) for name, _, outcome, _ in await heir.runs()] == [("audit", "queued"), ("sweep", "queued")]
    assert len(await heir.jobs()) == len(await heir.messages()) == 2


async def test_latest_runs_once_for_all_missed_times_and_is_marked_late(bench: Bench) -> None:
    await bench.only("sweep")
    await bench.tick_after(timedelta(hours=3, minutes=2))
    assert await bench.runs() == [("sweep", NOON + timedelta(hours=3), "queued", True)]
    assert [job.late for job in await bench.jobs()] == [True]


async def test_none_skips_missed_times_and_runs_the_next(bench: Bench) -> None:
    await bench.only("sweep", catch_up=CatchUp.NONE)
    await bench.tick_after(timedelta(hours=3, minutes=2))
    assert await bench.jobs() == []
    await bench.tick_after(timedelta(minutes=3))
    assert [(at - NOON, outcome) for _, at, outcome, _ in await bench.runs()] == [
        (timedelta(hours=3), "missed"),
        (timedelta(hours=3, minutes=5), "queued"),
    ]


async def test_of_an_all_schedule_every_missed_time_gets_a_job_when_the_one_before_ends(bench: Bench) -> None:
    await bench.only("sweep", catch_up=CatchUp.ALL)
    await bench.tick_after(timedelta(minutes=12))
    for done in (1, 2, 3):
        jobs = await bench.jobs()
        assert [job.state for job in jobs].count(JobState.QUEUED) == 1
        assert len(jobs) == done
        await bench.end_all()
        await bench.ticker.round()
    assert sorted(job.due_at - NOON for job in await bench.jobs()) == [timedelta(0), FIVE, 2 * FIVE]
    assert {outcome for _, _, outcome, _ in await bench.runs()} == {"queued"}


async def test_a_minute_late_an_all_schedule_of_every_minute_loses_no_time(bench: Bench) -> None:
    await bench.only("sweep", catch_up=CatchUp.ALL)
    await bench.schedule_desk.change("sweep", ScheduleChange(cron="* * * * *"))
    await bench.tick_after(timedelta(minutes=2))
    await bench.end_all()
    await bench.ticker.round()
    assert sorted(job.due_at - NOON for job in await bench.jobs()) == [timedelta(minutes=1), timedelta(minutes=2)]
    assert {outcome for _, _, outcome, _ in await bench.runs()} == {"queued"}


async def test_a_clock_set_back_creates_nothing_twice(bench: Bench) -> None:
    await bench.only("sweep")
    await bench.tick_after(FIVE)
    await bench.end_all()
    await bench.tick_after(-FIVE)
    async with bench.engine.begin() as connection:
        # even when the schedule is taken back with it
        await connection.execute(text("UPDATE schedules SET next_run_at = :noon"), {"noon": NOON + FIVE})
    await bench.tick_after(FIVE)
    assert [at - NOON for _, at, _, _ in await bench.runs()] == [FIVE]
    assert len(await bench.jobs()) == 1


async def test_a_paused_schedule_makes_nothing_and_goes_on_from_its_next_time(bench: Bench) -> None:
    await bench.only("sweep")
    await bench.schedule_desk.change("sweep", ScheduleChange(enabled=False))
    assert await bench.tick_after(timedelta(hours=1)) is None
    await bench.schedule_desk.change("sweep", ScheduleChange(enabled=True))
    assert await bench.tick_after(SECOND) == NOON + timedelta(hours=1) + FIVE
    assert await bench.runs() == []


async def test_the_database_itself_refuses_a_second_job_under_way(bench: Bench) -> None:
    await bench.only("sweep")
    await bench.ticker.round()
    async with bench.engine.begin() as connection:
        row = (await connection.execute(select(tables.jobs))).one()._mapping
        with pytest.raises(IntegrityError):
            await connection.execute(tables.jobs.insert(), dict(row) | {"id": UUID(int=1)})
