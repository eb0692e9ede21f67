"""Callbacks: verified, stored first, answered, handed on; jobs that look after them."""

import asyncio
import base64
import hmac
import re
from datetime import timedelta
from hashlib import sha1
from typing import Any
from uuid import UUID

import asyncpg
import nats
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tocsin.events.v1 import events_pb2
from tocsin_gateway import app
from tocsin_gateway.callbacks import receiving
from tocsin_gateway.callbacks.handing_on import audit, forget_old
from tocsin_gateway.doors.translate import receipt
from tocsin_gateway.store import ledger as ledgers
from tocsin_gateway.store import tables
from tocsin_gateway.store.ledger import CallbackLedger
from tocsin_kit.messaging.consumer import Consumer
from tocsin_kit.messaging.jobs import job_consumers
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.rpc.caller import Scope

from .conftest import TWILIO_TOKEN, Gateway, Start

PATH = "/webhooks/twilio/status?delivery=1"
FORM = b"MessageSid=SM1&MessageStatus=delivered&ErrorCode="


def signature(path: str = PATH) -> str:
    """Twilio's over the public URL and all parameters."""
    text = f"https://alerts.example{path}ErrorCodeMessageSidSM1MessageStatusdelivered"
    return base64.b64encode(hmac.new(TWILIO_TOKEN.encode(), text.encode(), sha1).digest()).decode()


async def post(gateway: Gateway, signed: str, body: bytes = FORM, path: str = PATH) -> int:
    """The status of the answer to a callback."""
    headers = {"X-Twilio-Signature": signed, "Content-Type": "application/x-www-form-urlencoded"}
    async with gateway.http.post(gateway.url + path, data=body, headers=headers) as answer:
        return answer.status


async def rows(gateway: Gateway) -> list[asyncpg.Record]:
    """All stored callbacks."""
    connection = await asyncpg.connect(gateway.database_url)
    try:
        return list(await connection.fetch("SELECT * FROM callbacks ORDER BY id"))
    finally:
        await connection.close()


async def test_a_verified_callback_is_stored_and_handed_on_as_it_came(running_gateway: Gateway) -> None:
    assert await post(running_gateway, signature()) == 204
    (row,) = await rows(running_gateway)
    assert (row["provider"], row["url"], row["body"], row["verified"]) == ("twilio-status", PATH, FORM, True)
    client = await nats.connect(running_gateway.nats_url)
    try:
        messages = await (await client.jetstream().pull_subscribe_bind("dispatcher-receipts", "RECEIPTS")).fetch(
            1, timeout=10
        )
    finally:
        await client.close()
    event = events_pb2.Callback.FromString(messages[0].data)
    assert messages[0].subject == "tocsin.receipts.twilio-status"
    assert (messages[0].headers or {})["Nats-Msg-Id"] == str(row["id"]) == str(UUID(bytes=event.id))
    assert (event.url, event.body, event.content_type) == (PATH, FORM, "application/x-www-form-urlencoded")
    assert (messages[0].headers or {})["traceparent"]


async def test_a_forged_callback_is_403_and_leaves_nothing(running_gateway: Gateway) -> None:
    for signed in (signature("/webhooks/twilio/status?delivery=2"), "", "AAAA", "é"):
        assert await post(running_gateway, signed) == 403
    assert await post(running_gateway, signature(), FORM + b"&X=1") == 403
    async with running_gateway.http.post(running_gateway.url + "/webhooks/sendgrid", data=b"[]") as answer:
        assert answer.status == 403
    assert await rows(running_gateway) == []
    operator = running_gateway.token(scopes=(Scope.ADMIN,))
    _, page, _ = await running_gateway.call("GET", "/api/v2/admin/metrics", token=operator)
    counted = re.findall(rb'tocsin_callbacks_total{outcome="(.+?)",provider="(.+?)",.*} (.+)', page)
    assert sorted(counted) == [(b"forged", b"sendgrid", b"1.0"), (b"forged", b"twilio-status", b"5.0")]


async def test_more_than_two_mebibytes_are_refused(running_gateway: Gateway) -> None:
    assert await post(running_gateway, signature(), b"x" * (2 * 1024 * 1024 + 1)) == 413


async def test_a_callback_that_cannot_be_stored_is_503_so_that_it_comes_again(running_gateway: Gateway) -> None:
    connection = await asyncpg.connect(running_gateway.database_url)
    try:
        await connection.execute("ALTER TABLE callbacks RENAME TO gone")
        assert await post(running_gateway, signature()) == 503
        await connection.execute("ALTER TABLE gone RENAME TO callbacks")
    finally:
        await connection.close()
    assert await post(running_gateway, signature()) == 204
    assert len(await rows(running_gateway)) == 1


async def test_a_database_that_hangs_is_a_503_in_time_and_readiness_says_so(
    running_gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "STORE_LIMIT", timedelta(seconds=0.5))
    connection = await asyncpg.connect(running_gateway.database_url)
    try:
        async with asyncio.timeout(10):
            hanging = connection.transaction()
            await hanging.start()
            await connection.execute("LOCK TABLE callbacks, alembic_version IN ACCESS EXCLUSIVE MODE")
            assert await post(running_gateway, signature()) == 503
            async with running_gateway.http.get(running_gateway.url + "/readyz") as answer:
                assert (answer.status, await answer.text()) == (503, "no answer within 2 s\n")
            await hanging.rollback()
    finally:
        await connection.close()
    assert await post(running_gateway, signature()) == 204
    assert len(await rows(running_gateway)) == 1


async def test_a_body_that_does_not_come_is_a_408_and_ends_the_connection(
    running_gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "BODY_LIMIT", timedelta(seconds=0.2))
    url = make_url(running_gateway.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        async with asyncio.timeout(10):
            writer.write(b"POST /webhooks/sendgrid HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[{")
            answer = await reader.read()
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"application/problem+json" in answer, answer
    assert b'"reason":"deadline_exceeded"' in answer, answer


async def test_what_the_dispatcher_does_not_know_is_handed_on_again_and_the_rest_not_asked_twice(
    running_gateway: Gateway,
) -> None:
    for _ in range(3):
        assert await post(running_gateway, signature()) == 204
    ids = [row["id"] for row in await rows(running_gateway)]
    engine = create_async_engine(make_url(running_gateway.database_url).set(drivername="postgresql+asyncpg"))
    outbox = Outbox.on(tables.outbox, running_gateway.activity, "gateway")
    ledger = CallbackLedger(engine, outbox, receipt)
    asked: list[list[UUID]] = []

    async def find_unknown(page: object) -> list[UUID]:
        assert isinstance(page, list)
        asked.append(page)
        return [ids[1]]

    now = running_gateway.clock.now()
    try:
        young = await audit(ledger, find_unknown, now + timedelta(minutes=4))
        first = await audit(ledger, find_unknown, now + timedelta(minutes=6))
        second = await audit(ledger, find_unknown, now + timedelta(minutes=12))
        assert await forget_old(ledger, now + timedelta(days=30), timedelta(days=30)) == 0
        assert await forget_old(ledger, now + timedelta(days=30, seconds=1), timedelta(days=30)) == 3
    finally:
        await engine.dispose()
    assert (young.asked, first.asked, first.handed_on_again, second.asked) == (0, 3, 1, 1)
    assert asked == [ids, [ids[1]]]


async def test_the_setting_says_how_many_jobs_are_done_side_by_side(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Consumer] = []

    def noted(*given: Any, **more: Any) -> list[Consumer]:
        made.extend(job_consumers(*given, **more))
        return made

    monkeypatch.setattr(app, "job_consumers", noted)
    async with start(WORKER_CONCURRENCY="3"):
        assert [consumer._concurrency for consumer in made] == [3] * 4
