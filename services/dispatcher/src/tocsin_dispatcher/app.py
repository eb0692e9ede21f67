"""Wires the dispatcher."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin.notifications.v1 import (
    delivery_pb2,
    delivery_pb2_grpc,
    notification_pb2,
    notification_pb2_grpc,
    partner_pb2,
    partner_pb2_grpc,
    preference_pb2,
    preference_pb2_grpc,
)
from tocsin_dispatcher.announcing import Announcer
from tocsin_dispatcher.auditing.audit import Audit
from tocsin_dispatcher.auditing.gauges import REFRESH, Gauges
from tocsin_dispatcher.auditing.retention import Retention
from tocsin_dispatcher.channels.email import Email
from tocsin_dispatcher.channels.in_app import InApp
from tocsin_dispatcher.channels.sms import Sms
from tocsin_dispatcher.delivering.batch import Batches
from tocsin_dispatcher.delivering.breaker_board import REFRESH as BREAKERS_REFRESH
from tocsin_dispatcher.delivering.breaker_board import BreakerBoard
from tocsin_dispatcher.delivering.gatekeeper import Gatekeeper, Rules
from tocsin_dispatcher.delivering.lane import Lane
from tocsin_dispatcher.delivering.look_ups import LookUps
from tocsin_dispatcher.delivering.recorder import Recorder
from tocsin_dispatcher.delivering.way import MediumWay, Way
from tocsin_dispatcher.doors.consumers import Door, firings_door, profiles_door, receipts_door
from tocsin_dispatcher.doors.delivery_service import DeliveryServicer
from tocsin_dispatcher.doors.evaluator import Evaluator
from tocsin_dispatcher.doors.inbox_news import InboxNews
from tocsin_dispatcher.doors.notification_service import NotificationServicer
from tocsin_dispatcher.doors.partner_service import PartnerServicer
from tocsin_dispatcher.doors.preference_service import PreferenceServicer
from tocsin_dispatcher.doors.translate import change_to_event
from tocsin_dispatcher.intake.dead_letters import DeadLetters
from tocsin_dispatcher.intake.intake import Intake
from tocsin_dispatcher.intake.profiles import Profiles
from tocsin_dispatcher.providers.http import HttpClient, http_client
from tocsin_dispatcher.providers.mailbox import Mailbox
from tocsin_dispatcher.providers.provider import LookUp, Provider
from tocsin_dispatcher.providers.sendgrid import SendGrid, SendGridAccount
from tocsin_dispatcher.providers.twilio import Twilio, TwilioAccount
from tocsin_dispatcher.providers.twilio_look_up import TwilioLookUp
from tocsin_dispatcher.receiving.applying import Applier
from tocsin_dispatcher.receiving.callbacks import Callbacks
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.settings import DispatcherSettings
from tocsin_dispatcher.store import tables
from tocsin_dispatcher.store.database import in_transaction
from tocsin_dispatcher.store.mailbox import keep
from tocsin_dispatcher.store.recipients import Defaults
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    EmailMessage,
    GateRules,
    MailboxEntry,
    SmsMessage,
    WorkClass,
)
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
from tocsin_kit.rpc.client import channel
from tocsin_kit.rpc.server import GrpcServer, Registration
from tocsin_kit.rpc.tokens import InternalTokens, TokenVerifier
from tocsin_kit.settings import Environment
from tocsin_kit.telemetry.metrics import Metrics


@asynccontextmanager
async def dispatcher(
    settings: DispatcherSettings,
    *,
    clock: Clock,
    ids: Ids,
    random: Random,
    metrics: CollectorRegistry,
    tracer_provider: TracerProvider,
    activity: Activity,
) -> AsyncIterator[Running]:
    """The dispatcher, running until the block ends."""
    tracer = tracer_provider.get_tracer("tocsin_dispatcher")
    engine = make_engine(settings, "tocsin-dispatcher")
    broker = Broker(settings.nats_url, "dispatcher")
    outbox = Outbox.on(tables.outbox, activity, "dispatcher")
    measured = Metrics(metrics)
    announcer = Announcer(outbox, change_to_event, measured)
    news = InboxNews(broker)
    letters = DeadLetters(engine, clock, ids)
    links = UnsubscribeLinks({"1": settings.unsubscribe_key.get_secret_value().encode()}, settings.public_url)
    renderer = Renderer(settings.frontend_url, settings.sendgrid_from_name)
    defaults = Defaults(settings.rate_limit_hourly, settings.rate_limit_daily)
    address_key = (settings.address_key or settings.internal_key).get_secret_value().encode()
    rules = Rules(
        GateRules(settings.unverified_email_allowed, settings.critical_hourly),
        defaults,
        address_key,
        timedelta(seconds=settings.lease_seconds),
    )
    bells = {medium: Bell(activity) for medium in (Channel.EMAIL, Channel.SMS)}
    applier = Applier(announcer, bells, tracer, address_key)
    tokens = InternalTokens(settings.internal_key, clock, "dispatcher")
    evaluator_channel = channel(settings.evaluator_target, tokens=tokens, tracer=tracer)
    evaluator = Evaluator(evaluator_channel)

    async with http_client(timedelta(seconds=settings.provider_seconds), tracer) as http:
        ways = _ways(settings, http, renderer, links, _mailbox(engine, clock, ids))
        chained = [key for way in ways for key in way.chain]
        paces = {str(provider): pace for provider, pace in settings.provider_paces.items()}
        board = BreakerBoard(engine, clock, measured, chained, paces, random)
        lanes: list[Part] = []
        for way in ways:
            lane = Lane(
                way.channel,
                engine,
                slots=settings.worker_concurrency,
                lease=rules.lease,
                bell=bells[way.channel],
                clock=clock,
                activity=activity,
            )
            recorder = Recorder(
                way.channel,
                engine,
                board,
                announcer,
                applier,
                clock=clock,
                random=random,
                metrics=measured,
                activity=activity,
                address_key=address_key,
                after=lane.done,
            )
            gatekeeper = Gatekeeper(engine, way, board, announcer, clock, measured, rules)
            look_ups = LookUps(engine, way, defaults, timedelta(seconds=settings.provider_seconds), rules.lease)
            batches = Batches(look_ups, way, gatekeeper, recorder, board, evaluator.recheck, clock, lane.done)
            lane.uses(batches, recorder)
            lanes.append(lane)

        intake = Intake(engine, announcer, news, bells, clock, ids, InApp(renderer).compose, defaults)
        profiles = Profiles(engine, bells, clock)
        callbacks = Callbacks(engine, applier, letters, links, clock)
        gauges = Gauges(engine, outbox, measured, clock)
        audit = Audit(engine, evaluator, clock, applier)
        retention = Retention(engine, clock, settings.archive_notifications, _keep(settings))

        def consumer(stream: str, durable: str, door: Door[Any], concurrency: int = 1) -> Consumer:
            return Consumer(
                broker, stream, durable, door.handle, tracer=tracer, activity=activity, concurrency=concurrency
            )

        firings = firings_door(intake, letters)
        parts: list[Part] = [
            *lanes,
            Loop("dispatcher.breakers", board.round, clock=clock, activity=activity, poll=BREAKERS_REFRESH),
            Loop("dispatcher.gauges", gauges.refresh, clock=clock, activity=activity, poll=REFRESH),
            *(consumer("FIRINGS", f"dispatcher-{lane_class}", firings) for lane_class in WorkClass),
            consumer("PROFILES", "dispatcher-profiles", profiles_door(profiles, letters)),
            consumer("RECEIPTS", "dispatcher-receipts", receipts_door(callbacks, letters)),
            *job_consumers(
                broker,
                engine,
                outbox,
                "dispatch",
                {"dispatch.audit": audit, "dispatch.retention": retention},
                clock=clock,
                activity=activity,
                tracer=tracer,
            ),
        ]
        publisher = Publisher(broker, tracer, activity)
        grpc_server = GrpcServer(
            settings.grpc_port,
            [
                Registration(
                    NotificationServicer(engine, announcer, news, clock),
                    notification_pb2_grpc.add_NotificationServiceServicer_to_server,
                    notification_pb2.DESCRIPTOR.services_by_name["NotificationService"],
                ),
                Registration(
                    PreferenceServicer(engine, clock, defaults, address_key),
                    preference_pb2_grpc.add_PreferenceServiceServicer_to_server,
                    preference_pb2.DESCRIPTOR.services_by_name["PreferenceService"],
                ),
                Registration(
                    PartnerServicer(engine, clock, defaults),
                    partner_pb2_grpc.add_PartnerServiceServicer_to_server,
                    partner_pb2.DESCRIPTOR.services_by_name["PartnerService"],
                ),
                Registration(
                    DeliveryServicer(engine, evaluator, bells, clock, ids),
                    delivery_pb2_grpc.add_DeliveryServiceServicer_to_server,
                    delivery_pb2.DESCRIPTOR.services_by_name["DeliveryService"],
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
            "dispatcher",
            settings,
            parts=parts,
            plumbing=[
                broker,
                OpenPool(engine, settings),
                *relays(engine, outbox, publisher, clock=clock, activity=activity),
            ],
            servers=[admin, grpc_server],
            closing=[broker.close, evaluator_channel.close, engine.dispose],
        ) as started:
            yield started


def _ways(
    settings: DispatcherSettings, http: HttpClient, renderer: Renderer, links: UnsubscribeLinks, mailbox: Mailbox
) -> Sequence[Way]:
    """The channels with a worker: medium, providers in order. A new provider is a line here."""
    email: dict[str, Provider[EmailMessage]] = {"mailbox": mailbox}
    if settings.sendgrid_api_key is not None:
        account = SendGridAccount(
            settings.sendgrid_api_key.get_secret_value(),
            settings.sendgrid_from_email,
            settings.sendgrid_from_name,
            settings.sendgrid_base_url,
        )
        email["sendgrid"] = SendGrid(account, http)
    sms: Provider[SmsMessage] = mailbox
    look_up: LookUp | None = None
    if settings.twilio_account_sid and settings.twilio_auth_token is not None:
        twilio = TwilioAccount(
            settings.twilio_account_sid,
            settings.twilio_auth_token.get_secret_value(),
            settings.twilio_from_number,
            settings.twilio_messaging_service_sid,
            settings.twilio_base_url,
            settings.public_url,
        )
        sms, look_up = Twilio(twilio, http), TwilioLookUp(twilio, http)
    chain = [email[name] for name in settings.email_chain if name in email] or [mailbox]
    return (
        MediumWay(Channel.EMAIL, Email(renderer, links), chain, lambda _: None),
        MediumWay(Channel.SMS, Sms(renderer), [sms], lambda message: message.size, look_up),
    )


def _mailbox(engine: AsyncEngine, clock: Clock, ids: Ids) -> Mailbox:
    async def stored(entry: MailboxEntry, attempt: Attempt) -> None:
        await in_transaction(engine, lambda connection: keep(connection, ids.uuid7(), entry, attempt, clock.now()))

    return Mailbox(stored)


def _keep(settings: DispatcherSettings) -> Mapping[str, timedelta]:
    """How long things live (data model)."""
    return {
        "notifications": settings.keep_notifications,
        "deliveries": settings.keep_deliveries,
        "receipts": settings.keep_receipts,
        "callbacks": settings.keep_receipts,
        "idempotency_keys": timedelta(hours=24),
        "counters": timedelta(days=2),
        "ledger_minutes": timedelta(days=365),
        "mailbox": timedelta(days=30),
        "dead_letters": timedelta(days=90),
    }


async def _database(engine: AsyncEngine) -> str | None:
    """Why the service is not ready: the database is away, or its schema is older than this code needs."""
    try:
        ready = await schema_is_ready(engine, "tocsin_dispatcher")
    except (SQLAlchemyError, OSError):
        return "cannot be reached"
    return None if ready else "its schema is too old: run `tocsin migrate`"
