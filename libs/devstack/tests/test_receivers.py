"""The simulated push service and the simulated receiver of webhooks are as strict as the real ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from tocsin_devstack.faults import CallBehaviour, CallFault, Receiver
from tocsin_devstack.push_service import PushService
from tocsin_devstack.server import serving
from tocsin_devstack.webhook_receiver import WebhookReceiver
from tocsin_dispatcher.destinations.push_keys import decoded
from tocsin_dispatcher.providers.push_encryption import encrypted
from tocsin_dispatcher.providers.vapid import Vapid, new_key
from tocsin_dispatcher.providers.webhook import headers, written
from tocsin_dispatcher.values import Attempt, WebhookMessage
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock

TOLD = {"id": "1", "title": "Hello", "message": "World", "action_url": "https://app.example"}
SECRET = b"s" * 32


@pytest.fixture
async def push(clock: SteppedClock) -> AsyncIterator[PushService]:
    """A push service that serves."""
    service = PushService(clock=clock, activity=Activity(), random=Random(0))
    async with serving(service) as service.base_url:
        yield service


@pytest.fixture
async def receiver(clock: SteppedClock) -> AsyncIterator[WebhookReceiver]:
    """A receiver of webhooks that serves."""
    made = WebhookReceiver(clock=clock, activity=Activity())
    async with serving(made) as made.base_url:
        yield made


async def posted(url: str, body: bytes, told: dict[str, str]) -> int:
    """The status of the answer."""
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=told) as answer:
        return answer.status


def message(push: PushService, clock: SteppedClock, **changes: str) -> tuple[str, bytes, dict[str, str]]:
    """A good push message to the laptop, but for the headers named."""
    subscription: dict[str, Any] = push.browser("laptop")
    keys = subscription["keys"]
    body = encrypted(
        json.dumps(TOLD).encode(), decoded(keys["p256dh"]), decoded(keys["auth"]), new_key(Random(1)), b"s" * 16
    )
    told = {
        "Authorization": Vapid(new_key(Random(2)), "mailto:a@b.example").authorization(push.base_url, clock.now()),
        "Content-Encoding": "aes128gcm",
        "TTL": "60",
    }
    return subscription["endpoint"], body, {**told, **changes}


async def test_a_good_push_message_is_read_by_its_browser(push: PushService, clock: SteppedClock) -> None:
    assert await posted(*message(push, clock)) == 201
    [taken] = push.account.accepted
    assert (taken.recipient, taken.subject, taken.text) == ("laptop", "Hello", "World")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer token"}, 401),
        ({"Content-Encoding": "aesgcm"}, 400),
        ({"TTL": "soon"}, 400),
        ({"Urgency": "very"}, 400),
        ({"Topic": "x" * 33}, 400),
    ],
)
async def test_a_push_message_without_what_is_asked_for_is_refused(
    push: PushService, clock: SteppedClock, changes: dict[str, str], status: int
) -> None:
    assert await posted(*message(push, clock, **changes)) == status
    assert [refusal.status for refusal in push.account.refused] == [status]


async def test_a_token_for_another_push_service_or_of_another_day_is_refused(
    push: PushService, clock: SteppedClock
) -> None:
    vapid = Vapid(new_key(Random(2)), "mailto:a@b.example")
    for origin, at in (
        ("https://elsewhere.example", clock.now()),
        (push.base_url, clock.now() - timedelta(hours=13)),
        (push.base_url, clock.now() + timedelta(hours=20)),
    ):
        assert await posted(*message(push, clock, Authorization=vapid.authorization(origin, at))) == 403, origin


async def test_what_was_encrypted_for_another_browser_is_refused(push: PushService, clock: SteppedClock) -> None:
    url, body, told = message(push, clock)
    push.browser("phone")
    assert await posted(url.replace("laptop", "phone"), body, told) == 400
    assert await posted(url.replace("laptop", "tablet"), body, told) == 404
    push.unsubscribe("laptop")
    assert await posted(url, body, told) == 410
    assert await posted(url.replace("laptop", "phone"), b"x" * 4097, told) == 413


def hook(clock: SteppedClock, body: bytes = b'{"type":"webhook.test","data":{}}') -> tuple[bytes, dict[str, str]]:
    """A webhook signed now."""
    attempt = Attempt(1, UUID(int=1), 1, "webhook", "1", clock.now())
    return body, headers(WebhookMessage(UUID(int=2), "", (SECRET,), body), attempt)


async def test_a_webhook_that_verifies_is_taken_and_no_other(receiver: WebhookReceiver, clock: SteppedClock) -> None:
    receiver.secrets["shop"] = written(SECRET)
    url, (body, told) = receiver.url("shop"), hook(clock)
    assert await posted(url, body, told) == 204
    assert await posted(url, body + b" ", told) == 401
    assert await posted(url, body, {**told, "webhook-id": "another"}) == 401
    assert await posted(url, body, {**told, "webhook-signature": "v1,AAAA"}) == 401
    assert await posted(url, body, {}) == 401
    clock.advance(timedelta(minutes=6))
    assert await posted(url, body, told) == 401
    assert [taken.provider_id for taken in receiver.account.accepted] == [str(UUID(int=1))]


async def test_both_do_wrong_what_they_are_told(
    push: PushService, receiver: WebhookReceiver, clock: SteppedClock
) -> None:
    busy = CallFault(Receiver.WEBHOOK, CallBehaviour.STATUS, status=429, headers={"Retry-After": "5"}, times=1)
    receiver.faults.order(busy)
    push.faults.order(replace(busy, provider=Receiver.WEBPUSH, recipient="laptop"))
    assert await posted(receiver.url("shop"), *hook(clock)) == 429
    assert await posted(*message(push, clock)) == 429
    assert await posted(receiver.url("shop"), *hook(clock)) == 204
    assert await posted(*message(push, clock)) == 201
    calls = [call.recipient for simulator in (receiver, push) for call in simulator.account.calls]
    assert calls == ["shop", "shop", "laptop", "laptop"], "what was refused by order was a call too"


async def test_an_endpoint_can_answer_byte_by_byte(receiver: WebhookReceiver, clock: SteppedClock) -> None:
    """With a body, which its usual 204 has not."""
    slowly = CallFault(Receiver.WEBHOOK, CallBehaviour.DRIP, delay=timedelta(milliseconds=20))
    receiver.faults.order(slowly)
    (body, told), began = hook(clock), asyncio.get_running_loop().time()
    async with aiohttp.ClientSession() as http, http.post(receiver.url("shop"), data=body, headers=told) as answer:
        assert (answer.status, await answer.read()) == (200, b"{}")
    assert asyncio.get_running_loop().time() - began >= 2 * slowly.delay.total_seconds()
    assert len(receiver.account.accepted) == 1
