"""What a due schedule turns into, and what becomes of jobs: no database."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_scheduler.changes import ScheduleChange, changed
from tocsin_scheduler.jobs import (
    ACTIVE,
    Job,
    JobState,
    Progress,
    WorkClass,
    attempts_of,
    failed,
    has_ended,
    queued_again,
)
from tocsin_scheduler.reports import Failed, Report, Started, Succeeded, after
from tocsin_scheduler.schedules import SHIPPED, CatchUp, Schedule
from tocsin_scheduler.ticking import RunOutcome, plan

NOON = datetime(2025, 11, 3, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def schedule(catch_up: CatchUp = CatchUp.LATEST, next_run_at: datetime = NOON) -> Schedule:
    """A schedule of every five minutes."""
    return Schedule(
        name="sweep",
        cron="*/5 * * * *",
        time_zone="UTC",
        type="evaluate.periodic",
        args={},
        work_class=WorkClass.PERIODIC,
        enabled=True,
        catch_up=catch_up,
        next_run_at=next_run_at,
    )


def job(state: JobState = JobState.QUEUED, attempt: int = 1) -> Job:
    """A periodic job of two attempts."""
    return Job(
        id=UUID(int=7),
        type="evaluate.periodic",
        args={},
        work_class=WorkClass.PERIODIC,
        state=state,
        attempt=attempt,
        max_attempts=2,
        due_at=NOON,
        created_at=NOON,
        deadline_at=NOON + 2 * MINUTE,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def report(event: Started | Progress | Succeeded | Failed, attempt: int = 1, number: int = 1) -> Report:
    """What a worker says a second after noon."""
    return Report(f"7:{attempt}:{number}", UUID(int=7), attempt, number, NOON + timedelta(seconds=1), event)


def told(start: Job, *reports: Report) -> Job:
    """The job after reports, in this order."""
    for one in reports:
        start = after(start, one, NOON + timedelta(seconds=1), Random(1))
    return start


@pytest.mark.parametrize(
    ("catch_up", "now", "expected"),
    [
        # on time: one run, not late, whatever the policy
        (CatchUp.LATEST, NOON, [(0, RunOutcome.QUEUED, False)]),
        (CatchUp.NONE, NOON + timedelta(seconds=30), [(0, RunOutcome.QUEUED, False)]),
        (CatchUp.ALL, NOON, [(0, RunOutcome.QUEUED, False)]),
        # back after 12 minutes: 12:10 stands for all of them
        (CatchUp.LATEST, NOON + 12 * MINUTE, [(10, RunOutcome.QUEUED, True)]),
        (CatchUp.NONE, NOON + 12 * MINUTE, [(10, RunOutcome.MISSED, True)]),
        (
            CatchUp.ALL,
            NOON + 12 * MINUTE,
            [(0, RunOutcome.WAITING, True), (5, RunOutcome.WAITING, True), (10, RunOutcome.WAITING, True)],
        ),
        # back just at 12:10: that time is not missed, but of `all` it stands behind those that are
        (CatchUp.LATEST, NOON + 10 * MINUTE, [(10, RunOutcome.QUEUED, False)]),
        (CatchUp.NONE, NOON + 10 * MINUTE, [(10, RunOutcome.QUEUED, False)]),
        (
            CatchUp.ALL,
            NOON + 10 * MINUTE,
            [(0, RunOutcome.WAITING, True), (5, RunOutcome.WAITING, True), (10, RunOutcome.WAITING, False)],
        ),
    ],
)
def test_missed_times_become_what_the_policy_says(
    catch_up: CatchUp, now: datetime, expected: Sequence[tuple[int, RunOutcome, bool]]
) -> None:
    tick = plan(schedule(catch_up), now)
    found = [((run.run_at - NOON) // MINUTE, run.outcome, run.late) for run in tick.runs]
    assert found == list(expected)
    assert now < tick.next_run_at <= now + 5 * MINUTE


def test_exactly_a_minute_late_the_first_of_two_times_runs_and_the_second_waits_for_it() -> None:
    every_minute = replace(schedule(CatchUp.ALL), cron="* * * * *")
    tick = plan(every_minute, NOON + MINUTE)
    assert [(run.run_at, run.outcome, run.late) for run in tick.runs] == [
        (NOON, RunOutcome.QUEUED, False),
        (NOON + MINUTE, RunOutcome.WAITING, False),
    ]


def test_a_long_outage_of_an_all_schedule_is_taken_in_bit_by_bit_without_a_hole() -> None:
    now = NOON + timedelta(days=10)
    first = plan(schedule(CatchUp.ALL), now)
    second = plan(schedule(CatchUp.ALL, first.next_run_at), now)
    times = [run.run_at for run in (*first.runs, *second.runs)]
    assert times == [NOON + 5 * MINUTE * number for number in range(1000)]


def test_a_job_lives_from_queued_to_succeeded() -> None:
    running = told(job(), report(Started()))
    assert (running.state, running.started_at) == (JobState.RUNNING, NOON + timedelta(seconds=1))
    further = told(running, report(Progress(3, 10), number=2))
    assert (further.progress, further.deadline_at) == (Progress(3, 10), NOON + timedelta(seconds=1) + 2 * MINUTE)
    done = told(further, report(Succeeded({"fired": 2}), number=3))
    assert (done.state, done.result, done.deadline_at) == (JobState.SUCCEEDED, {"fired": 2}, None)


def test_a_failure_that_may_pass_is_retried_after_two_seconds_with_jitter_until_attempts_run_out() -> None:
    waiting = told(job(), report(Started()), report(Failed(True, "database away"), number=2))
    assert waiting.state is JobState.RETRYING
    assert waiting.retry_at is not None
    assert timedelta(seconds=1.5) <= waiting.retry_at - (NOON + timedelta(seconds=1)) <= timedelta(seconds=2.5)
    again = queued_again(waiting, NOON + MINUTE)
    assert (again.state, again.attempt, again.retry_at) == (JobState.QUEUED, 2, None)
    dead = told(again, report(Failed(True, "still away"), attempt=2))
    assert dead.state is JobState.DEAD
    assert [(error.attempt, error.reason) for error in dead.errors] == [(1, "database away"), (2, "still away")]
    assert dead.errors[0].trace_id == "0af7651916cd43dd8448eb211c80319c"


def test_a_failure_for_good_is_dead_at_once() -> None:
    assert told(job(), report(Failed(False, "no service does evaluate.nothing"))).state is JobState.DEAD


def test_the_late_success_of_an_attempt_taken_for_lost_counts() -> None:
    lost = failed(job(), 1, "silent", NOON, retryable=True, random=Random(1))
    again = queued_again(lost, NOON)
    assert told(again, report(Succeeded({}), attempt=1)).state is JobState.SUCCEEDED
    dead = failed(again, 2, "silent", NOON, retryable=True, random=Random(1))
    done = told(dead, report(Succeeded({"fired": 2}), attempt=2))
    assert (dead.state, done.state, done.result) == (JobState.DEAD, JobState.SUCCEEDED, {"fired": 2})
    assert [error.reason for error in done.errors] == ["silent", "silent"]


@pytest.mark.parametrize("event", [Started(), Progress(1, 2), Failed(True, "x")])
def test_old_news_changes_nothing(event: Started | Progress | Failed) -> None:
    second = job(attempt=2)
    assert told(second, report(event, attempt=1)) is second


EVENTS = st.one_of(
    st.just(Started()),
    st.builds(Progress, st.integers(0, 5), st.integers(0, 5)),
    st.just(Succeeded({"n": 1})),
    st.builds(Failed, st.booleans(), st.just("x")),
)


@given(st.lists(st.builds(report, EVENTS, st.integers(1, 3), st.integers(1, 5)), max_size=8))
def test_whatever_comes_in_whatever_order_a_job_that_ended_stays_as_it_ended_but_for_work_done_after_all(
    reports: list[Report],
) -> None:
    current = job()
    for one in reports:
        following = told(current, one)
        if current.state is JobState.DEAD and isinstance(one.event, Succeeded):
            assert following.state is JobState.SUCCEEDED
        elif has_ended(current):
            assert following is current
        assert (following.deadline_at is not None) == (following.state in {JobState.QUEUED, JobState.RUNNING})
        assert (following.retry_at is not None) == (following.state is JobState.RETRYING)
        assert (following.finished_at is None) == (following.state in ACTIVE)
        current = following


def test_attempts_are_three_and_for_periodic_jobs_two_unless_set() -> None:
    assert [attempts_of(lane, None) for lane in WorkClass] == [3, 3, 2, 3]
    assert attempts_of(WorkClass.PERIODIC, 5) == 5


def test_a_new_cron_counts_from_now_and_a_pause_keeps_the_next_time() -> None:
    now = NOON + timedelta(seconds=1)
    hourly = changed(schedule(), ScheduleChange(cron="0 * * * *"), now)
    assert hourly.next_run_at == NOON + timedelta(hours=1)
    paused = changed(schedule(), ScheduleChange(enabled=False), now)
    assert (paused.enabled, paused.next_run_at) == (False, NOON)
    assert changed(paused, ScheduleChange(enabled=True), now).next_run_at == NOON + 5 * MINUTE
    assert changed(schedule(), ScheduleChange(catch_up=CatchUp.ALL), now) == replace(schedule(), catch_up=CatchUp.ALL)


def test_the_shipped_schedules_are_those_of_the_scheduling_page() -> None:
    assert {(one.name, one.type, one.work_class.value, one.cron) for one in SHIPPED} == {
        ("evaluate-periodic", "evaluate.periodic", "periodic", "*/5 * * * *"),
        ("evaluate-bills", "evaluate.bills", "bills", "*/15 * * * *"),
        ("evaluate-audit", "evaluate.audit", "periodic", "*/5 * * * *"),
        ("dispatch-audit", "dispatch.audit", "periodic", "*/5 * * * *"),
        ("gateway-audit", "gateway.audit", "periodic", "*/5 * * * *"),
        ("evaluate-retention", "evaluate.retention", "bills", "0 3 * * *"),
        ("dispatch-retention", "dispatch.retention", "bills", "0 3 * * *"),
        ("scheduler-retention", "scheduler.retention", "bills", "0 3 * * *"),
        ("gateway-retention", "gateway.retention", "bills", "0 3 * * *"),
    }
