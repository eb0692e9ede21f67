"""Webhooks: what leaves, what verifies it, what answers mean."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from tocsin_dispatcher.destinations.webhook_secrets import new_secret
from tocsin_dispatcher.providers.http import Answer, NoAnswer, NotWritten, http_client_for_strangers
from tocsin_dispatcher.providers.webhook import Webhook, headers, signatures, written
from tocsin_dispatcher.providers.webhook_outcomes import webhook_outcome
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import Attempt, Outcome, OutcomeKind, WebhookMessage
from tocsin_kit.clock import SystemClock

from .conftest import DELIVERY_ID
from .test_providers import Handler, hang, reset, serving

K = OutcomeKind
NEW, OLD = new_secret(Random(1)), new_secret(Random(2))
BODY = json.dumps({"type": "notification.created", "data": {"title": "Crème brûlée"}}, ensure_ascii=False).encode()
VECTORS = Path(__file__).parents[4].parent / "shared" / "provider-contracts" / "standard_webhooks_vectors.json"


def hook(url: str = "https://hook.example/1", *secrets: bytes) -> WebhookMessage:
    return WebhookMessage(DELIVERY_ID, url, secrets or (NEW,), BODY)


@pytest.fixture
def now(attempt: Attempt) -> Attempt:
    """An attempt at this very moment: the library that verifies reads the machine's clock."""
    return replace(attempt, started_at=SystemClock().now())


def test_the_standardwebhooks_library_verifies_by_either_secret_and_by_no_other(now: Attempt) -> None:
    told = headers(hook("https://hook.example/1", NEW, OLD), now)
    for secret in (NEW, OLD):
        assert Verifier(written(secret)).verify(BODY, told) == json.loads(BODY)
    for body, secret in ((BODY + b" ", NEW), (BODY, new_secret(Random(3)))):
        with pytest.raises(WebhookVerificationError):
            Verifier(written(secret)).verify(body, told)


def test_each_attempt_has_the_same_id_and_a_time_of_its_own(now: Attempt) -> None:
    later = replace(now, number=2, started_at=now.started_at + timedelta(seconds=90))
    first, second = headers(hook(), now), headers(hook(), later)
    assert first["webhook-id"] == second["webhook-id"] == str(DELIVERY_ID)
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 90
    assert first["webhook-signature"] != second["webhook-signature"]
    Verifier(written(NEW)).verify(BODY, second)


@pytest.mark.skipif(not VECTORS.exists(), reason="the test vectors are not here")
def test_the_library_s_own_vector_comes_out() -> None:
    vector = json.loads(VECTORS.read_text())["vectors"][0]
    secret = base64.b64decode(vector["secret"].removeprefix("whsec_"))
    assert signatures([secret], vector["id"], vector["timestamp"], vector["body"].encode()) == vector["signature"]
    assert written(secret) == vector["secret"]


def test_a_secret_is_as_long_as_asked_for() -> None:
    assert 24 <= len(NEW) <= 64
    assert NEW != OLD


@asynccontextmanager
async def hooking(handler: Handler, limit: float = 5) -> AsyncIterator[tuple[Webhook, str, InMemorySpanExporter]]:
    """Webhooks towards a receiver of the test's own, and the spans of its calls."""
    spans, tracing = InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    async with serving(handler) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        local = [(host, int(port))]
        async with http_client_for_strangers(timedelta(seconds=limit), tracing.get_tracer("test"), local) as http:
            yield Webhook(http), f"{url}/hooks/secret?token=secret", spans


async def test_a_webhook_as_it_leaves(now: Attempt) -> None:
    seen: list[tuple[str, Mapping[str, str], bytes]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append((request.path_qs, request.headers.copy(), await request.read()))
        return web.Response(status=204)

    async with hooking(take) as (webhook, url, spans):
        outcome = await webhook.send(hook(url), now)
        [span] = spans.get_finished_spans()
    [(path, told, body)] = seen
    assert (outcome.kind, path, body) == (K.ACCEPTED, "/hooks/secret?token=secret", BODY)
    assert Verifier(written(NEW)).verify(body, dict(told)) == json.loads(BODY)
    assert told["Content-Type"] == "application/json"
    assert span.attributes is not None
    assert "secret" not in str(dict(span.attributes))


@pytest.mark.parametrize(("handler", "kind"), [(hang, K.UNKNOWN), (reset, K.UNKNOWN)])
async def test_silence_is_unknown(now: Attempt, handler: Handler, kind: OutcomeKind) -> None:
    async with hooking(handler, limit=0.2) as (webhook, url, _):
        assert (await webhook.send(hook(url), now)).kind is kind


async def test_a_slow_drip_ends_with_the_time_of_a_call(now: Attempt) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        return await hang(request)

    async with hooking(drip, limit=0.2) as (webhook, url, _):
        assert (await webhook.send(hook(url), now)).kind is K.UNKNOWN


async def test_bytes_that_are_no_http_are_unknown(now: Attempt) -> None:
    async def garbage(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        request.transport.close()
        return web.Response()

    async with hooking(garbage) as (webhook, url, _):
        assert (await webhook.send(hook(url), now)).kind is K.UNKNOWN


def answered(status: int, **told: str) -> Outcome:
    return webhook_outcome(
        Answer(status, {key.replace("_", "-"): value for key, value in told.items()}, b"\x00private")
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_only_2xx_is_success(status: int) -> None:
    assert answered(status).kind is K.ACCEPTED


@pytest.mark.parametrize(
    "status", [100, 300, 301, 307, 308, 400, 401, 403, 404, 405, 413, 418, 422, 500, 502, 503, 599]
)
def test_anything_else_is_tried_again_and_its_words_are_not_kept(status: int) -> None:
    outcome = answered(status)
    assert (outcome.kind, outcome.answer) == (K.TRANSIENT, f"HTTP {status}")


def test_410_ends_it_for_good() -> None:
    outcome = answered(410)
    assert (outcome.kind, outcome.suppress) == (K.PERMANENT, SuppressionCause.DISABLED)


def test_who_asks_for_patience_gets_it() -> None:
    assert answered(429).kind is K.THROTTLED
    for status in (429, 502, 503, 504):
        outcome = answered(status, retry_after="60")
        assert (outcome.kind, outcome.wait) == (K.THROTTLED, timedelta(seconds=60)), status
    assert answered(500, retry_after="60").kind is K.TRANSIENT


def test_what_never_left_is_tried_again_unless_it_must_not_be_called() -> None:
    assert webhook_outcome(NotWritten("ClientConnectorError")).kind is K.TRANSIENT
    assert webhook_outcome(NotWritten("AddressRefused", refused=True)).kind is K.PERMANENT
    assert webhook_outcome(NoAnswer("TimeoutError")).kind is K.UNKNOWN
