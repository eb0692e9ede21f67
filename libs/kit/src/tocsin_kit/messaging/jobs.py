"""Working on jobs: take one from JOBS, do it, and say on JOB_EVENTS what becomes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import structlog
from google.protobuf.message import DecodeError
from opentelemetry import trace
from opentelemetry.trace import Tracer
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.events.v1 import events_pb2
from tocsin.types.v1 import types_pb2
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.messaging.broker import Broker
from tocsin_kit.messaging.consumer import Consumer, Message, Verdict
from tocsin_kit.messaging.publisher import Outgoing
from tocsin_kit.messaging.streams import JOB_SERVICES
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import JOB_EVENTS, Outbox
from tocsin_kit.transient import is_transient

#: How many jobs of a class one replica works on side by side (scheduling page).
CONCURRENCY = {"realtime": 5, "user": 5, "periodic": 5, "bills": 2}
EVENTS_SUBJECT = "tocsin.job-events"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class JobOrder:
    """A job to do now. `due_at` is the instant the work is for."""

    id: UUID
    type: str
    args: Mapping[str, str]
    work_class: str
    attempt: int
    due_at: datetime
    deadline_at: datetime | None


class JobFailure(Exception):
    """The job could not be done; `retryable` says whether another attempt can help."""

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable


Progress = Callable[[int, int], Awaitable[None]]
#: Does a job and answers what was done, counted by name.
Handler = Callable[[JobOrder, Progress], Awaitable[dict[str, int]]]


@dataclass
class _Report:
    """Writes one attempt's events, numbered from 1."""

    worker: _Worker
    order: JobOrder
    traceparent: str | None
    number: int = field(default=0)

    async def send(self, **event: object) -> None:
        self.number += 1
        now = self.worker.clock.now()
        message = events_pb2.JobEvent(
            job_id=self.order.id.bytes,
            attempt=self.order.attempt,
            number=self.number,
            **event,  # type: ignore[arg-type]
        )
        message.at.FromDatetime(now)
        row = Outgoing(
            work_class=JOB_EVENTS,
            subject=EVENTS_SUBJECT,
            message_id=f"{self.order.id}:{self.order.attempt}:{next(iter(event))}:{self.number}",
            payload=message.SerializeToString(deterministic=True),
            traceparent=self.traceparent,
        )
        outbox = self.worker.outbox
        await in_transaction(self.worker.engine, lambda connection: outbox.add(connection, [row], now))
        outbox.wrote(row.work_class)

    async def progress(self, done: int, total: int) -> None:
        await self.send(progress=events_pb2.JobProgress(done=done, total=total))


@dataclass(frozen=True)
class _Worker:
    engine: AsyncEngine
    outbox: Outbox
    handlers: Mapping[str, Handler]
    clock: Clock

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        return [await self._one(message) for message in messages]

    async def _one(self, message: Message) -> Verdict:
        try:
            order = _order(message)
        except (DecodeError, ValueError) as error:
            _log.error("job_unreadable", message_id=message.message_id, error=str(error))
            return Verdict.DEAD
        report = _Report(self, order, message.traceparent)
        handler = self.handlers.get(order.type)
        with trace.use_span(message.span):
            if handler is None:
                failed = events_pb2.JobFailed(retryable=False, reason=f"no service does {order.type}")
                await report.send(failed=failed)
                return Verdict.DONE
            await report.send(started=events_pb2.JobStarted())
            await self._do(handler, order, report)
        return Verdict.DONE

    async def _do(self, handler: Handler, order: JobOrder, report: _Report) -> None:
        try:
            counts = await handler(order, report.progress)
        except JobFailure as failure:
            await report.send(failed=events_pb2.JobFailed(retryable=failure.retryable, reason=str(failure)))
        except Exception as error:
            # The error goes into the job's record, whose owner bounds the attempts: one bad job stops no other.
            first, _, _ = str(error).partition("\n")  # further lines of a database's error quote its statement
            reason = f"{type(error).__name__}: {first}"[:500]
            _log.error("job_failed", job_id=str(order.id), job_type=order.type, exc_info=not is_transient(error))
            await report.send(failed=events_pb2.JobFailed(retryable=True, reason=reason))
        else:
            await report.send(succeeded=events_pb2.JobSucceeded(counts=counts))


def _order(message: Message) -> JobOrder:
    job = events_pb2.Job.FromString(message.data)
    return JobOrder(
        id=UUID(bytes=job.id),
        type=job.type,
        args=dict(job.args),
        work_class=types_pb2.WorkClass.Name(job.work_class).removeprefix("WORK_CLASS_").lower(),
        attempt=job.attempt,
        due_at=job.due_at.ToDatetime(UTC),
        deadline_at=job.deadline_at.ToDatetime(UTC) if job.HasField("deadline_at") else None,
    )


def job_consumers(
    broker: Broker,
    engine: AsyncEngine,
    outbox: Outbox,
    verb: str,
    handlers: Mapping[str, Handler],
    *,
    clock: Clock,
    activity: Activity,
    tracer: Tracer,
    concurrency: int | None = None,
) -> list[Consumer]:
    """Consumers, one per class, for the jobs whose type begins with `verb` (evaluate, dispatch, ...).

    `concurrency` overrides the number of jobs side by side (setting WORKER_CONCURRENCY).
    """
    worker = _Worker(engine, outbox, handlers, clock)
    return [
        Consumer(
            broker,
            "JOBS",
            f"{JOB_SERVICES[verb]}-{lane}",
            worker.handle,
            tracer=tracer,
            activity=activity,
            batch=1,
            concurrency=concurrency or at_once,
        )
        for lane, at_once in CONCURRENCY.items()
    ]
