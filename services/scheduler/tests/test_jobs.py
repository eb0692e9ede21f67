"""Jobs from asked for to done or dead, over a real database."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_devstack.fixtures import NOON
from tocsin_kit.messaging.jobs import JobOrder
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.postgres.idempotency import RequestKey
from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_scheduler.desk import Once
from tocsin_scheduler.jobs import LOST, Job, JobState, WorkClass
from tocsin_scheduler.measuring import type_stats
from tocsin_scheduler.reports import Failed, Report, Started, Succeeded
from tocsin_scheduler.retention import Retention
from tocsin_scheduler.store import jobs as job_rows
from tocsin_scheduler.store import tables

from .bench import Bench
from .conftest import MakeBench

SECOND = timedelta(seconds=1)
LIMIT = timedelta(seconds=30)
ONCE = Once(RequestKey(0, "operator", "TriggerJob", "r1"), b"hash")


async def no_progress(_done: int, _total: int) -> None:
    """Nobody listens."""


async def test_a_triggered_job_of_a_user_is_queued_in_the_users_lane(bench: Bench) -> None:
    job = await bench.desk.trigger("", 42, 1, None)
    assert (job.type, job.args, job.work_class) == (
        "evaluate.user",
        {"user_id": "42", "partner_id": "1"},
        WorkClass.USER,
    )
    assert job.deadline_at == NOON + timedelta(seconds=30)
    assert await bench.job(job.id) == job
    assert await bench.messages() == [f"{job.id}:1"]


async def test_a_triggered_job_that_a_schedule_makes_too_keeps_its_lane(bench: Bench) -> None:
    await bench.only("sweep")
    assert (await bench.desk.trigger("evaluate.periodic", 0, 0, None)).work_class is WorkClass.PERIODIC


@pytest.mark.parametrize(
    ("type_", "user_id", "partner_id", "field"),
    [
        ("", 0, 0, "type"),
        ("bank.rob", 0, 0, "type"),
        ("evaluate.periodic", 42, 1, "user_id"),
        ("evaluate.user", 0, 0, "user_id"),
        ("", 42, 0, "partner_id"),
    ],
)
async def test_a_trigger_that_makes_no_sense_is_refused_by_field(
    bench: Bench, type_: str, user_id: int, partner_id: int, field: str
) -> None:
    with pytest.raises(TocsinError) as refused:
        await bench.desk.trigger(type_, user_id, partner_id, None)
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_the_same_request_again_gets_the_same_job_also_when_both_come_at_once(make_bench: MakeBench) -> None:
    one, other = await make_bench(), await make_bench()
    jobs = await asyncio.gather(*(bench.desk.trigger("", 42, 1, ONCE) for bench in (one, other, one, other)))
    assert len({job.id for job in jobs}) == 1
    assert len(await one.messages()) == 1
    with pytest.raises(TocsinError) as refused:
        await one.desk.trigger("", 43, 1, Once(ONCE.key, b"another body"))
    assert refused.value.reason is Reason.IDEMPOTENCY_CONFLICT


async def test_running_a_schedule_answers_the_job_under_way_or_makes_one(bench: Bench) -> None:
    await bench.only("sweep")
    made = await bench.desk.run("sweep", None)
    assert (await bench.desk.run("sweep", None)).id == made.id
    await bench.end_all()
    assert (await bench.desk.run("sweep", None)).id != made.id
    with pytest.raises(TocsinError) as refused:
        await bench.desk.run("nothing", None)
    assert refused.value.reason is Reason.NOT_FOUND


async def test_a_worker_that_says_nothing_for_its_deadline_loses_the_job_to_another_attempt(bench: Bench) -> None:
    job = await bench.desk.trigger("", 42, 1, None)
    await bench.tell(job, Started())
    assert await bench.overseer.round() == NOON + timedelta(seconds=30)
    bench.clock.advance(timedelta(seconds=30))
    retry_at = await bench.overseer.round()
    assert (await bench.job(job.id)).state is JobState.RETRYING
    assert retry_at is not None
    bench.clock.move_to(retry_at)
    assert await bench.overseer.round() == retry_at + timedelta(seconds=30)
    again = await bench.job(job.id)
    assert (again.state, again.attempt, again.errors[0].reason) == (JobState.QUEUED, 2, LOST)
    assert await bench.messages() == [f"{job.id}:1", f"{job.id}:2"]


async def test_a_job_is_dead_after_its_attempts_and_a_person_can_retry_it(bench: Bench) -> None:
    job = await bench.desk.trigger("", 42, 1, None)
    for _ in range(3):
        job = await bench.job(job.id)
        await bench.tell(job, Failed(True, "database away"))
        due = await bench.overseer.round()
        bench.clock.move_to(due or bench.clock.now())
        await bench.overseer.round()
    dead = await bench.job(job.id)
    assert (dead.state, len(dead.errors)) == (JobState.DEAD, 3)
    assert await bench.overseer.round() is None
    async with bench.engine.connect() as connection:
        assert await job_rows.dead_page(connection, "", None, 10) == [dead]
    again = await bench.desk.retry(job.id)
    assert (again.state, again.attempt, again.max_attempts, len(again.errors)) == (JobState.QUEUED, 4, 6, 3)
    with pytest.raises(TocsinError) as refused:
        await bench.desk.retry(job.id)
    assert refused.value.reason is Reason.STATE_CONFLICT


async def test_a_queued_job_is_not_taken_for_lost_while_its_message_is_still_here(bench: Bench) -> None:
    job = await bench.desk.trigger("", 42, 1, None)
    for n in range(1, 6):
        bench.clock.advance(timedelta(seconds=30))
        assert await bench.overseer.round() == NOON + (n + 1) * timedelta(seconds=30)
    waiting = await bench.job(job.id)
    assert (waiting.state, waiting.attempt, waiting.errors) == (JobState.QUEUED, 1, ())
    assert await bench.messages() == [f"{job.id}:1"]
    await bench.publish_all()
    bench.clock.advance(timedelta(seconds=30))
    await bench.overseer.round()
    assert [error.reason for error in (await bench.job(job.id)).errors] == [LOST]


async def test_a_tick_at_the_moment_of_a_retry_makes_it_a_conflict_and_no_error(bench: Bench) -> None:
    await bench.only("sweep")
    await bench.ticker.round()
    (dead,) = await bench.jobs()
    await bench.tell(dead, Failed(False, "x"))
    bench.clock.advance(timedelta(minutes=5))
    async with bench.engine.begin() as ticking:
        assert await bench.ticker._tick_in(ticking, bench.clock.now())
        retrying = asyncio.create_task(bench.desk.retry(dead.id))
        await bench.until_somebody_waits_for_a_lock()
    with pytest.raises(TocsinError) as refused:
        await retrying
    assert refused.value.reason is Reason.STATE_CONFLICT
    assert sorted(job.state for job in await bench.jobs()) == [JobState.DEAD, JobState.QUEUED]


async def test_jobs_that_another_replica_has_are_left_to_it(make_bench: MakeBench) -> None:
    one, other = await make_bench(), await make_bench()
    job = await one.desk.trigger("", 42, 1, None)
    await one.tell(job, Started())
    one.clock.advance(timedelta(seconds=30))
    async with other.engine.begin() as held:
        assert await job_rows.claim_due(held, one.clock.now(), 10)
        assert await one.overseer.round() is None
    assert await one.overseer.round() is not None
    assert (await one.job(job.id)).state is JobState.RETRYING


async def test_a_due_job_that_is_locked_here_is_seen_to_behind_it_though_nobody_polls(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await bench.desk.trigger("", 42, 1, None)
    await bench.publish_all()
    await bench.tell(job, Started())
    bench.clock.advance(timedelta(seconds=30))
    save, has_locked, may_go_on = job_rows.save, asyncio.Event(), asyncio.Event()

    async def slow(connection: AsyncConnection, changed: Sequence[Job]) -> None:
        if not has_locked.is_set():
            has_locked.set()
            await may_go_on.wait()
        await save(connection, changed)

    monkeypatch.setattr(job_rows, "save", slow)
    telling = asyncio.create_task(bench.tell(job, Started(), 2))
    await has_locked.wait()
    async with bench.overseeing():
        await bench.activity.until_quiet(LIMIT)
        assert (await bench.job(job.id)).state is JobState.RUNNING
        may_go_on.set()
        await telling
        await bench.activity.until_quiet(LIMIT)
        assert (await bench.job(job.id)).state is JobState.RETRYING


async def test_who_locks_a_schedule_or_a_job_rings_behind_it_also_when_refused(bench: Bench) -> None:
    await bench.only("sweep")
    job = await bench.desk.run("sweep", None)
    for refused in (bench.desk.retry(job.id), bench.desk.cancel(UUID(int=1)), bench.desk.run("nothing", None)):
        for bell in (bench.ticker_bell, bench.overseer_bell):
            assert bell.is_set()
            bell.clear()
        with pytest.raises(TocsinError):
            await refused
    assert bench.ticker_bell.is_set()


async def test_a_cancelled_job_is_never_done(bench: Bench, broker_url: str) -> None:
    await apply_to(broker_url)
    cancelled, other = [await bench.desk.trigger("", user, 1, None) for user in (1, 2)]
    assert (await bench.desk.cancel(cancelled.id)).state is JobState.CANCELLED
    assert bench.activity.busy() == {"outbox.scheduler": 1}
    async with bench.working(broker_url) as done:
        await bench.activity.until_quiet(LIMIT)
    assert [order.id for order in done] == [other.id]
    states = [(await bench.job(job.id)).state for job in (cancelled, other)]
    assert states == [JobState.CANCELLED, JobState.SUCCEEDED]


async def test_a_job_that_was_handed_out_is_not_cancelled_but_done(bench: Bench, broker_url: str) -> None:
    await apply_to(broker_url)
    job = await bench.desk.trigger("", 1, 1, None)
    async with bench.relaying(broker_url):
        await bench.until_published()
    with pytest.raises(TocsinError) as refused:
        await bench.desk.cancel(job.id)
    assert refused.value.reason is Reason.STATE_CONFLICT
    async with bench.working(broker_url) as done:
        await bench.activity.until_quiet(LIMIT)
    assert [order.id for order in done] == [job.id]
    assert (await bench.job(job.id)).state is JobState.SUCCEEDED


async def test_a_job_whose_message_a_relay_has_in_hand_is_not_cancelled(bench: Bench) -> None:
    job = await bench.desk.trigger("", 1, 1, None)
    async with bench.engine.begin() as relay:
        await relay.execute(select(tables.outbox).with_for_update())
        async with asyncio.timeout(10):
            with pytest.raises(TocsinError) as refused:
                await bench.desk.cancel(job.id)
    assert refused.value.reason is Reason.STATE_CONFLICT
    assert (await bench.job(job.id)).state is JobState.QUEUED


async def test_only_a_job_that_has_not_begun_can_be_cancelled(bench: Bench) -> None:
    first, second = [await bench.desk.trigger("", user, 1, None) for user in (1, 2)]
    await bench.tell(first, Failed(True, "database away"))
    assert (await bench.desk.cancel(first.id)).state is JobState.CANCELLED
    await bench.tell(second, Started())
    with pytest.raises(TocsinError) as refused:
        await bench.desk.cancel(second.id)
    assert refused.value.reason is Reason.STATE_CONFLICT
    with pytest.raises(TocsinError) as unknown:
        await bench.desk.cancel(UUID(int=1))
    assert unknown.value.reason is Reason.NOT_FOUND


async def test_what_a_worker_says_counts_once_in_any_order_on_any_replica(make_bench: MakeBench) -> None:
    one, other = await make_bench(), await make_bench()
    job = await one.desk.trigger("", 42, 1, None)
    failure = Report("m2", job.id, 1, 2, NOON, Failed(True, "x"))
    started = Report("m1", job.id, 1, 1, NOON, Started())
    stranger = Report("m3", UUID(int=5), 1, 1, NOON, Started())
    await asyncio.gather(
        one.bookkeeper.take_in([failure, started, failure]), other.bookkeeper.take_in([stranger, failure])
    )
    await other.bookkeeper.take_in([started, failure])
    after = await one.job(job.id)
    assert (after.state, len(after.errors)) == (JobState.RETRYING, 1)


async def test_stats_tell_counts_waiting_durations_and_failures_of_the_last_hour(bench: Bench) -> None:
    done = await bench.desk.trigger("", 1, 1, None)
    await bench.tell(done, Started())
    bench.clock.advance(4 * SECOND)
    await bench.tell(done, Succeeded({}), 2)
    dead = await bench.desk.trigger("", 2, 1, None)
    await bench.tell(dead, Failed(False, "x"))
    await bench.desk.trigger("", 3, 1, None)
    bench.clock.advance(6 * SECOND)
    (stats,) = await type_stats(bench.engine, bench.clock.now())
    assert stats.counts == {JobState.SUCCEEDED: 1, JobState.DEAD: 1, JobState.QUEUED: 1}
    assert (stats.oldest_queued_age, stats.p50_duration, stats.failure_rate) == (6 * SECOND, 4 * SECOND, 0.5)
    bench.clock.advance(timedelta(hours=2))
    (later,) = await type_stats(bench.engine, bench.clock.now())
    assert (later.p50_duration, later.failure_rate) == (None, 0.0)


async def test_lists_go_on_where_the_page_before_ended(bench: Bench) -> None:
    made = []
    for user in range(1, 6):
        bench.clock.advance(SECOND)
        made.append((await bench.desk.trigger("", user, 1, None)).id)
    seen: list[UUID] = []
    place = None
    async with bench.engine.connect() as connection:
        while page := await job_rows.page(connection, JobState.QUEUED, "evaluate.user", place, 2):
            seen += [job.id for job in page]
            place = job_rows.Place(page[-1].created_at, page[-1].id)
    assert seen == made[::-1]


async def test_retention_keeps_the_last_hundred_of_a_type_and_dead_jobs_longer(bench: Bench) -> None:
    job = await bench.desk.trigger("", 1, 1, None)
    await bench.tell(job, Succeeded({}))
    dead = await bench.desk.trigger("", 2, 1, None)
    await bench.tell(dead, Failed(False, "x"))
    async with bench.engine.begin() as connection:
        columns = ", ".join(column.name for column in tables.jobs.columns if column.name != "id")
        copy = f"INSERT INTO jobs (id, {columns}) SELECT uuidv7(), {columns} FROM jobs, generate_series(1, 1200)"  # noqa: S608
        await connection.execute(text(copy + " WHERE state = 'succeeded'"))
        await connection.execute(
            insert(tables.schedule_runs),
            [
                {"schedule": "s", "run_at": NOON, "outcome": "queued", "late": False, "at": NOON},
                {"schedule": "s", "run_at": NOON + SECOND, "outcome": "waiting", "late": True, "at": NOON},
            ],
        )
    retention = Retention(bench.engine, bench.clock, timedelta(days=7), timedelta(days=90))
    order = JobOrder(UUID(int=1), "scheduler.retention", {}, "bills", 1, NOON, None)
    bench.clock.advance(timedelta(days=8))
    counts = await retention(order, no_progress)
    assert counts == {"jobs": 1101, "dead_jobs": 0, "runs": 1, "inbox": 2, "requests": 0}
    bench.clock.advance(timedelta(days=90))
    assert (await retention(order, no_progress))["dead_jobs"] == 1
    assert await bench.count("jobs") == 100
