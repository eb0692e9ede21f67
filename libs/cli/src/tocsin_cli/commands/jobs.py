"""`tocsin jobs`: the work that is scheduled or asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from tocsin.jobs.v1 import job_pb2, job_pb2_grpc
from tocsin_cli.calls import call
from tocsin_cli.choices import number, word
from tocsin_cli.settings import read_settings
from tocsin_cli.show import fields, instant, say, seconds, table

_STATE = job_pb2.DESCRIPTOR.enum_types_by_name["JobState"]
Answer = TypeVar("Answer")
JobId = Annotated[str, typer.Argument(help="The job's id.")]
JobType = Annotated[str | None, typer.Option("--type", help="Of this type only, for example evaluate.periodic.")]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many at most.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Look at jobs, retry, trigger and cancel them.", no_args_is_help=True)
    for command in (stats, failed, retry, trigger, show, cancel):
        group.command()(command)
    group.command("list")(listing)
    app.add_typer(group, name="jobs")


def _ask(work: Callable[[job_pb2_grpc.JobServiceAsyncStub], Awaitable[Answer]]) -> Answer:
    settings = read_settings()
    return call(settings, settings.scheduler_target, lambda opened: work(job_pb2_grpc.JobServiceStub(opened)))


def stats() -> None:
    """Count jobs by type and state, with waiting times, durations and failure rates."""
    answer = _ask(lambda jobs: jobs.GetJobStats(job_pb2.GetJobStatsRequest()))
    table(
        ("type", "states", "oldest queued", "p50", "p95", "failed in the last hour"),
        (
            (
                one.type,
                ", ".join(f"{count.count} {word(_STATE, count.state)}" for count in one.counts),
                seconds(one.oldest_queued_age),
                seconds(one.p50_duration),
                seconds(one.p95_duration),
                f"{one.failure_rate:.1%}",
            )
            for one in answer.types
        ),
        nothing="no jobs",
    )


def listing(
    state: Annotated[str | None, typer.Option(help="In this state only: queued, running, ...")] = None,
    type_: JobType = None,
    limit: Limit = 50,
) -> None:
    """List jobs, newest first."""
    request = job_pb2.ListJobsRequest(
        state=job_pb2.JobState.ValueType(number(_STATE, state)), type=type_ or "", page_size=limit
    )
    _table(list(_ask(lambda jobs: jobs.ListJobs(request)).jobs))


def failed(type_: JobType = None, limit: Limit = 50) -> None:
    """List jobs that were given up, newest first."""
    request = job_pb2.ListFailedJobsRequest(type=type_ or "", page_size=limit)
    _table(list(_ask(lambda jobs: jobs.ListFailedJobs(request)).jobs))


def retry(job_id: JobId) -> None:
    """Queue a job again that was given up."""
    _one(_ask(lambda jobs: jobs.RetryJob(job_pb2.RetryJobRequest(id=job_id))).job)


def trigger(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="For example evaluate.periodic or evaluate.user.")],
    user: Annotated[int, typer.Option(help="The user, for evaluate.user.")] = 0,
    partner: Annotated[int, typer.Option(help="The user's bank, for evaluate.user.")] = 0,
) -> None:
    """Queue a job now."""
    request = job_pb2.TriggerJobRequest(type=type_, user_id=user, partner_id=partner)
    _one(_ask(lambda jobs: jobs.TriggerJob(request)).job)


def show(job_id: JobId) -> None:
    """Show everything about one job."""
    _one(_ask(lambda jobs: jobs.GetJob(job_pb2.GetJobRequest(id=job_id))).job)


def cancel(job_id: JobId) -> None:
    """Cancel a job that has not begun."""
    _one(_ask(lambda jobs: jobs.CancelJob(job_pb2.CancelJobRequest(id=job_id))).job)


def _table(jobs: list[job_pb2.Job]) -> None:
    table(
        ("id", "type", "state", "attempt", "created", "why"),
        (
            (
                job.id,
                job.type,
                word(_STATE, job.state),
                f"{job.attempt} of {job.max_attempts}",
                instant(job.created_at),
                job.errors[-1].reason if job.errors else "",
            )
            for job in jobs
        ),
        nothing="no jobs",
    )


def _one(job: job_pb2.Job) -> None:
    """Print one job with what its attempts said."""
    fields(
        (
            ("id", job.id),
            ("type", job.type),
            ("arguments", " ".join(f"{name}={value}" for name, value in sorted(job.args.items()))),
            ("state", word(_STATE, job.state)),
            ("attempt", f"{job.attempt} of {job.max_attempts}"),
            ("schedule", job.schedule + (" (late)" if job.late else "")),
            ("due", instant(job.due_at)),
            ("created", instant(job.created_at)),
            ("started", instant(job.started_at)),
            ("deadline", instant(job.deadline_at)),
            ("retried at", instant(job.retry_at)),
            ("finished", instant(job.finished_at)),
            ("progress", f"{job.progress.done} of {job.progress.total or '?'}" if job.HasField("progress") else ""),
            ("result", " ".join(f"{name}={count}" for name, count in sorted(job.result.items()))),
        )
    )
    for error in job.errors:
        again = "may help to retry" if error.retryable else "retrying cannot help"
        say(f"attempt {error.attempt} failed {instant(error.at)}: {error.reason} ({again}) {error.trace_id}")
