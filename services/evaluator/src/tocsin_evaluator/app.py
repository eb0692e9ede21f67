"""Wires the evaluator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.alerts.v1 import (
    alert_pb2,
    alert_pb2_grpc,
    evaluation_pb2,
    evaluation_pb2_grpc,
    fact_pb2,
    fact_pb2_grpc,
)
from tocsin_evaluator.alerts.desk import Desk
from tocsin_evaluator.doors.alert_service import AlertServicer
from tocsin_evaluator.doors.evaluation_service import EvaluationServicer
from tocsin_evaluator.doors.fact_service import FactServicer
from tocsin_evaluator.doors.jobs import Jobs
from tocsin_evaluator.doors.translate import encode_firings, profile_event
from tocsin_evaluator.evaluation.backtesting import Backtest
from tocsin_evaluator.evaluation.bills import BillsRun
from tocsin_evaluator.evaluation.explaining import Explaining
from tocsin_evaluator.evaluation.ledger import Ledger
from tocsin_evaluator.evaluation.person import PersonEvaluation
from tocsin_evaluator.evaluation.realtime import Realtime
from tocsin_evaluator.evaluation.sweep import LOOK, Sweep
from tocsin_evaluator.facts.coalescer import Coalescer
from tocsin_evaluator.facts.intake import Intake
from tocsin_evaluator.facts.telling_again import ProfilesAgain
from tocsin_evaluator.kinds import SIX
from tocsin_evaluator.measuring import REFRESH, OutboxMeter
from tocsin_evaluator.settings import EvaluatorSettings
from tocsin_evaluator.store import tables
from tocsin_evaluator.upkeep import Keep
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.http.admin import AdminServer
from tocsin_kit.ids import Ids
from tocsin_kit.lifecycle import Part, Running, running
from tocsin_kit.loops import Bell, Loop
from tocsin_kit.messaging.broker import Broker
from tocsin_kit.messaging.jobs import job_consumers
from tocsin_kit.messaging.publisher import Publisher
from tocsin_kit.postgres.engine import OpenPool, make_engine
from tocsin_kit.postgres.migrate import schema_is_ready
from tocsin_kit.postgres.outbox import Outbox, relays
from tocsin_kit.rpc.server import GrpcServer, Registration
from tocsin_kit.rpc.tokens import TokenVerifier
from tocsin_kit.sealing import Seals
from tocsin_kit.settings import Environment
from tocsin_kit.telemetry.metrics import Metrics


@asynccontextmanager
async def evaluator(
    settings: EvaluatorSettings,
    *,
    clock: Clock,
    ids: Ids,
    random: Random,
    metrics: CollectorRegistry,
    tracer_provider: TracerProvider,
    activity: Activity,
) -> AsyncIterator[Running]:
    """The evaluator, running until the block ends."""
    tracer = tracer_provider.get_tracer("tocsin_evaluator")
    engine = make_engine(settings, "tocsin-evaluator")
    broker = Broker(settings.nats_url, "evaluator")
    outbox = Outbox.on(tables.outbox, activity, "evaluator")
    measured = Metrics(metrics)
    replica, max_age = str(ids.uuid7()), settings.max_transaction_age
    seals = Seals(settings.secret_keys, random)
    ledger_bell, sweep_bell = Bell(activity), Bell(activity)

    ledger = Ledger(engine, clock, replica, measured, ledger_bell)
    realtime = Realtime(engine, clock, ledger, outbox, Intake(outbox, profile_event, max_age, SIX, seals), measured)
    coalescer = Coalescer(realtime.take_in, activity)
    sweep = Sweep(engine, clock, ledger, outbox, sweep_bell, replica, max_age, SIX)
    bills = BillsRun(engine, clock, ledger, outbox, max_age)
    person = PersonEvaluation(engine, clock, ledger, outbox, max_age, SIX)
    explaining = Explaining(engine, clock, SIX, max_age)
    keep = Keep(
        settings.keep_firings, settings.keep_transactions, settings.keep_ledger_minutes, settings.keep_profile_copies
    )
    jobs = Jobs(engine, clock, sweep, bills, person, keep)
    meter = OutboxMeter(measured, engine, outbox, clock)

    parts: list[Part] = [
        Loop("evaluator.slices", sweep.round, clock=clock, activity=activity, wake=sweep_bell, poll=LOOK),
        Loop("evaluator.edits", person.finish_edits, clock=clock, activity=activity, poll=LOOK),
        Loop("evaluator.ledger", ledger.round, clock=clock, activity=activity, wake=ledger_bell),
        Loop("evaluator.measuring", meter.refresh, clock=clock, activity=activity, poll=REFRESH),
        *job_consumers(
            broker,
            engine,
            outbox,
            "evaluate",
            jobs.handlers(),
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
                AlertServicer(Desk(engine, clock, person), explaining, Backtest(engine, SIX), engine, clock, ids),
                alert_pb2_grpc.add_AlertServiceServicer_to_server,
                alert_pb2.DESCRIPTOR.services_by_name["AlertService"],
            ),
            Registration(
                FactServicer(coalescer, engine, clock),
                fact_pb2_grpc.add_FactServiceServicer_to_server,
                fact_pb2.DESCRIPTOR.services_by_name["FactService"],
            ),
            Registration(
                EvaluationServicer(engine, outbox, clock, SIX, ProfilesAgain(engine, outbox, clock, seals)),
                evaluation_pb2_grpc.add_EvaluationServiceServicer_to_server,
                evaluation_pb2.DESCRIPTOR.services_by_name["EvaluationService"],
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
        "evaluator",
        settings,
        parts=parts,
        plumbing=[
            broker,
            OpenPool(engine, settings),
            *relays(engine, outbox, publisher, clock=clock, activity=activity, encode=encode_firings),
        ],
        servers=[admin, grpc_server],
        closing=[coalescer.finish, ledger.flush, broker.close, engine.dispose],
    ) as started:
        yield started


async def _database(engine: AsyncEngine) -> str | None:
    """Why the service is not ready: the database is away, or its schema is older than this code needs."""
    try:
        ready = await schema_is_ready(engine, "tocsin_evaluator")
    except (SQLAlchemyError, OSError):
        return "cannot be reached"
    return None if ready else "its schema is too old: run `tocsin migrate`"
