"""kill -9 of each service in the middle of a busy day's posting, then a restart: nothing is lost.

The four services and the simulators run as processes of their own on the real clock, as `make run` starts them.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from subprocess import Popen
from typing import Any

import aiohttp
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_devstack.nats import free_port
from tocsin_devstack.processes import spawn, stop
from tocsin_devstack.simulators import SimulatorSettings
from tocsin_devstack.wiring import Secrets, Wiring, target_of
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SystemClock
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.rpc.caller import Scope

SERVICES = ("scheduler", "evaluator", "dispatcher", "gateway")
PURCHASES, LIMIT = 120, timedelta(seconds=90)
NEVER = datetime(2200, 1, 1, tzinfo=UTC)
#: Deliveries that are neither final nor waiting for anything: nothing may be left in them.
UNDER_WAY = ("pending", "sending", "retrying", "unknown")


class Suite:
    """The processes, and who asks them."""

    def __init__(self, folder: Path, urls: dict[str, str], nats_url: str) -> None:
        self.folder, self.urls = folder, urls
        self.secrets = Secrets.by(Random(1))
        self.ports = {service: free_port() for service in SERVICES}
        self.admin = {service: free_port() for service in SERVICES}
        self.http_port = free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        simulated = SimulatorSettings(
            sendgrid_port=free_port(),
            sendgrid_api_key=self.secrets.sendgrid_api_key,
            twilio_port=free_port(),
            twilio_account_sid=self.secrets.twilio_account_sid,
            twilio_auth_token=self.secrets.twilio_auth_token,
            public_url=self.url,
            latency=timedelta(milliseconds=30),
        )
        (folder / "simulators.json").write_text(simulated.model_dump_json())
        self.sendgrid_url = f"http://127.0.0.1:{simulated.sendgrid_port}"
        self.wiring = Wiring(
            secrets=self.secrets,
            database_urls=urls,
            nats_url=nats_url,
            public_url=self.url,
            sendgrid_url=self.sendgrid_url,
            sendgrid_public_key=simulated.sendgrid(Activity()).public_key,
            twilio_url=f"http://127.0.0.1:{simulated.twilio_port}",
            targets={service: target_of([port]) for service, port in self.ports.items()},
        )
        self.simulators = spawn(
            [sys.executable, "-m", "tocsin_devstack.simulators", folder / "simulators.json"],
            log=folder / "simulators.log",
        )
        self.processes: dict[str, Popen[bytes]] = {service: self.started(service) for service in SERVICES}

    def started(self, service: str) -> "Popen[bytes]":
        """A process of the service, on the same ports each time."""
        told = self.wiring.of(
            service, grpc_port=self.ports[service], admin_port=self.admin[service], http_port=self.http_port
        )
        environment = {"PATH": os.environ["PATH"], **told}  # noqa: TID251 - the child's, not ours
        return spawn(
            [sys.executable, "-m", f"tocsin_{service}"], log=self.folder / f"{service}.log", environment=environment
        )

    def kill_nine(self, service: str) -> None:
        """SIGKILL, and a new process at once."""
        self.processes[service].kill()
        self.processes[service].wait(10)
        self.processes[service] = self.started(service)

    def stop(self) -> None:
        for process in (*self.processes.values(), self.simulators):
            stop(process, limit=timedelta(seconds=20))

    async def until(self, what: str, check: Any) -> None:
        """Return when `check` answers true; fails after LIMIT, naming what was waited for."""
        said: object = None
        clock = SystemClock()
        ends = clock.now() + LIMIT
        while clock.now() < ends:
            said = await check()
            if said is True:
                return
            await clock.sleep_until(clock.now() + timedelta(milliseconds=200))
        pytest.fail(f"waited {LIMIT} for {what}: {said}")

    async def ready(self, http: aiohttp.ClientSession, service: str) -> object:
        """True when the service says so."""
        try:
            async with http.get(f"http://127.0.0.1:{self.admin[service]}/readyz") as answer:
                return answer.status == 200 or answer.status
        except aiohttp.ClientError as error:
            return str(error)

    async def post(self, http: aiohttp.ClientSession, path: str, body: object, token: str) -> None:
        """Post as a client does: again until it is answered well, for the request may have been done already."""

        async def posted() -> object:
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(hash(str(body)))}
            try:
                async with http.post(self.url + path, json=body, headers=headers) as answer:
                    return answer.status < 300 or f"{answer.status} {await answer.text()}"
            except (aiohttp.ClientError, TimeoutError) as error:
                return repr(error)

        await self.until(f"POST {path}", posted)

    async def rows(self, service: str, query: str) -> list[Any]:
        """What the service's database answers."""
        engine = create_async_engine(make_url(self.urls[service]).set(drivername="postgresql+asyncpg"))
        try:
            async with engine.connect() as connection:
                return list((await connection.execute(text(query))).all())
        finally:
            await engine.dispose()

    async def all_done(self) -> object:
        """True when every purchase is told and no delivery is under way."""
        told = (await self.rows("dispatcher", "SELECT count(*) FROM notifications"))[0][0]
        states = await self.rows("dispatcher", "SELECT status, count(*) FROM deliveries GROUP BY status")
        left = {status: n for status, n in states if status in UNDER_WAY}
        return True if told == PURCHASES and not left else f"{told} told, {dict(map(tuple, states))}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", SERVICES)
async def test_nothing_is_lost_when_a_service_is_killed_in_the_middle_of_a_busy_day(
    victim: str, make_database: MakeDatabase, broker_url: str, tmp_path: Path
) -> None:
    urls = {service: await make_database(service) for service in SERVICES}
    await apply_to(broker_url)
    suite = Suite(tmp_path, urls, broker_url)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=12)) as http:
            for service in SERVICES:
                await suite.until(f"{service} ready", partial(suite.ready, http, service))
            await live_a_busy_day(suite, http, victim)
            await suite.until("every purchase told", suite.all_done)
            await check_the_books(suite, http)
    finally:
        suite.stop()


async def live_a_busy_day(suite: Suite, http: aiohttp.ClientSession, victim: str) -> None:
    """A person, an alert and many purchases; the victim is killed when a third of them is posted."""
    bank = suite.secrets.partner_token(1, Scope.SERVICE, NEVER)
    person = {"user_id": "1", "email": "pat@example.com", "email_verified": True, "time_zone": "UTC"}
    await suite.post(http, "/api/v2/ingest/profiles", {"profiles": [person]}, bank)
    user = suite.secrets.user_token(1, 1, NEVER)
    await suite.post(http, "/api/v2/alerts", {"transaction_limit": {"amount": "100.00", "currency": "USD"}}, user)
    today = f"{SystemClock().now():%Y-%m-%d}"
    for number in range(1, PURCHASES + 1):
        item = {
            "id": str(number),
            "user_id": "1",
            "account_id": "11",
            "amount": "-150.00",
            "currency": "USD",
            "merchant": f"Shop {number}",
            "posted_on": today,
        }
        await suite.post(http, "/api/v2/ingest/transactions", {"transactions": [item]}, bank)
        if number == PURCHASES // 3:
            suite.kill_nine(victim)


async def check_the_books(suite: Suite, http: aiohttp.ClientSession) -> None:
    """Firings and notifications are the same; repeats at the provider only where an attempt is marked."""
    fired = {row.id for row in await suite.rows("evaluator", "SELECT id FROM firings")}
    told = {row.id for row in await suite.rows("dispatcher", "SELECT id FROM notifications")}
    assert fired == told
    assert len(fired) == PURCHASES
    async with http.get(f"{suite.sendgrid_url}/_control/account") as answer:
        calls = (await answer.json())["accepted"]
    by_delivery: dict[str, int] = {}
    for call in calls:
        by_delivery[call["delivery_id"]] = by_delivery.get(call["delivery_id"], 0) + 1
    marked = {
        str(row.delivery_id)
        for row in await suite.rows("dispatcher", "SELECT delivery_id FROM attempts WHERE possible_duplicate")
    }
    unexplained = {id_: n for id_, n in by_delivery.items() if n > 1 and id_ not in marked}
    assert unexplained == {}
    sent = {
        str(row.id)
        for row in await suite.rows(
            "dispatcher", "SELECT id FROM deliveries WHERE channel = 'email' AND status IN ('sent', 'delivered')"
        )
    }
    assert sent <= by_delivery.keys(), "a delivery says that it was sent, and the provider knows nothing of it"
