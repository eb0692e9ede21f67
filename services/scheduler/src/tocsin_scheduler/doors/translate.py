"""Between the contract's messages and the scheduler's own values."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.events.v1 import events_pb2
from tocsin.jobs.v1 import job_pb2, schedule_pb2
from tocsin.types.v1 import types_pb2
from tocsin_scheduler.jobs import AttemptError, Job, JobState, Progress, WorkClass
from tocsin_scheduler.measuring import TypeStats
from tocsin_scheduler.reports import Failed, Report, Started, Succeeded
from tocsin_scheduler.schedules import CatchUp, Schedule

_LANES = {lane: types_pb2.WorkClass.Value(f"WORK_CLASS_{lane.upper()}") for lane in WorkClass}
_STATES = {state: job_pb2.JobState.Value(f"JOB_STATE_{state.upper()}") for state in JobState}
_STATES_READ: dict[int, JobState] = {value: state for state, value in _STATES.items()}
_CATCH_UPS = {policy: schedule_pb2.CatchUp.Value(f"CATCH_UP_{policy.upper()}") for policy in CatchUp}
_CATCH_UPS_READ: dict[int, CatchUp] = {value: policy for policy, value in _CATCH_UPS.items()}


class Unreadable(ValueError):
    """A message that no version of the contract could have written."""


def encode_order(job: Job) -> bytes:
    """The message by which a service learns of a job."""
    order = events_pb2.Job(
        id=job.id.bytes,
        type=job.type,
        args=job.args,
        work_class=_LANES[job.work_class],
        attempt=job.attempt,
        due_at=_instant(job.due_at),
        deadline_at=_instant(job.deadline_at),
    )
    return order.SerializeToString(deterministic=True)


def report_of(message_id: str, data: bytes) -> Report:
    """What a worker said. Raises Unreadable, and DecodeError for bytes that are no message."""
    event = events_pb2.JobEvent.FromString(data)
    if len(event.job_id) != 16:
        raise Unreadable("the job's id has not 16 bytes")
    return Report(
        message_id=message_id,
        job_id=UUID(bytes=event.job_id),
        attempt=event.attempt,
        number=event.number,
        at=event.at.ToDatetime(UTC),
        event=_event(event),
    )


def _event(event: events_pb2.JobEvent) -> Started | Progress | Succeeded | Failed:
    match event.WhichOneof("event"):
        case "started":
            return Started()
        case "progress":
            return Progress(event.progress.done, event.progress.total)
        case "succeeded":
            return Succeeded(dict(event.succeeded.counts))
        case "failed":
            # PostgreSQL's text and json hold no NUL
            return Failed(event.failed.retryable, event.failed.reason.replace("\0", ""))
    raise Unreadable("an event that says nothing")


def job_message(job: Job) -> job_pb2.Job:
    """A job as callers see it."""
    return job_pb2.Job(
        id=str(job.id),
        type=job.type,
        args=job.args,
        work_class=_LANES[job.work_class],
        state=_STATES[job.state],
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        due_at=_instant(job.due_at),
        deadline_at=_instant(job.deadline_at),
        retry_at=_instant(job.retry_at),
        created_at=_instant(job.created_at),
        started_at=_instant(job.started_at),
        finished_at=_instant(job.finished_at),
        progress=job_pb2.Progress(done=job.progress.done, total=job.progress.total) if job.progress else None,
        result=job.result,
        errors=[_error_message(error) for error in job.errors],
        schedule=job.schedule or "",
        late=job.late,
    )


def _error_message(error: AttemptError) -> job_pb2.AttemptError:
    return job_pb2.AttemptError(
        attempt=error.attempt,
        at=_instant(error.at),
        reason=error.reason,
        retryable=error.retryable,
        trace_id=error.trace_id,
    )


def state_of(value: int) -> JobState | None:
    """The state a filter names; None for any."""
    return _STATES_READ.get(value)


def stats_message(stats: TypeStats) -> job_pb2.JobTypeStats:
    """How a type is doing, as callers see it."""
    message = job_pb2.JobTypeStats(
        type=stats.type,
        counts=[
            job_pb2.JobStateCount(state=_STATES[state], count=stats.counts[state])
            for state in JobState
            if state in stats.counts
        ],
        failure_rate=stats.failure_rate,
    )
    for field, span in (
        (message.oldest_queued_age, stats.oldest_queued_age),
        (message.p50_duration, stats.p50_duration),
        (message.p95_duration, stats.p95_duration),
    ):
        if span is not None:
            whole = Duration()
            whole.FromTimedelta(span)
            field.CopyFrom(whole)
    return message


def schedule_message(schedule: Schedule) -> schedule_pb2.Schedule:
    """A schedule as callers see it."""
    return schedule_pb2.Schedule(
        name=schedule.name,
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        type=schedule.type,
        args=schedule.args,
        work_class=_LANES[schedule.work_class],
        enabled=schedule.enabled,
        catch_up=_CATCH_UPS[schedule.catch_up],
        next_run_at=_instant(schedule.next_run_at),
    )


def catch_up_of(value: int) -> CatchUp | None:
    """The policy a request names; None where it names none."""
    return _CATCH_UPS_READ.get(value)


def _instant(instant: datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp
