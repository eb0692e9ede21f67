"""Push messages to browsers of two push services over HTTP: what stops a push service's messages, and whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from opentelemetry.trace import NoOpTracer

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.delivering.way import OwnAddressWay, Sent
from tocsin_dispatcher.destinations.reading import browsers_of
from tocsin_dispatcher.destinations.urls import UrlRules, service_of
from tocsin_dispatcher.providers.http import http_client_for_strangers
from tocsin_dispatcher.providers.push_encryption import encoded_point
from tocsin_dispatcher.providers.vapid import Vapid, new_key
from tocsin_dispatcher.providers.webpush import WebPush
from tocsin_dispatcher.store.push_subscriptions import StoredSubscription, put
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    Destination,
    Notification,
    PushMessage,
    PushSubscription,
    Recipient,
    SmsMessage,
)

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

#: So many messages an hour each user gets.
A_USER_S = 10
FOREIGNERS = range(1, 6)
OURS = 6
POINT = encoded_point(new_key(Random(1)).public_key())


@dataclass
class PushService:
    """Takes what it gets, but for browsers whose names begin with one of `answers`: those are answered that status."""

    answers: dict[str, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    url: str = ""

    @property
    def name(self) -> str:
        """As its breaker has it."""
        return self.url.removeprefix("http://").replace(":", "_")

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    async def push(self, request: web.Request) -> web.Response:
        """One message."""
        browser = request.match_info["browser"]
        self.asked[browser] += 1
        known = (status for begins, status in self.answers.items() if browser.startswith(begins))
        return web.Response(status=next(known, 201))


@asynccontextmanager
async def listening(service: PushService) -> AsyncIterator[PushService]:
    """It answers, on a port of its own."""
    app = web.Application()
    app.router.add_post("/push/{browser}", service.push)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    service.url = f"http://{host}:{port}"
    try:
        yield service
    finally:
        await runner.cleanup()


class Brief:
    """The same message for every browser, whose row holds its URL as it is."""

    async def compose(
        self, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> PushMessage:
        browser = recipient.destination
        assert isinstance(browser, PushSubscription)
        return PushMessage(browser.sealed.decode(), POINT, b"a" * 16, b"{}", urgent=False)

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        return None


@dataclass
class ByWebPush(ScriptedWay):
    """The real way of push messages."""

    channel: Channel = Channel.PUSH
    chain: Sequence[BreakerKey] = ()
    way: OwnAddressWay[PushMessage] | None = None

    def chain_to(self, destination: Destination | None) -> Sequence[BreakerKey]:
        assert self.way is not None
        return self.way.chain_to(destination)

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        assert self.way is not None
        return await self.way.send(key, attempt, notification, recipient, now)


@dataclass
class Pushing:
    """A replica whose push messages leave by HTTP, and two push services."""

    bench: Bench
    rules: UrlRules
    one: PushService
    other: PushService

    async def subscribe(self, user_id: int, service: PushService, *names: str) -> None:
        """Browsers of a user."""
        for name in names:
            url, now = f"{service.url}/push/{name}", self.bench.clock.now()
            known_as = service_of(self.rules.checked_push(url))
            stored = StoredSubscription(1, self.bench.ids.uuid7(), user_id, name, known_as, url.encode(), now)
            async with self.bench.engine.begin() as connection:
                await put(connection, stored, url.encode())

    async def tell(self, *user_ids: int) -> None:
        """A message to every browser of these, as far as it may leave now."""
        await self.bench.intake.take_in([self.bench.firing(user_id=user_id) for user_id in user_ids])
        await self.bench.quiet()

    async def breakers(self) -> Mapping[tuple[str, str], str]:
        """The state of those that have something to tell."""
        rows = await self.bench.rows("SELECT provider, subject, state FROM breakers")
        return {(row.provider, row.subject): row.state for row in rows}

    async def fates(self, service: PushService) -> Mapping[tuple[str, str | None], int]:
        """What became of the messages to a push service's browsers, by state and reason."""
        rows = await self.bench.rows(
            "SELECT d.status, d.reason, count(*) AS many FROM deliveries d"
            "  JOIN push_subscriptions s ON s.partner_id = d.partner_id AND s.id = d.destination_id"
            " WHERE s.service = :name GROUP BY 1, 2",
            name=service.name,
        )
        return {(row.status, row.reason): row.many for row in rows}


@pytest.fixture
async def pushing(benches: MakeBench) -> AsyncIterator[Pushing]:
    """Working, with nobody subscribed."""
    way, random = ByWebPush(read=browsers_of), Random(7)
    bench = await benches(way)
    async with listening(PushService()) as one, listening(PushService()) as other:
        local = (one.address, other.address)
        async with http_client_for_strangers(timedelta(seconds=10), NoOpTracer(), local) as http:
            webpush = WebPush(Vapid(new_key(random), "mailto:push@bank.example"), http, random)
            way.way = OwnAddressWay(Channel.PUSH, Brief(), webpush, browsers_of)
            for user_id in (*FOREIGNERS, OURS):
                await bench.profile(user_id)
            async with bench.working():
                yield Pushing(bench, UrlRules(local=frozenset(local)), one, other)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("foreign", [5, 50])
async def test_browsers_that_subscribed_with_a_key_of_their_own_stop_nobody_else_s_messages(
    pushing: Pushing, status: int, foreign: int
) -> None:
    pushing.one.answers = {"foreign": status}
    for number in range(foreign):
        await pushing.subscribe(FOREIGNERS[number // A_USER_S], pushing.one, f"foreign-{number}")
    await pushing.subscribe(OURS, pushing.one, "laptop")
    await pushing.tell(*FOREIGNERS)
    assert pushing.one.asked.total() == foreign
    assert await pushing.breakers() == {}
    assert await pushing.fates(pushing.one) == {("retrying", None): foreign}
    await pushing.tell(OURS)
    assert pushing.one.asked["laptop"] == 1
    assert await pushing.fates(pushing.one) == {("retrying", None): foreign, ("sent", None): 1}

    rows = await pushing.bench.rows("SELECT DISTINCT outcome, status_code FROM attempts WHERE outcome <> 'accepted'")
    assert [tuple(row) for row in rows] == [("transient", status)], "it is told as what it is"
    due = await pushing.bench.rows("SELECT max(due_at) AS last FROM deliveries WHERE status = 'retrying'")
    assert due[0].last - pushing.bench.clock.now() <= timedelta(seconds=2.5), "and tried again as before"


async def test_a_push_service_that_fails_five_times_is_left_alone(pushing: Pushing) -> None:
    pushing.one.answers = {"browser": 500}
    await pushing.subscribe(1, pushing.one, *(f"browser-{number}" for number in range(5)))
    await pushing.subscribe(OURS, pushing.one, "laptop")
    await pushing.tell(1)
    assert pushing.one.asked.total() == 5
    assert await pushing.breakers() == {("webpush", pushing.one.name): "open"}
    await pushing.tell(OURS)
    assert pushing.one.asked["laptop"] == 0
    assert await pushing.fates(pushing.one) == {("retrying", None): 5, ("pending", "breaker_open"): 1}


async def test_the_browsers_of_one_push_service_share_a_breaker_and_those_of_another_have_theirs(
    pushing: Pushing,
) -> None:
    """Neither browser fails often enough alone."""
    pushing.one.answers = {"": 500}
    await pushing.subscribe(1, pushing.one, "laptop", "phone")
    await pushing.subscribe(1, pushing.other, "tablet")
    for _ in range(3):
        await pushing.tell(1)
    asked = dict(pushing.one.asked)
    assert max(asked.values()) < 5 <= sum(asked.values())
    assert await pushing.breakers() == {("webpush", pushing.one.name): "open"}
    await pushing.tell(1)
    assert pushing.one.asked == asked, "neither is called any more"
    assert (await pushing.fates(pushing.one))[("pending", "breaker_open")] == 8 - sum(asked.values())
    assert await pushing.fates(pushing.other) == {("sent", None): 4}
