"""Wires the scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.jobs.v1 import job_pb2, job_pb2_grpc, schedule_pb2, schedule_pb2_grpc
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.http.admin import AdminServer
from tocsin_kit.ids import Ids
from tocsin_kit.lifecycle import Part, Running, running
from tocsin_kit.loops import Bell, Loop
from tocsin_kit.messaging.broker import Broker
from tocsin_kit.messaging.consumer import Consumer
from tocsin_kit.messaging.jobs import job_consumers
from tocsin_kit.messaging.publisher import Publisher
from tocsin_kit.postgres.engine import OpenPool, make_engine
from tocsin_kit.postgres.migrate import schema_is_ready
from tocsin_kit.postgres.outbox import Outbox, relays
from tocsin_kit.rpc.server import GrpcServer, Registration
from tocsin_kit.rpc.tokens import TokenVerifier
from tocsin_kit.settings import Environment
from tocsin_kit.telemetry.metrics import Metrics
from tocsin_scheduler.changes import ScheduleDesk
from tocsin_scheduler.desk import Desk
from tocsin_scheduler.doors.job_events import DURABLE, STREAM, JobEvents
from tocsin_scheduler.doors.job_service import JobServicer
from tocsin_scheduler.doors.schedule_service import ScheduleServicer
from tocsin_scheduler.doors.translate import encode_order
from tocsin_scheduler.measuring import REFRESH, JobMeter
from tocsin_scheduler.orders import Orders
from tocsin_scheduler.overseeing import Overseer
from tocsin_scheduler.reports import Bookkeeper
from tocsin_scheduler.retention import JOB_TYPE, Retention
from tocsin_scheduler.settings import SchedulerSettings
from tocsin_scheduler.store import tables
from tocsin_scheduler.ticking import Ticker


@asynccontextmanager
async def scheduler(
    settings: SchedulerSettings,
    *,
    clock: Clock,
    ids: Ids,
    random: Random,
    metrics: CollectorRegistry,
    tracer_provider: TracerProvider,
    activity: Activity,
) -> AsyncIterator[Running]:
    """The scheduler, running until the block ends."""
    tracer = tracer_provider.get_tracer("tocsin_scheduler")
    engine = make_engine(settings, "tocsin-scheduler")
    broker = Broker(settings.nats_url, "scheduler")
    outbox = Outbox.on(tables.outbox, activity, "scheduler")
    measured = Metrics(metrics)
    meter = JobMeter(measured, engine, outbox, clock)
    orders = Orders(outbox, encode_order)
    ticker_bell, overseer_bell = Bell(activity), Bell(activity)
    attempts = settings.job_max_attempts

    ticker = Ticker(engine, orders, clock=clock, ids=ids, tracer=tracer, attempts=attempts, overseer=overseer_bell)
    overseer = Overseer(engine, orders, meter, clock=clock, random=random, ticker=ticker_bell)
    bookkeeper = Bookkeeper(engine, meter, clock=clock, random=random, overseer=overseer_bell, ticker=ticker_bell)
    desk = Desk(
        engine,
        orders,
        meter,
        clock=clock,
        ids=ids,
        attempts=attempts,
        overseer=overseer_bell,
        ticker=ticker_bell,
    )
    schedule_desk = ScheduleDesk(engine, clock=clock, ticker=ticker_bell)
    retention = Retention(engine, clock, settings.keep_finished_jobs, settings.keep_dead_jobs)

    parts: list[Part] = [
        Loop("scheduler.ticking", ticker.round, clock=clock, activity=activity, wake=ticker_bell),
        Loop("scheduler.overseeing", overseer.round, clock=clock, activity=activity, wake=overseer_bell),
        Loop("scheduler.measuring", meter.refresh, clock=clock, activity=activity, poll=REFRESH),
        Consumer(broker, STREAM, DURABLE, JobEvents(bookkeeper).handle, tracer=tracer, activity=activity),
        *job_consumers(
            broker,
            engine,
            outbox,
            "scheduler",
            {JOB_TYPE: retention},
            clock=clock,
            activity=activity,
            tracer=tracer,
            concurrency=settings.worker_concurrency,
        ),
    ]
    publisher = Publisher(broker, tracer, activity)
    grpc_server = GrpcServer(
        settings.grpc_port,
        [
            Registration(
                JobServicer(engine, desk, clock),
                job_pb2_grpc.add_JobServiceServicer_to_server,
                job_pb2.DESCRIPTOR.services_by_name["JobService"],
            ),
            Registration(
                ScheduleServicer(engine, schedule_desk, desk),
                schedule_pb2_grpc.add_ScheduleServiceServicer_to_server,
                schedule_pb2.DESCRIPTOR.services_by_name["ScheduleService"],
            ),
        ],
        verifier=TokenVerifier(settings, clock),
        metrics=measured,
        tracer=tracer,
        random=random,
        reflection=settings.env is Environment.DEV,
        host=settings.host,
    )
    admin = AdminServer(
        settings.admin_port, registry=metrics, checks={"database": lambda: _database(engine)}, host=settings.host
    )
    async with running(
        "scheduler",
        settings,
        parts=parts,
        plumbing=[
            broker,
            OpenPool(engine, settings),
            *relays(engine, outbox, publisher, clock=clock, activity=activity),
        ],
        servers=[admin, grpc_server],
        closing=[broker.close, engine.dispose],
    ) as started:
        yield started


async def _database(engine: AsyncEngine) -> str | None:
    """Why the service is not ready: the database is away, or its schema is older than this code needs."""
    try:
        ready = await schema_is_ready(engine, "tocsin_scheduler")
    except (SQLAlchemyError, OSError):
        return "cannot be reached"
    return None if ready else "its schema is too old: run `tocsin migrate`"
