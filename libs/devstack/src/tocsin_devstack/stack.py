"""All four services in this process, on real PostgreSQL and NATS, with provider simulators and a clock of your choice.

    async with stack(databases, nats.url, clock=clock) as running:
        await running.rest("POST", "/api/v2/alerts", token=running.user_token(1), body={...})
        await running.settle()                       # until nothing is under way
        await running.move_to(instant)               # from one due instant to the next, settling at each
        assert running.sendgrid.account.to("pat@example.com")
        alerts = AlertServiceStub(running.channels["evaluator"])
        await alerts.ListAlerts(ListAlertsRequest(), metadata=running.as_user(1))

It uses the services' own `app.py`: what works here works as separate processes. `databases` are addresses of migrated
databases by service; `replicas={"dispatcher": 2}` starts two that share theirs.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import grpc
from opentelemetry.trace import NoOpTracer
from prometheus_client import CollectorRegistry

from tocsin_devstack.faults import Faults
from tocsin_devstack.nats import free_port
from tocsin_devstack.otlp import Spans
from tocsin_devstack.push_service import PushService
from tocsin_devstack.sendgrid import SendGridSimulator
from tocsin_devstack.server import serving
from tocsin_devstack.smtp import SmtpSimulator, taking_mail
from tocsin_devstack.twilio import TwilioSimulator
from tocsin_devstack.webhook_receiver import WebhookReceiver
from tocsin_devstack.wiring import SMTP_USERNAME, Secrets, Wiring, target_of
from tocsin_dispatcher.app import dispatcher
from tocsin_dispatcher.settings import DispatcherSettings
from tocsin_evaluator.app import evaluator
from tocsin_evaluator.settings import EvaluatorSettings
from tocsin_gateway.app import gateway
from tocsin_gateway.settings import GatewaySettings
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock, SteppedClock, SystemClock
from tocsin_kit.ids import SeededIds, SystemIds
from tocsin_kit.lifecycle import App, Running
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.client import channel
from tocsin_kit.settings import ServiceSettings
from tocsin_kit.telemetry.setup import make_tracer_provider, shut_down_tracing
from tocsin_scheduler.app import scheduler
from tocsin_scheduler.settings import SchedulerSettings

#: In the order they start: each finds those it calls.
APPS: Mapping[str, tuple[App, type[ServiceSettings]]] = {
    "scheduler": (scheduler, SchedulerSettings),
    "evaluator": (evaluator, EvaluatorSettings),
    "dispatcher": (dispatcher, DispatcherSettings),
    "gateway": (gateway, GatewaySettings),
}
SETTLED_WITHIN = timedelta(seconds=60)
_NEVER = datetime(2200, 1, 1, tzinfo=UTC)
_EXPORT_EVERY = timedelta(milliseconds=100)

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answer:
    """What the gateway answered: `body` parsed where it is JSON, else the text."""

    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Stack:
    """The running services and everything to ask and order them."""

    clock: Clock
    activity: Activity
    secrets: Secrets
    database_urls: Mapping[str, str]
    nats_url: str
    base_url: str
    services: Mapping[str, tuple[Running, ...]]
    channels: Mapping[str, grpc.aio.Channel]
    registries: Mapping[str, tuple[CollectorRegistry, ...]]
    sendgrid: SendGridSimulator
    twilio: TwilioSimulator
    push: PushService
    webhooks: WebhookReceiver
    smtp: SmtpSimulator
    faults: Faults
    http: aiohttp.ClientSession

    def user_token(self, user_id: int, partner_id: int = 1) -> str:
        """A user's bearer token that does not expire."""
        return self.secrets.user_token(user_id, partner_id, _NEVER)

    def service_token(self, partner_id: int = 1) -> str:
        """The bearer token of a bank's back end."""
        return self.secrets.partner_token(partner_id, Scope.SERVICE, _NEVER)

    def partner_token(self, partner_id: int = 1) -> str:
        """The bearer token of a bank's staff."""
        return self.secrets.partner_token(partner_id, Scope.PARTNER, _NEVER)

    def admin_token(self) -> str:
        """An operator's bearer token."""
        return self.secrets.admin_token(_NEVER)

    def as_user(self, user_id: int, partner_id: int = 1) -> Metadata:
        """gRPC metadata of a user."""
        return _bearer(self.user_token(user_id, partner_id))

    def as_service(self, partner_id: int = 1) -> Metadata:
        """gRPC metadata of a bank's back end."""
        return _bearer(self.service_token(partner_id))

    def as_partner(self, partner_id: int = 1) -> Metadata:
        """gRPC metadata of a bank's staff."""
        return _bearer(self.partner_token(partner_id))

    def as_admin(self) -> Metadata:
        """gRPC metadata of an operator."""
        return _bearer(self.admin_token())

    async def rest(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call the gateway; `body` is sent as JSON."""
        sent = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        async with self.http.request(method, self.base_url + path, json=body, headers=sent) as response:
            is_json = "json" in response.headers.get("Content-Type", "")
            content = await response.json(content_type=None) if is_json else await response.text()
            return Answer(response.status, content, response.headers)

    async def settle(self, limit: timedelta = SETTLED_WITHIN) -> None:
        """Return when nothing is under way and nothing due at the clock's instant.

        Raises NotQuiet naming what is left, or the error of a service's part that failed.
        """
        quiet = asyncio.ensure_future(self.activity.until_quiet(limit, self.clock.now()))
        failures = [asyncio.ensure_future(one.failed()) for each in self.services.values() for one in each]
        try:
            await asyncio.wait([quiet, *failures], return_when=asyncio.FIRST_COMPLETED)
            for failure in failures:
                if failure.done():
                    await failure
            await quiet
        finally:
            for task in (quiet, *failures):
                task.cancel()

    async def move_to(self, instant: datetime) -> None:
        """Move the (stepped) clock to `instant`, stopping at each instant on the way at which something is due."""
        if not isinstance(self.clock, SteppedClock):
            raise TypeError("only a stepped clock can be moved")
        await self.settle()
        while (due := self.activity.next_due()) is not None and due <= instant:
            self.clock.move_to(due)
            await self.settle()
        if self.clock.now() < instant:
            self.clock.move_to(instant)
            await self.settle()


@asynccontextmanager
async def stack(
    databases: Mapping[str, str],
    nats_url: str,
    *,
    clock: Clock,
    seed: int = 0,
    replicas: Mapping[str, int] | None = None,
    settings: Mapping[str, Mapping[str, str]] | None = None,
    contracts: Path | None = None,
    spans: Spans | None = None,
    smtp: bool = False,
    latency: timedelta = timedelta(),
    callback_step: timedelta = timedelta(),
) -> AsyncIterator[Stack]:
    """Start everything, apply the streams, yield, stop everything; raises what a service's part failed of.

    `settings` are further environment variables by service (`{"dispatcher": {"RATE_LIMIT_HOURLY": "3"}}`); `contracts`
    is the folder of the providers' documents, requests are checked against them; `spans` receives all traces; with
    `smtp` there is a second provider of e-mail;
    `latency` is how long providers take to answer (real time), `callback_step` the clock's time between callbacks.
    """
    activity, faults, secrets = Activity(), Faults(), Secrets.by(Random(seed))  # noqa: S311 repeatable on purpose
    counts = {service: (replicas or {}).get(service, 1) for service in APPS}
    await apply_to(nats_url)
    http_ports = [free_port() for _ in range(counts["gateway"])]
    public_url = f"http://127.0.0.1:{http_ports[0]}"
    sendgrid = SendGridSimulator(
        clock=clock,
        activity=activity,
        random=Random(f"{seed}:sendgrid"),  # noqa: S311
        api_key=secrets.sendgrid_api_key,
        callback_url=f"{public_url}/webhooks/sendgrid",
        faults=faults,
        contracts=contracts,
        latency=latency,
        callback_step=callback_step,
    )
    twilio = TwilioSimulator(
        clock=clock,
        activity=activity,
        random=Random(f"{seed}:twilio"),  # noqa: S311
        account_sid=secrets.twilio_account_sid,
        auth_token=secrets.twilio_auth_token,
        inbound_url=f"{public_url}/webhooks/twilio/inbound",
        faults=faults,
        contracts=contracts,
        latency=latency,
        callback_step=callback_step,
    )
    push = PushService(
        clock=clock,
        activity=activity,
        random=Random(f"{seed}:push"),  # noqa: S311
        faults=faults,
        latency=latency,
    )
    webhooks = WebhookReceiver(clock=clock, activity=activity, faults=faults, latency=latency)
    mail = SmtpSimulator(
        clock=clock,
        activity=activity,
        faults=faults,
        username=SMTP_USERNAME,
        password=secrets.smtp_password,
        latency=latency,
    )
    async with AsyncExitStack() as opened:
        # first in, last out: callbacks still find the gateway, and the gateway stops before who it calls
        http = await opened.enter_async_context(aiohttp.ClientSession())
        sendgrid_url = await opened.enter_async_context(serving(sendgrid))
        twilio_url = await opened.enter_async_context(serving(twilio))
        push.base_url = await opened.enter_async_context(serving(push))
        webhooks.base_url = await opened.enter_async_context(serving(webhooks))
        smtp_port = await opened.enter_async_context(taking_mail(mail))
        grpc_ports = {service: [free_port() for _ in range(count)] for service, count in counts.items()}
        wiring = Wiring(
            secrets=secrets,
            database_urls=databases,
            nats_url=nats_url,
            public_url=public_url,
            sendgrid_url=sendgrid_url,
            sendgrid_public_key=sendgrid.public_key,
            twilio_url=twilio_url,
            smtp_port=smtp_port if smtp else None,
            local_endpoints=[url.removeprefix("http://") for url in (push.base_url, webhooks.base_url)],
            targets={service: target_of(ports) for service, ports in grpc_ports.items()},
            otlp_endpoint=spans.endpoint if spans is not None else None,
        )
        starting = _Starting(opened, wiring, clock, activity, seed, settings or {})
        services: dict[str, tuple[Running, ...]] = {}
        for service, count in counts.items():
            ports = [(grpc_ports[service][n], http_ports[n] if service == "gateway" else 0) for n in range(count)]
            services[service] = tuple([await starting.start(service, n, *ports[n]) for n in range(count)])
        tracer = NoOpTracer()
        channels = {name: channel(target, tokens=None, tracer=tracer) for name, target in wiring.targets.items()}
        for one in channels.values():
            opened.push_async_callback(one.close)
        yield Stack(
            clock=clock,
            activity=activity,
            secrets=secrets,
            database_urls=databases,
            nats_url=nats_url,
            base_url=public_url,
            services=services,
            channels=channels,
            registries={service: tuple(made) for service, made in starting.registries.items()},
            sendgrid=sendgrid,
            twilio=twilio,
            push=push,
            webhooks=webhooks,
            smtp=mail,
            faults=faults,
            http=http,
        )


class _Starting:
    """Starts replicas into an exit stack."""

    def __init__(
        self,
        opened: AsyncExitStack,
        wiring: Wiring,
        clock: Clock,
        activity: Activity,
        seed: int,
        settings: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._opened, self._wiring, self._clock, self._activity = opened, wiring, clock, activity
        self._seed, self._settings = seed, settings
        self.registries: dict[str, list[CollectorRegistry]] = {}

    async def start(self, service: str, number: int, grpc_port: int, http_port: int) -> Running:
        """Start one replica of a service, as its `__main__` would, but with our clock, ids and chance."""
        app, kind = APPS[service]
        told = self._wiring.of(service, grpc_port=grpc_port, http_port=http_port)
        settings = kind.model_validate({**told, **self._settings.get(service, {})})
        provider = make_tracer_provider(f"tocsin-{service}", self._wiring.otlp_endpoint, schedule=_EXPORT_EVERY)
        self._opened.push_async_callback(shut_down_tracing, provider)
        registry = CollectorRegistry()
        self.registries.setdefault(service, []).append(registry)
        is_real = isinstance(self._clock, SystemClock)
        seed = zlib.crc32(f"{self._seed}:{service}:{number}".encode())  # hash() differs from run to run
        return await self._opened.enter_async_context(
            app(
                settings,
                clock=self._clock,
                ids=SystemIds(self._clock) if is_real else SeededIds(seed, self._clock),
                random=Random(seed),  # noqa: S311
                metrics=registry,
                tracer_provider=provider,
                activity=self._activity,
            )
        )


def _bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)
