"""The service as it runs: gRPC in, jobs over NATS, their outcome in the record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import grpc
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from tocsin.jobs.v1 import job_pb2, job_pb2_grpc, schedule_pb2, schedule_pb2_grpc
from tocsin_devstack.fixtures import NOON, MakeDatabase
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import Reason, from_rpc_error
from tocsin_kit.rpc.tokens import mint_dev_token
from tocsin_kit.settings import Environment
from tocsin_scheduler.app import scheduler
from tocsin_scheduler.schedules import SHIPPED
from tocsin_scheduler.settings import SchedulerSettings

_SECRET = "s" * 32
_NEVER = datetime(2100, 1, 1, tzinfo=UTC)
_LIMIT = timedelta(seconds=30)


@dataclass(frozen=True)
class Service:
    """The running scheduler and an operator."""

    channel: grpc.aio.Channel
    clock: SteppedClock
    activity: Activity
    registry: CollectorRegistry

    @property
    def jobs(self) -> job_pb2_grpc.JobServiceAsyncStub:
        return job_pb2_grpc.JobServiceStub(self.channel)

    @property
    def schedules(self) -> schedule_pb2_grpc.ScheduleServiceAsyncStub:
        return schedule_pb2_grpc.ScheduleServiceStub(self.channel)

    def token(self, scope: Scope = Scope.ADMIN) -> tuple[tuple[str, str], ...]:
        partner_id = None if scope is Scope.ADMIN else 1
        token = mint_dev_token(_SECRET, subject="7", scopes=(scope,), expires_at=_NEVER, partner_id=partner_id)
        return (("authorization", f"Bearer {token}"),)

    async def settle(self) -> None:
        """Return when nothing is under way."""
        await self.activity.until_quiet(_LIMIT, self.clock.now())

    async def update(self, name: str, mask: list[str], /, **values: object) -> schedule_pb2.Schedule:
        """Change fields of a schedule."""
        request = schedule_pb2.UpdateScheduleRequest(
            name=name,
            schedule=schedule_pb2.Schedule(**values),  # type: ignore[arg-type]
            update_mask=FieldMask(paths=mask),
        )
        return (await self.schedules.UpdateSchedule(request, metadata=self.token())).schedule


@pytest_asyncio.fixture
async def service(make_database: MakeDatabase, broker_url: str, clock: SteppedClock) -> AsyncIterator[Service]:
    """One scheduler."""
    await apply_to(broker_url)
    settings = SchedulerSettings(
        env=Environment.DEV,
        database_url=SecretStr(await make_database("scheduler")),
        nats_url=broker_url,
        grpc_port=0,
        admin_port=0,
        jwt_secret=SecretStr(_SECRET),
        internal_key=SecretStr("k" * 32),
    )
    activity, registry = Activity(), CollectorRegistry()
    async with (
        scheduler(
            settings,
            clock=clock,
            ids=SeededIds(1, clock),
            random=Random(1),
            metrics=registry,
            tracer_provider=TracerProvider(),
            activity=activity,
        ) as running,
        grpc.aio.insecure_channel(f"127.0.0.1:{running.ports['grpc']}") as channel,
    ):
        started = Service(channel, clock, activity, registry)
        await started.settle()
        yield started


async def test_a_job_of_our_own_is_triggered_done_and_counted(service: Service) -> None:
    request = job_pb2.TriggerJobRequest(type="scheduler.retention", request_id="r")
    asked = (await service.jobs.TriggerJob(request, metadata=service.token())).job
    again = (await service.jobs.TriggerJob(request, metadata=service.token())).job
    assert again.id == asked.id
    await service.settle()
    job = (await service.jobs.GetJob(job_pb2.GetJobRequest(id=asked.id), metadata=service.token())).job
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert set(job.result) == {"jobs", "dead_jobs", "runs", "inbox", "requests"}
    labels = {"job_type": "scheduler.retention", "status": "succeeded"}
    assert service.registry.get_sample_value("alert_jobs_processed_total", labels) == 1
    stats = await service.jobs.GetJobStats(job_pb2.GetJobStatsRequest(), metadata=service.token())
    assert [(one.type, one.counts[0].count) for one in stats.types] == [("scheduler.retention", 1)]


async def test_a_job_of_a_type_that_nobody_does_is_dead_at_once_and_listed_as_failed(service: Service) -> None:
    request = job_pb2.TriggerJobRequest(type="scheduler.nothing")
    await service.jobs.TriggerJob(request, metadata=service.token())
    await service.settle()
    listed = await service.jobs.ListFailedJobs(job_pb2.ListFailedJobsRequest(), metadata=service.token())
    assert [(job.type, job.attempt, len(job.errors)) for job in listed.jobs] == [("scheduler.nothing", 1, 1)]
    assert (await service.jobs.ListJobs(job_pb2.ListJobsRequest(), metadata=service.token())).jobs == listed.jobs


async def test_the_clock_is_told_the_next_due_instant_and_moving_it_there_makes_the_job(service: Service) -> None:
    assert service.activity.next_due() == NOON + timedelta(minutes=5)
    await service.update("scheduler-retention", ["cron"], cron="1 * * * *")
    await service.settle()
    due = service.activity.next_due()
    assert due == NOON + timedelta(minutes=1)
    service.clock.move_to(due)
    await service.settle()
    request = job_pb2.ListJobsRequest(type="scheduler.retention")
    (job,) = (await service.jobs.ListJobs(request, metadata=service.token())).jobs
    assert (job.state, job.schedule, job.due_at.ToDatetime(UTC)) == (
        job_pb2.JOB_STATE_SUCCEEDED,
        "scheduler-retention",
        due,
    )


async def test_schedules_are_listed_by_page_changed_paused_resumed_and_run(service: Service) -> None:
    names: list[str] = []
    token = ""
    while True:
        listed = await service.schedules.ListSchedules(
            schedule_pb2.ListSchedulesRequest(page_size=4, page_token=token), metadata=service.token()
        )
        names += [schedule.name for schedule in listed.schedules]
        token = listed.next_page_token
        if not token:
            break
    assert names == sorted(one.name for one in SHIPPED)
    hourly = await service.update("evaluate-bills", ["cron", "time_zone"], cron="0 6 * * *", time_zone="Asia/Kathmandu")
    assert hourly.next_run_at.ToDatetime(UTC) == datetime(2025, 11, 4, 0, 15, tzinfo=UTC)
    name = "scheduler-retention"
    paused = await service.schedules.PauseSchedule(
        schedule_pb2.PauseScheduleRequest(name=name), metadata=service.token()
    )
    assert not paused.schedule.enabled
    resumed = await service.schedules.ResumeSchedule(
        schedule_pb2.ResumeScheduleRequest(name=name), metadata=service.token()
    )
    assert resumed.schedule.enabled
    run = await service.schedules.RunSchedule(schedule_pb2.RunScheduleRequest(name=name), metadata=service.token())
    assert (run.job.type, run.job.schedule) == ("scheduler.retention", name)


@pytest.mark.parametrize(
    ("mask", "values", "field"),
    [
        (["cron"], {"cron": "every day"}, "schedule.cron"),
        (["time_zone"], {"time_zone": "Mars"}, "schedule.time_zone"),
        (["cron", "nonsense"], {"cron": "0 * * * *"}, "schedule.nonsense"),
        (["cron.minute"], {}, "schedule.cron.minute"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_by_field(
    service: Service, mask: list[str], values: dict[str, object], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.update("evaluate-bills", mask, **values)
    error = from_rpc_error(refused.value)
    assert [violation.field for violation in error.violations] == [field]


async def test_its_name_and_output_only_fields_are_ignored_in_a_change(service: Service) -> None:
    request = schedule_pb2.ListSchedulesRequest()
    before = (await service.schedules.ListSchedules(request, metadata=service.token())).schedules
    own = {"name": "x", "type": "y", "args": {"a": "b"}}
    mask = ["name", "type", "args", "args.a", "work_class", "next_run_at"]
    unchanged = await service.update("evaluate-bills", mask, **own)
    assert unchanged == next(one for one in before if one.name == "evaluate-bills")
    changed = await service.update("evaluate-bills", [*mask, "enabled"], enabled=False, **own)
    unchanged.enabled = False
    assert changed == unchanged


@pytest.mark.parametrize("token", ["x", "WyJ4Il0=", "WzFd", "WyJhIiwgImIiXQ=="])
async def test_a_page_token_of_ones_own_making_is_refused(service: Service, token: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.jobs.ListJobs(job_pb2.ListJobsRequest(page_token=token), metadata=service.token())
    assert from_rpc_error(refused.value).reason is Reason.INVALID_FIELD


@pytest.mark.parametrize("scope", [Scope.USER, Scope.PARTNER, Scope.SERVICE])
async def test_only_operators_reach_jobs(service: Service, scope: Scope) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.jobs.ListJobs(job_pb2.ListJobsRequest(), metadata=service.token(scope))
    assert from_rpc_error(refused.value).reason is Reason.SCOPE_MISSING
