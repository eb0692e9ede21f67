"""A replica of the scheduler's insides over a real database, without gRPC and NATS."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from sqlalchemy import func, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics
from tocsin_scheduler.changes import ScheduleDesk
from tocsin_scheduler.desk import Desk
from tocsin_scheduler.jobs import Job, JobState
from tocsin_scheduler.measuring import JobMeter
from tocsin_scheduler.orders import Orders
from tocsin_scheduler.overseeing import Overseer
from tocsin_scheduler.reports import Bookkeeper, Failed, Report, Started, Succeeded
from tocsin_scheduler.schedules import CatchUp
from tocsin_scheduler.store import jobs as job_rows
from tocsin_scheduler.store import tables
from tocsin_scheduler.ticking import Ticker


@dataclass
class Bench:
    """One replica; several may share a database and a clock."""

    engine: AsyncEngine
    clock: SteppedClock
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
        orders = Orders(Outbox.on(tables.outbox, activity, "scheduler"), lambda job: str(job.id).encode())
        meter = JobMeter(Metrics(CollectorRegistry()), engine, orders.outbox, clock)
        ticks, looks = Bell(activity), Bell(activity)
        tracer = TracerProvider().get_tracer("test")
        return cls(
            engine=engine,
            clock=clock,
            ticker=Ticker(engine, orders, clock=clock, ids=ids, tracer=tracer, attempts=None, overseer=looks),
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
