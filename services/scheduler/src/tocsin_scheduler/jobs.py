"""A job and every step between its states, purely.

::

    queued ─► running ─► succeeded
      ▲  │       │
      │  └───────┴─► retrying ─► (queued again, next attempt)
      │          └─► dead ─────► (queued again when a person retries it; succeeded when the work was done after all)
      └─ cancelled from retrying, and from queued while nobody can know of it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from uuid import UUID

from tocsin_kit.backoff import Backoff


class WorkClass(StrEnum):
    """The lane a job travels in."""

    REALTIME = "realtime"
    USER = "user"
    PERIODIC = "periodic"
    BILLS = "bills"


class JobState(StrEnum):
    """Where a job is between asked for and done."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    RETRYING = "retrying"
    DEAD = "dead"
    CANCELLED = "cancelled"


#: States in which a job is under way: a schedule has at most one such job.
ACTIVE = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.RETRYING})

#: Without a word from the worker for so long a job is taken for lost (scheduling page, "Jobs").
SILENCE = {
    WorkClass.REALTIME: timedelta(seconds=30),
    WorkClass.USER: timedelta(seconds=30),
    WorkClass.PERIODIC: timedelta(minutes=2),
    WorkClass.BILLS: timedelta(minutes=2),
}
#: 2 s x 2 with jitter; a job has few attempts, so the cap is for operators who allow many.
BACKOFF = Backoff(first=timedelta(seconds=2), factor=2.0, attempts=12, cap=timedelta(minutes=5))
#: The part of a type before the dot names who works on it.
VERBS = frozenset({"evaluate", "dispatch", "scheduler", "gateway"})
LOST = "no word from the worker within the deadline"
_DEFAULT_ATTEMPTS = 3
_PERIODIC_ATTEMPTS = 2


@dataclass(frozen=True)
class Progress:
    """Units done of a total; the total is 0 where it is unknown."""

    done: int
    total: int


@dataclass(frozen=True)
class AttemptError:
    """Why an attempt failed."""

    attempt: int
    at: datetime
    reason: str
    retryable: bool
    trace_id: str


@dataclass(frozen=True)
class Job:
    """A unit of work. `due_at` is the instant the work is for; `deadline_at` is set while a worker is waited for."""

    id: UUID
    type: str
    args: Mapping[str, str]
    work_class: WorkClass
    state: JobState
    attempt: int
    max_attempts: int
    due_at: datetime
    created_at: datetime
    deadline_at: datetime | None = None
    retry_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: Progress | None = None
    result: Mapping[str, int] | None = None
    errors: tuple[AttemptError, ...] = ()
    schedule: str | None = None
    late: bool = False
    traceparent: str | None = None

    @property
    def verb(self) -> str:
        """Who works on it: evaluate, dispatch, scheduler or gateway."""
        return self.type.partition(".")[0]

    def is_due(self, now: datetime) -> bool:
        """Whether the overseer has to see to it: its retry is due, or its deadline has passed."""
        due = self.retry_at or self.deadline_at
        return due is not None and due <= now

    @property
    def trace_id(self) -> str:
        """The trace it is part of (W3C Trace Context, section 3.2); empty where there is none."""
        return self.traceparent.split("-")[1] if self.traceparent else ""


def attempts_of(work_class: WorkClass, setting: int | None) -> int:
    """How many attempts a job has: the setting, else 2 for periodic ones and 3 for others."""
    if setting is not None:
        return setting
    return _PERIODIC_ATTEMPTS if work_class is WorkClass.PERIODIC else _DEFAULT_ATTEMPTS


def queued_again(job: Job, now: datetime, max_attempts: int | None = None) -> Job:
    """The job with its next attempt handed out now."""
    return replace(
        job,
        state=JobState.QUEUED,
        attempt=job.attempt + 1,
        max_attempts=max_attempts or job.max_attempts,
        deadline_at=now + SILENCE[job.work_class],
        retry_at=None,
        started_at=None,
        finished_at=None,
        progress=None,
    )


def still_here(job: Job, now: datetime) -> Job:
    """A queued job whose message has not left us: no worker can be silent about it, so the deadline moves."""
    return replace(job, deadline_at=now + SILENCE[job.work_class])


def begun(job: Job, attempt: int, at: datetime, now: datetime) -> Job:
    """A worker has it. Old news changes nothing."""
    if attempt != job.attempt or job.state is not JobState.QUEUED:
        return job
    return replace(job, state=JobState.RUNNING, started_at=at, deadline_at=now + SILENCE[job.work_class])


def progressed(job: Job, attempt: int, progress: Progress, at: datetime, now: datetime) -> Job:
    """The worker goes on, which moves the deadline. Old news changes nothing."""
    running = begun(job, attempt, at, now)
    if attempt != job.attempt or running.state is not JobState.RUNNING:
        return job
    return replace(running, progress=progress, deadline_at=now + SILENCE[job.work_class])


def succeeded(job: Job, counts: Mapping[str, int], at: datetime) -> Job:
    """The work is done; also when an attempt did it that had been taken for lost, be it the last."""
    if job.state not in ACTIVE | {JobState.DEAD}:
        return job
    return replace(
        job,
        state=JobState.SUCCEEDED,
        result=dict(counts),
        started_at=job.started_at or at,
        finished_at=at,
        deadline_at=None,
        retry_at=None,
    )


def failed(job: Job, attempt: int, reason: str, at: datetime, *, retryable: bool, random: Random) -> Job:
    """The attempt failed: retrying while attempts are left and one can help, else dead. Old news changes nothing."""
    if attempt != job.attempt or job.state not in {JobState.QUEUED, JobState.RUNNING}:
        return job
    error = AttemptError(attempt, at, reason, retryable, job.trace_id)
    known = replace(job, errors=(*job.errors, error), deadline_at=None)
    if retryable and attempt < job.max_attempts:
        return replace(known, state=JobState.RETRYING, retry_at=at + BACKOFF.delay(len(known.errors), random))
    return replace(known, state=JobState.DEAD, finished_at=at)


def cancelled(job: Job, at: datetime) -> Job:
    """The job will not be done; for jobs that are queued or wait for another attempt."""
    return replace(job, state=JobState.CANCELLED, finished_at=at, deadline_at=None, retry_at=None)


def has_ended(job: Job) -> bool:
    """Whether nothing more will happen to it by itself."""
    return job.state not in ACTIVE
