"""What the tests of the simulators share: a place where callbacks arrive, and the simulators pointed at it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tocsin_devstack.contracts import provider_documents
from tocsin_devstack.sendgrid import SendGridSimulator
from tocsin_devstack.server import serving
from tocsin_devstack.twilio import TwilioSimulator
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock

API_KEY = "SG.a-key-for-tests"
ACCOUNT_SID = "AC" + "0" * 32
AUTH_TOKEN = "a-token-for-tests"


@dataclass(frozen=True)
class Arrived:
    """One callback as it came in."""

    path: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Receiver:
    """Takes callbacks; answers with `answers` one after the other, then 204."""

    url: str = ""
    arrived: list[Arrived] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.arrived.append(Arrived(request.path_qs, await request.read(), dict(request.headers)))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)


@dataclass(frozen=True)
class Provider:
    """A running simulator with what a test needs to call it and wait for it."""

    url: str
    http: aiohttp.ClientSession
    receiver: Receiver
    clock: SteppedClock
    activity: Activity

    async def settle(self) -> None:
        """Wait until everything due at the clock's instant has happened."""
        await self.activity.until_quiet(timedelta(seconds=10), self.clock.now())


@dataclass(frozen=True)
class SendGrid(Provider):
    simulator: SendGridSimulator

    async def send(self, mail: object, key: str = API_KEY) -> aiohttp.ClientResponse:
        headers = {"Authorization": f"Bearer {key}"}
        return await self.http.post(f"{self.url}/v3/mail/send", json=mail, headers=headers)


def basic(token: str) -> dict[str, str]:
    """HTTP basic authentication of the account with `token`."""
    return {"Authorization": "Basic " + base64.b64encode(f"{ACCOUNT_SID}:{token}".encode()).decode()}


@dataclass(frozen=True)
class Twilio(Provider):
    simulator: TwilioSimulator

    @property
    def messages(self) -> str:
        return f"{self.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"

    async def create(self, form: dict[str, str], token: str = AUTH_TOKEN) -> aiohttp.ClientResponse:
        return await self.http.post(f"{self.messages}.json", data=form, headers=basic(token))

    async def get(self, url: str, **query: str) -> aiohttp.ClientResponse:
        return await self.http.get(url, params=query, headers=basic(AUTH_TOKEN))


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture(scope="session")
def contracts_if_there() -> Path | None:
    return provider_documents()


@pytest_asyncio.fixture
async def sendgrid(clock: SteppedClock, contracts_if_there: Path | None) -> AsyncIterator[SendGrid]:
    activity = Activity()
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        simulator = SendGridSimulator(
            clock=clock,
            activity=activity,
            random=Random(7),
            api_key=API_KEY,
            callback_url=f"{receiver.url}/webhooks/sendgrid",
            contracts=contracts_if_there,
        )
        async with serving(simulator) as url:
            await asyncio.wait_for(activity.until_quiet(timedelta(seconds=5)), 5)
            yield SendGrid(url, http, receiver, clock, activity, simulator)


@pytest_asyncio.fixture
async def twilio(clock: SteppedClock, contracts_if_there: Path | None) -> AsyncIterator[Twilio]:
    activity = Activity()
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        simulator = TwilioSimulator(
            clock=clock,
            activity=activity,
            random=Random(7),
            account_sid=ACCOUNT_SID,
            auth_token=AUTH_TOKEN,
            inbound_url=f"{receiver.url}/webhooks/twilio/inbound",
            contracts=contracts_if_there,
        )
        async with serving(simulator) as url:
            await asyncio.wait_for(activity.until_quiet(timedelta(seconds=5)), 5)
            yield Twilio(url, http, receiver, clock, activity, simulator)
