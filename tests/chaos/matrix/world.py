"""A world of its own: PostgreSQL, NATS, the four services and the simulators, as processes on the real clock."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import aiohttp

from tests.chaos.callers import Callers
from tests.chaos.matrix.barriers import Barriers
from tests.chaos.matrix.cells import Way
from tests.chaos.matrix.people import People
from tests.chaos.matrix.records import Records, Simulators
from tests.chaos.suite import SECOND_DISPATCHER, SERVICES, Conditions, Processes
from tests.chaos.waiting import until
from tocsin_devstack.faults import Provider, Receiver
from tocsin_devstack.nats import NatsServer, running_nats
from tocsin_devstack.postgres import Databases, PostgresServer, running_postgres
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.postgres.migrate import migrate

#: A call's time limit: long enough for all calls of a round to stand side by side before the blow falls.
CALL_LIMIT = timedelta(seconds=4)
LEASE = CALL_LIMIT + timedelta(seconds=5)
_LATENCY, _EVENT_STEP = timedelta(milliseconds=200), timedelta(milliseconds=500)
_ANSWER_LIMIT = aiohttp.ClientTimeout(total=12)
#: They would fail for good while the service they ask is dead; what they heal is no part of this.
_AUDITS = ("evaluate-audit", "dispatch-audit", "gateway-audit")


@dataclass(frozen=True)
class World:
    """What a round has in hand."""

    postgres: PostgresServer
    nats: NatsServer
    processes: Processes
    callers: Callers
    people: People
    records: Records
    barriers: Barriers
    http: aiohttp.ClientSession

    @property
    def simulators(self) -> Simulators:
        """The providers of all ways."""
        return self.records.simulators

    async def wait_ready(self, name: str) -> None:
        """Return when the process says that it is."""
        await until(f"{name} ready", partial(self._ready, name))

    async def begin_a_second_dispatcher(self) -> None:
        """A replica; returns when it works."""
        self.processes.start(SECOND_DISPATCHER)
        await self.wait_ready(SECOND_DISPATCHER)

    async def _ready(self, name: str) -> object:
        if name in self.processes.ended():
            raise AssertionError(f"{name} ended by itself while it started: see its log (--keep)")
        try:
            async with self.http.get(f"http://127.0.0.1:{self.processes.admin_ports[name]}/readyz") as answer:
                return answer.status == 200 or answer.status
        except aiohttp.ClientError as error:
            return str(error)


def ways_of(mail: Way, ways: frozenset[Way]) -> list[Way]:
    """The ways of a world in which e-mail leaves by `mail`: what else leaves does so in the one with SendGrid."""
    here = {mail} if mail is Way.SMTP else set(Way) - {Way.SMTP}
    return [way for way in Way if way in here & ways]


@asynccontextmanager
async def world(folder: Path, mail: Way, migrating: asyncio.Lock) -> AsyncIterator[World]:
    """Everything started and ready; stopped at the end. `mail` is the provider by which e-mail leaves; the lock is
    all worlds', for Alembic migrates one database of a process at a time."""
    with running_postgres(folder / "postgres", durable=False) as postgres, running_nats(folder / "nats") as nats:
        async with migrating:
            urls = await _prepared(postgres, nats.url)
        conditions = Conditions(
            lease=LEASE,
            latency=_LATENCY,
            event_step=_EVENT_STEP,
            smtp=True,
            dispatcher={
                "TOCSIN_EMAIL_PROVIDERS": mail,
                "TOCSIN_PROVIDER_SECONDS": f"{CALL_LIMIT.total_seconds():g}",
                "TOCSIN_SMTP_CONNECTIONS": "40",
            },
        )
        logs = folder / "logs"
        logs.mkdir()
        processes = Processes(logs, urls, nats.url, conditions)
        try:
            async with aiohttp.ClientSession(timeout=_ANSWER_LIMIT) as http:
                made = _world(postgres, nats, processes, http)
                await made.barriers.build()
                await asyncio.gather(*(made.wait_ready(service) for service in SERVICES))
                for schedule in _AUDITS:
                    await made.callers.set_cron(schedule, "0 4 * * *")
                yield made
        finally:
            processes.stop()


async def _prepared(postgres: PostgresServer, nats_url: str) -> Mapping[str, str]:
    databases = Databases(postgres)
    urls = {service: await databases.create(service) for service in SERVICES}
    for service, url in urls.items():
        await migrate(url, f"tocsin_{service}")
    await apply_to(nats_url)
    return urls


def _world(postgres: PostgresServer, nats: NatsServer, processes: Processes, http: aiohttp.ClientSession) -> World:
    callers = Callers(http, processes.url, processes.secrets)
    receivers = processes.receiver_urls
    simulators = Simulators(
        http,
        {
            Way.SENDGRID: processes.provider_urls[Provider.SENDGRID],
            Way.SMTP: receivers[Receiver.SMTP],
            Way.SMS: processes.provider_urls[Provider.TWILIO],
            Way.PUSH: receivers[Receiver.WEBPUSH],
            Way.WEBHOOK: receivers[Receiver.WEBHOOK],
        },
    )
    administrator = {service: postgres.url(f"tocsin_{service}") for service in SERVICES}
    return World(
        postgres=postgres,
        nats=nats,
        processes=processes,
        callers=callers,
        people=People(callers, http, receivers[Receiver.WEBPUSH], receivers[Receiver.WEBHOOK]),
        records=Records(administrator, simulators),
        barriers=Barriers(postgres.url("tocsin_dispatcher")),
        http=http,
    )
