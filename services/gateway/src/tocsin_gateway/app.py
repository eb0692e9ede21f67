"""Wires the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from time import monotonic, perf_counter

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin_gateway.callbacks.receiving import CallbackPath, Receiver
from tocsin_gateway.callbacks.signatures import SendGridSignature, TwilioSignature
from tocsin_gateway.callbacks.unsubscribing import (
    CLICKS_AT_ONCE,
    CLICKS_PER_SECOND,
    LARGEST_CLICK,
    UnsubscribeSignature,
    UnsubscribeTokens,
    Unsubscribing,
)
from tocsin_gateway.callbacks.unsubscribing import PATH as UNSUBSCRIBE
from tocsin_gateway.doors.inbox import NotificationInbox, subscriber
from tocsin_gateway.doors.jobs import handlers
from tocsin_gateway.doors.translate import receipt
from tocsin_gateway.doors.upstream import Upstream
from tocsin_gateway.entrance.buckets import TokenBuckets
from tocsin_gateway.entrance.callers import Door
from tocsin_gateway.entrance.frame import Frame
from tocsin_gateway.live.feeds import Feeds
from tocsin_gateway.live.sockets import LiveInbox
from tocsin_gateway.metrics import GatewayMetrics
from tocsin_gateway.operators.gauges import REFRESH, Gauges
from tocsin_gateway.operators.metrics import MergedMetrics
from tocsin_gateway.operators.reference import Reference
from tocsin_gateway.rest import RestApi
from tocsin_gateway.settings import GatewaySettings
from tocsin_gateway.site import site
from tocsin_gateway.store import tables
from tocsin_gateway.store.ledger import CallbackLedger
from tocsin_gateway.transcoding.codec import Codec
from tocsin_gateway.transcoding.contract import all_services
from tocsin_gateway.transcoding.routes import RouteTable, routes_of
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.http.admin import AdminServer
from tocsin_kit.http.serve import HttpServer
from tocsin_kit.ids import Ids
from tocsin_kit.lifecycle import Running, running
from tocsin_kit.loops import Loop
from tocsin_kit.messaging.broker import Broker
from tocsin_kit.messaging.jobs import job_consumers
from tocsin_kit.messaging.publisher import Publisher
from tocsin_kit.postgres.engine import OpenPool, make_engine
from tocsin_kit.postgres.migrate import schema_is_ready
from tocsin_kit.postgres.outbox import Outbox, relays
from tocsin_kit.rpc.client import channel
from tocsin_kit.rpc.server import GrpcServer
from tocsin_kit.rpc.tokens import InternalTokens, TokenVerifier
from tocsin_kit.signed_tokens import signing_keys
from tocsin_kit.telemetry.metrics import Metrics


@asynccontextmanager
async def gateway(
    settings: GatewaySettings,
    *,
    clock: Clock,
    ids: Ids,
    random: Random,
    metrics: CollectorRegistry,
    tracer_provider: TracerProvider,
    activity: Activity,
) -> AsyncIterator[Running]:
    """The gateway, running until the block ends."""
    tracer = tracer_provider.get_tracer("tocsin_gateway")
    engine = make_engine(settings, "tocsin-gateway")
    broker = Broker(settings.nats_url, "gateway")
    outbox = Outbox.on(tables.outbox, activity, "gateway")
    measured, own_metrics = Metrics(metrics), GatewayMetrics(metrics)
    verifier = TokenVerifier(settings, clock)
    targets = {
        "scheduler": settings.scheduler_target,
        "evaluator": settings.evaluator_target,
        "dispatcher": settings.dispatcher_target,
    }
    channels = {service: channel(target, tokens=None, tracer=tracer) for service, target in targets.items()}
    own_tokens = InternalTokens(settings.internal_key, clock, "gateway")
    own_channel = channel(settings.dispatcher_target, tokens=own_tokens, tracer=tracer)

    codec, upstream = Codec(), Upstream(channels)
    ledger = CallbackLedger(engine, outbox, receipt)
    door = Door(verifier, TokenBuckets(settings.calls_per_second, settings.calls_at_once, monotonic))
    feeds = Feeds(subscriber(broker))
    broker.when_back(feeds.tell_all)
    table = RouteTable(routes_of(all_services()))
    twilio = TwilioSignature(settings.twilio_auth_tokens)
    paths = (
        CallbackPath("sendgrid", "/webhooks/sendgrid", SendGridSignature(settings.sendgrid_public_keys, clock)),
        CallbackPath("twilio-status", "/webhooks/twilio/status", twilio),
        CallbackPath("twilio-inbound", "/webhooks/twilio/inbound", twilio),
    )

    def receiver(path: CallbackPath) -> Receiver:
        return Receiver(path, ledger, public_url=settings.public_url, clock=clock, ids=ids, metrics=own_metrics)

    links = UnsubscribeTokens(signing_keys(settings.unsubscribe_key.get_secret_value()))
    by_link = receiver(CallbackPath("unsubscribe", UNSUBSCRIBE, UnsubscribeSignature(links), LARGEST_CLICK))

    async def database() -> str | None:
        return await _database(engine)

    application = site(
        rest=RestApi(table, codec, door, upstream.call),
        live=LiveInbox(NotificationInbox(upstream, codec), feeds, verifier, clock, measured.live_sockets),
        callbacks=[(path.path, receiver(path)) for path in paths],
        unsubscribing=Unsubscribing(links, by_link, TokenBuckets(CLICKS_PER_SECOND, CLICKS_AT_ONCE, monotonic)),
        door=door,
        metrics=MergedMetrics(metrics, settings.metrics_sources),
        ready=database,
        reference=Reference(table),
        origins=settings.cors_origins,
    )
    frame = Frame(application, tracer=tracer, metrics=own_metrics, ids=ids, seconds=perf_counter)
    jobs = handlers(ledger, own_channel, clock=clock, kept=timedelta(days=settings.callbacks_kept_days))
    gauges = Gauges(measured, ledger, clock)
    publisher = Publisher(broker, tracer, activity)
    async with running(
        "gateway",
        settings,
        parts=[
            *job_consumers(
                broker,
                engine,
                outbox,
                "gateway",
                jobs,
                clock=clock,
                activity=activity,
                tracer=tracer,
                concurrency=settings.worker_concurrency,
            ),
            Loop("gateway.gauges", gauges.refresh, clock=clock, activity=activity, poll=REFRESH),
        ],
        plumbing=[
            broker,
            OpenPool(engine, settings),
            *relays(engine, outbox, publisher, clock=clock, activity=activity),
        ],
        servers=[
            AdminServer(settings.admin_port, registry=metrics, checks={"database": database}, host=settings.host),
            GrpcServer(
                settings.grpc_port,
                [],
                verifier=verifier,
                metrics=measured,
                tracer=tracer,
                random=random,
                host=settings.host,
            ),
            HttpServer(frame, port=settings.port, host=settings.host),
        ],
        closing=[broker.close, *(each.close for each in (*channels.values(), own_channel)), engine.dispose],
    ) as started:
        yield started


async def _database(engine: AsyncEngine) -> str | None:
    """Why the service is not ready: the database is away, or its schema is older than this code needs."""
    try:
        ready = await schema_is_ready(engine, "tocsin_gateway")
    except (SQLAlchemyError, OSError):
        return "cannot be reached"
    return None if ready else "its schema is too old: run `tocsin migrate`"
