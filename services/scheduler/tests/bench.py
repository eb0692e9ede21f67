"""A replica of the scheduler's insides over a real database, without gRPC, and with NATS where a test asks for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from sqlalchemy import func, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds
from tocsin_kit.lifecycle import Part
from tocsin_kit.loops import Bell, Loop
from tocsin_kit.messaging.broker import Broker
from tocsin_kit.messaging.consumer import Consumer
from tocsin_kit.messaging.jobs import JobOrder, Progress, job_consumers
from tocsin_kit.messaging.publisher import Publisher
from tocsin_kit.postgres.outbox import Outbox, relays
from tocsin_kit.telemetry.metrics import Metrics
from tocsin_scheduler.changes import ScheduleDesk
from tocsin_scheduler.desk import Desk
from tocsin_scheduler.doors.job_events import DURABLE, STREAM, JobEvents
from tocsin_scheduler.doors.translate import encode_order
from tocsin_scheduler.jobs import Job, JobState
from tocsin_scheduler.measuring import JobMeter
from tocsin_scheduler.orders import Orders
from tocsin_scheduler.overseeing import Overseer
from tocsin_scheduler.reports import Bookkeeper, Failed, Report, Started, Succeeded
from tocsin_scheduler.schedules import CatchUp
from tocsin_scheduler.store import jobs as job_rows
from tocsin_scheduler.store import tables
from tocsin_scheduler.ticking import Ticker

_TRACER = TracerProvider().get_tracer("test")


@dataclass
class Bench:
    """One replica; several may share a database and a clock."""

    engine: AsyncEngine
    clock: SteppedClock
    activity: Activity
    outbox: Outbox
    ticker_bell: Bell
    overseer_bell: Bell
    ticker: Ticker
    overseer: Overseer
    bookkeeper: Bookkeeper
    desk: Desk
    schedule_desk: ScheduleDesk

    @classmethod
    def on(cls, url: str, clock: SteppedClock, seed: int) -> "Bench":
        """A replica on the database at `url`; replicas with different seeds make different ids."""
        engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
        activity, ids, random = Activity(), SeededIds(seed, clock), Random(seed)
        outbox = Outbox.on(tables.outbox, activity, "scheduler")
        orders = Orders(outbox, encode_order)
        meter = JobMeter(Metrics(CollectorRegistry()), engine, outbox, clock)
        ticks, looks = Bell(activity), Bell(activity)
        return cls(
            engine=engine,
            clock=clock,
            activity=activity,
            outbox=outbox,
            ticker_bell=ticks,
            overseer_bell=looks,
            ticker=Ticker(engine, orders, clock=clock, ids=ids, tracer=_TRACER, attempts=None, overseer=looks),
            overseer=Overseer(engine, orders, meter, clock=clock, random=random, ticker=ticks),
            bookkeeper=Bookkeeper(engine, meter, clock=clock, random=random, overseer=looks, ticker=ticks),
            desk=Desk(engine, orders, meter, clock=clock, ids=ids, attempts=None, overseer=looks, ticker=ticks),
            schedule_desk=ScheduleDesk(engine, clock=clock, ticker=ticks),
        )

    async def only(self, *names: str, catch_up: CatchUp = CatchUp.LATEST) -> None:
        """Have just these schedules, every five minutes, due now and from now on."""
        rows = [
            {
                "name": name,
                "cron": "*/5 * * * *",
                "time_zone": "UTC",
                "type": "evaluate.periodic",
                "args": {"of": name},
                "class": "periodic",
                "enabled": True,
                "catch_up": catch_up,
                "next_run_at": self.clock.now(),
            }
            for name in names
        ]
        async with self.engine.begin() as connection:
            await connection.execute(tables.schedules.delete())
            await connection.execute(insert(tables.schedules), rows)
        self.ticker._shipped = True

    async def tick_after(self, span: timedelta = timedelta(0)) -> datetime | None:
        """Move the clock and tick."""
        self.clock.advance(span)
        return await self.ticker.round()

    async def runs(self) -> list[tuple[str, datetime, str, bool]]:
        """Every run: schedule, time, outcome, whether late."""
        run = tables.schedule_runs.c
        async with self.engine.connect() as connection:
            rows = await connection.execute(
                select(run.schedule, run.run_at, run.outcome, run.late).order_by(run.schedule, run.run_at)
            )
            return [(row.schedule, row.run_at, row.outcome, row.late) for row in rows]

    async def jobs(self) -> list[Job]:
        """Every job, newest first."""
        async with self.engine.connect() as connection:
            return await job_rows.page(connection, None, "", None, 100_000)

    async def job(self, job_id: UUID) -> Job:
        """One job."""
        async with self.engine.connect() as connection:
            found = await job_rows.get(connection, job_id)
        assert found is not None
        return found

    async def messages(self) -> list[str]:
        """Ids of the messages that wait in the outbox."""
        async with self.engine.connect() as connection:
            rows = await connection.execute(select(tables.outbox.c.message_id).order_by(tables.outbox.c.id))
            return [row.message_id for row in rows]

    async def count(self, name: str) -> int:
        """How many rows a table has."""
        async with self.engine.connect() as connection:
            return int(await connection.scalar(select(func.count()).select_from(tables.metadata.tables[name])) or 0)

    async def tell(self, job: Job, event: Started | Succeeded | Failed, number: int = 1) -> None:
        """A worker says something of the job's current attempt."""
        message_id = f"{job.id}:{job.attempt}:{type(event).__name__.lower()}:{number}"
        report = Report(message_id, job.id, job.attempt, number, self.clock.now(), event)
        await self.bookkeeper.take_in([report])

    async def end_all(self) -> None:
        """Workers do every queued job."""
        for job in await self.jobs():
            if job.state is JobState.QUEUED:
                await self.tell(job, Succeeded({}))

    async def publish_all(self) -> None:
        """The broker gets all that waits in the outbox."""
        async with self.engine.begin() as connection:
            published = (await connection.execute(tables.outbox.delete())).rowcount
        self.activity.ended("outbox.scheduler", published)

    async def until_somebody_waits_for_a_lock(self) -> None:
        """Return when a transaction of this database waits for another's lock."""
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :name")
        async with asyncio.timeout(10), self.engine.connect() as connection:
            while not await connection.scalar(waiting, {"name": self.engine.url.database}):
                await connection.rollback()

    async def until_published(self) -> None:
        """Return when a relay has emptied the outbox."""
        async with asyncio.timeout(10):
            while await self.messages():
                pass

    @asynccontextmanager
    async def overseeing(self) -> AsyncIterator[None]:
        """The overseer as the service runs it."""
        loop = Loop(
            "overseeing", self.overseer.round, clock=self.clock, activity=self.activity, wake=self.overseer_bell
        )
        async with running([loop]):
            yield

    @asynccontextmanager
    async def relaying(self, broker_url: str) -> AsyncIterator[Broker]:
        """Relays of the outbox to a broker."""
        broker = Broker(broker_url, "scheduler")
        publisher = Publisher(broker, _TRACER, self.activity)
        try:
            async with running(
                [broker, *relays(self.engine, self.outbox, publisher, clock=self.clock, activity=self.activity)]
            ):
                yield broker
        finally:
            await broker.close()

    @asynccontextmanager
    async def working(self, broker_url: str) -> AsyncIterator[list[JobOrder]]:
        """A worker that does `evaluate.user`, its word taken in; the orders it has done so far."""
        done: list[JobOrder] = []

        async def do(order: JobOrder, _progress: Progress) -> dict[str, int]:
            done.append(order)
            return {}

        async with self.relaying(broker_url) as broker:
            workers = job_consumers(
                broker,
                self.engine,
                self.outbox,
                "evaluate",
                {"evaluate.user": do},
                clock=self.clock,
                activity=self.activity,
                tracer=_TRACER,
            )
            take_in = JobEvents(self.bookkeeper).handle
            events = Consumer(broker, STREAM, DURABLE, take_in, tracer=_TRACER, activity=self.activity)
            async with running([*workers, events]):
                yield done


@asynccontextmanager
async def running(parts: Sequence[Part]) -> AsyncIterator[None]:
    """Parts of a service, running until the block ends."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(part.run(stopping))
        try:
            yield
        finally:
            stopping.set()
