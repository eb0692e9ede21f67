"""Wires the dispatcher."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from random import Random
from types import ModuleType
from typing import Any
from uuid import UUID

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
    suppression_pb2,
    suppression_pb2_grpc,
    template_pb2,
    template_pb2_grpc,
)
from tocsin_dispatcher.announcing import Announcer
from tocsin_dispatcher.auditing.audit import Audit
from tocsin_dispatcher.auditing.gauges import REFRESH, Gauges
from tocsin_dispatcher.auditing.profiles import ProfileAudit
from tocsin_dispatcher.auditing.retention import Retention
from tocsin_dispatcher.channels.in_app import InApp
from tocsin_dispatcher.channels.push import Push
from tocsin_dispatcher.channels.webhook import WebhookMedium
from tocsin_dispatcher.delivering.batch import Batches
from tocsin_dispatcher.delivering.breaker_board import REFRESH as BREAKERS_REFRESH
from tocsin_dispatcher.delivering.breaker_board import BreakerBoard
from tocsin_dispatcher.delivering.candidates import Rules
from tocsin_dispatcher.delivering.gatekeeper import Gatekeeper
from tocsin_dispatcher.delivering.lane import Lane
from tocsin_dispatcher.delivering.look_ups import LookUps
from tocsin_dispatcher.delivering.recorder import Recorder
from tocsin_dispatcher.delivering.shares import Shares
from tocsin_dispatcher.delivering.way import BuiltIn, OwnAddressWay, Way
from tocsin_dispatcher.destinations.browsers import Browsers
from tocsin_dispatcher.destinations.endpoints import Endpoints
from tocsin_dispatcher.destinations.reading import ReadEndpoints, browsers_of
from tocsin_dispatcher.destinations.urls import UrlRules
from tocsin_dispatcher.doors.consumers import Door, firings_door, profiles_door, receipts_door
from tocsin_dispatcher.doors.dead_letters import DeadLetterRpcs
from tocsin_dispatcher.doors.delivery_service import DeliveryServicer
from tocsin_dispatcher.doors.destinations import DestinationRpcs
from tocsin_dispatcher.doors.evaluator import Evaluator
from tocsin_dispatcher.doors.inbox_news import InboxNews
from tocsin_dispatcher.doors.notification_service import NotificationServicer
from tocsin_dispatcher.doors.partner_service import PartnerServicer
from tocsin_dispatcher.doors.preference_service import PreferenceServicer
from tocsin_dispatcher.doors.suppression_service import SuppressionServicer
from tocsin_dispatcher.doors.template_service import TemplateServicer
from tocsin_dispatcher.doors.timeline import TimelineRpc
from tocsin_dispatcher.doors.translate import change_to_event
from tocsin_dispatcher.doors.webhook_events import created_event, tried_event
from tocsin_dispatcher.intake.dead_letters import DeadLetters
from tocsin_dispatcher.intake.intake import Intake
from tocsin_dispatcher.intake.profiles import Profiles
from tocsin_dispatcher.providers.http import http_client, http_client_for_strangers
from tocsin_dispatcher.providers.webhook import Webhook
from tocsin_dispatcher.providers.webpush import NotSetUp, WebPush
from tocsin_dispatcher.receiving.applying import Applier
from tocsin_dispatcher.receiving.callbacks import Callbacks
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.settings import DispatcherSettings
from tocsin_dispatcher.store import tables
from tocsin_dispatcher.store.database import GROWING
from tocsin_dispatcher.store.recipients import Defaults
from tocsin_dispatcher.templating.active import ActiveTemplates
from tocsin_dispatcher.templating.checking import Checks
from tocsin_dispatcher.templating.children import Children
from tocsin_dispatcher.templating.composing import Worded
from tocsin_dispatcher.templating.failures import Failures
from tocsin_dispatcher.templating.push_tests import PushTests
from tocsin_dispatcher.templating.trials import Trials
from tocsin_dispatcher.templating.versions import Versions
from tocsin_dispatcher.templating.wording import Wording
from tocsin_dispatcher.templating.words import PushWords
from tocsin_dispatcher.timeline.telling import in_english
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import (
    Channel,
    GateRules,
    WorkClass,
)
from tocsin_dispatcher.verifying.codes import Codes
from tocsin_dispatcher.verifying.limits import Limits
from tocsin_dispatcher.verifying.verifications import Verifications
from tocsin_dispatcher.ways import email_and_sms, local_mailbox, smtp_server, vapid_of
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
from tocsin_kit.postgres.kept_plans import LOOK_EVERY, KeptPlans
from tocsin_kit.postgres.migrate import schema_is_ready
from tocsin_kit.postgres.outbox import Outbox, relays
from tocsin_kit.rpc.client import channel
from tocsin_kit.rpc.server import GrpcServer, Registration
from tocsin_kit.rpc.tokens import InternalTokens, TokenVerifier
from tocsin_kit.sealing import Seals
from tocsin_kit.settings import Environment
from tocsin_kit.signed_tokens import signing_keys
from tocsin_kit.telemetry.metrics import Metrics

#: What deliveries become, and jobs, is news that nobody waits for: at a hundred a second, five are told together.
_EVENTS_APART = timedelta(milliseconds=50)


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
    engine, working = make_engine(settings, "tocsin-dispatcher"), make_engine(settings, "tocsin-dispatcher-work")
    plans = KeptPlans(working, GROWING)
    broker = Broker(settings.nats_url, "dispatcher")
    outbox = Outbox.on(tables.outbox, activity, "dispatcher")
    measured = Metrics(metrics)
    announcer = Announcer(outbox, change_to_event, measured)
    news = InboxNews(broker)
    letters = DeadLetters(engine, clock, ids)
    links = UnsubscribeLinks(signing_keys(settings.unsubscribe_key.get_secret_value()), settings.public_url)
    renderer = Renderer(settings.frontend_url, settings.sendgrid_from_name)
    defaults = Defaults(settings.rate_limit_hourly, settings.rate_limit_daily)
    address_key = (settings.address_key or settings.internal_key).get_secret_value().encode()
    rules = Rules(
        GateRules(settings.unverified_email_allowed, settings.critical_hourly),
        defaults,
        address_key,
        timedelta(seconds=settings.lease_seconds),
    )
    bells: dict[Channel, Bell] = {medium: Bell(activity) for medium in Channel if medium is not Channel.IN_APP}
    applier = Applier(announcer, bells, tracer, address_key)
    tokens = InternalTokens(settings.internal_key, clock, "dispatcher")
    evaluator_channel = channel(settings.evaluator_target, tokens=tokens, tracer=tracer)
    evaluator = Evaluator(evaluator_channel)

    call_limit, local = timedelta(seconds=settings.provider_seconds), settings.local_addresses
    seals, codes = Seals(settings.secret_keys, random), Codes(address_key, random)
    children, active_templates = Children(), ActiveTemplates(engine, clock)
    template_failures = Failures(engine, clock, measured, Bell(activity))
    wording = Wording(active_templates, children, template_failures, renderer)
    # Of their own: what banks' staff look at, as often as they like, takes no child from messages.
    trying = Children(size=1)
    checks = Checks(trying, renderer)
    versions = Versions(engine, clock, ids, checks, active_templates, defaults)
    trials = Trials(engine, clock, ids, versions, checks, links, announcer, bells, defaults)
    push_tests = PushTests(engine, clock, wording, renderer, defaults)
    rules_of_urls = UrlRules(settings.push_services, local)

    async with (
        http_client(call_limit, tracer) as http,
        http_client_for_strangers(call_limit, tracer, local) as push_http,
        http_client_for_strangers(call_limit, tracer, local) as webhook_http,
        smtp_server(settings, call_limit, tracer) as smtp,
    ):
        vapid = vapid_of(settings)
        webpush = None if vapid is None else WebPush(vapid, push_http, random)
        webhooks = Webhook(webhook_http)
        ways: list[Way] = [
            *email_and_sms(settings, http, smtp, renderer, links, local_mailbox(engine, clock, ids), wording, codes),
            OwnAddressWay(
                Channel.PUSH,
                Worded(BuiltIn(Push(renderer, seals)), PushWords(wording, seals)),
                webpush or NotSetUp(),
                browsers_of,
            ),
            OwnAddressWay(Channel.WEBHOOK, BuiltIn(WebhookMedium(seals)), webhooks, ReadEndpoints(created_event)),
        ]
        chained = [key for way in ways for key in way.chain]
        paces = {str(provider): pace for provider, pace in settings.provider_paces.items()}
        rooms = {key: room for way in ways for key, room in way.rooms.items()}
        board = BreakerBoard(working, clock, measured, chained, paces, random, (WebPush.name, Webhook.name), rooms)
        shares = {
            Channel.PUSH: Shares(tuple),
            Channel.WEBHOOK: Shares(lambda: map(UUID, board.refusing(Webhook.name))),
        }
        lanes: list[Part] = []
        for way in ways:
            lane = Lane(
                way.channel,
                working,
                slots=settings.worker_concurrency,
                room=partial(board.room, way.chain),
                lease=rules.lease,
                bell=bells[way.channel],
                clock=clock,
                activity=activity,
                shares=shares.get(way.channel),
            )
            recorder = Recorder(
                way.channel,
                working,
                board,
                announcer,
                applier,
                clock=clock,
                random=random,
                metrics=measured,
                activity=activity,
                address_key=address_key,
                after=lane.done,
                chain=way.chain,
            )
            gatekeeper = Gatekeeper(working, way, board, announcer, clock, ids, measured, rules)
            look_ups = LookUps(engine, way, defaults, call_limit, rules.lease)
            batches = Batches(look_ups, way, gatekeeper, recorder, board, evaluator.recheck, clock, lane.done)
            lane.uses(batches, recorder)
            lanes.append(lane)

        intake = Intake(working, announcer, news, bells, clock, ids, InApp(renderer).compose, defaults, wording.inbox)
        profiles = Profiles(engine, bells, clock)
        callbacks = Callbacks(engine, applier, links, clock)
        gauges = Gauges(engine, outbox, measured, clock)
        audit = Audit(engine, evaluator, clock, applier, ProfileAudit(engine, evaluator, clock))
        retention = Retention(engine, clock, settings.archive_notifications, settings.keep)

        def consumer(stream: str, durable: str, door: Door[Any], concurrency: int = 1) -> Consumer:
            return Consumer(
                broker, stream, durable, door.handle, tracer=tracer, activity=activity, concurrency=concurrency
            )

        firings, profiled = firings_door(intake, letters), profiles_door(profiles, letters)
        receipts = receipts_door(callbacks, letters)
        doors: Mapping[str, Door[Any]] = {door.stream: door for door in (firings, profiled, receipts)}
        dead_letters = DeadLetterRpcs(engine, letters, doors)
        parts: list[Part] = [
            *lanes,
            Loop("dispatcher.breakers", board.round, clock=clock, activity=activity, poll=BREAKERS_REFRESH),
            Loop(
                "dispatcher.templates",
                template_failures.round,
                clock=clock,
                activity=activity,
                wake=template_failures.bell,
            ),
            Loop("dispatcher.plans", plans.round, clock=clock, activity=activity, poll=LOOK_EVERY),
            Loop("dispatcher.gauges", gauges.refresh, clock=clock, activity=activity, poll=REFRESH),
            # two full batches of a class at once: while the database has the one, the other is read and worded
            *(consumer("FIRINGS", f"dispatcher-{lane_class}", firings, concurrency=2) for lane_class in WorkClass),
            consumer("PROFILES", "dispatcher-profiles", profiled),
            consumer("RECEIPTS", "dispatcher-receipts", receipts),
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
        limits = Limits(per_partner=settings.verifications_a_day)
        verifications = Verifications(engine, announcer, bells, clock, ids, codes, defaults, address_key, limits)
        destinations = DestinationRpcs(
            Browsers(engine, clock, ids, seals, rules_of_urls, address_key, webpush, push_tests.texts),
            Endpoints(engine, clock, ids, random, seals, rules_of_urls, webhooks, tried_event),
            "" if vapid is None else vapid.public_key,
            ids,
        )
        grpc_server = GrpcServer(
            settings.grpc_port,
            [
                _served(
                    NotificationServicer(engine, announcer, news, clock, TimelineRpc(engine, in_english(renderer)).get),
                    "NotificationService",
                    notification_pb2,
                    notification_pb2_grpc,
                ),
                _served(
                    PreferenceServicer(engine, clock, defaults, address_key, destinations, verifications),
                    "PreferenceService",
                    preference_pb2,
                    preference_pb2_grpc,
                ),
                _served(PartnerServicer(engine, clock, defaults), "PartnerService", partner_pb2, partner_pb2_grpc),
                _served(TemplateServicer(versions, trials, ids), "TemplateService", template_pb2, template_pb2_grpc),
                _served(
                    SuppressionServicer(engine, clock, ids, address_key),
                    "SuppressionService",
                    suppression_pb2,
                    suppression_pb2_grpc,
                ),
                _served(
                    DeliveryServicer(engine, evaluator, bells, clock, ids, dead_letters),
                    "DeliveryService",
                    delivery_pb2,
                    delivery_pb2_grpc,
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
                OpenPool(working, settings, "postgres.pool.working"),
                *relays(working, outbox, publisher, clock=clock, activity=activity, apart=_EVENTS_APART),
            ],
            servers=[admin, grpc_server],
            closing=[
                children.close,
                trying.close,
                broker.close,
                evaluator_channel.close,
                engine.dispose,
                working.dispose,
            ],
        ) as started:
            yield started


def _served(servicer: object, name: str, messages: ModuleType, services: ModuleType) -> Registration:
    """The servicer of a service that two generated modules describe."""
    add = getattr(services, f"add_{name}Servicer_to_server")
    return Registration(servicer, add, messages.DESCRIPTOR.services_by_name[name])


async def _database(engine: AsyncEngine) -> str | None:
    """Why the service is not ready: the database is away, or its schema is older than this code needs."""
    try:
        ready = await schema_is_ready(engine, "tocsin_dispatcher")
    except (SQLAlchemyError, OSError):
        return "cannot be reached"
    return None if ready else "its schema is too old: run `tocsin migrate`"
