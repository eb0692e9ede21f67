"""Push messages: what a browser reads, what a push service checks, what its answers mean."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import http_ece
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tocsin_dispatcher.channels.push import worded
from tocsin_dispatcher.providers.http import Answer, NoAnswer, NotWritten, http_client_for_strangers
from tocsin_dispatcher.providers.push_encryption import LARGEST_BODY, LARGEST_TEXT, encoded_point, encrypted
from tocsin_dispatcher.providers.vapid import Vapid, new_key, private_key
from tocsin_dispatcher.providers.webpush import NotSetUp, WebPush
from tocsin_dispatcher.providers.webpush_outcomes import webpush_outcome
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.rendering.renderer import PushTexts
from tocsin_dispatcher.values import Attempt, Outcome, OutcomeKind, PushMessage

from .conftest import DELIVERY_ID, NOON_IN_CHICAGO
from .test_providers import Handler, hang, reset, serving

K = OutcomeKind
BROWSER = new_key(Random(1))
AUTH = b"a" * 16
VAPID = Vapid(new_key(Random(2)), "mailto:push@bank.example")
VECTORS = Path(__file__).parents[4].parent / "shared" / "provider-contracts" / "webpush_vectors.json"


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def message(url: str, text: bytes = b"{}", **changes: Any) -> PushMessage:
    return replace(PushMessage(url, encoded_point(BROWSER.public_key()), AUTH, text, urgent=False), **changes)


@given(st.binary(min_size=1, max_size=LARGEST_TEXT), st.integers(0, 2**32))
def test_what_is_encrypted_another_implementation_reads(text: bytes, seed: int) -> None:
    random = Random(seed)
    body = encrypted(text, encoded_point(BROWSER.public_key()), AUTH, new_key(random), random.randbytes(16))
    assert http_ece.decrypt(body, private_key=BROWSER, auth_secret=AUTH, version="aes128gcm") == text
    assert len(body) <= LARGEST_BODY


def test_the_longest_text_fills_a_body_and_a_longer_one_is_refused() -> None:
    key = encoded_point(BROWSER.public_key())
    assert len(encrypted(b"x" * LARGEST_TEXT, key, AUTH, new_key(Random(3)), b"s" * 16)) == LARGEST_BODY
    with pytest.raises(ValueError, match="too long"):
        encrypted(b"x" * (LARGEST_TEXT + 1), key, AUTH, new_key(Random(3)), b"s" * 16)


@pytest.mark.skipif(not VECTORS.exists(), reason="the test vectors of the RFCs are not here")
def test_the_example_of_rfc_8291_comes_out_byte_for_byte() -> None:
    vector = json.loads(VECTORS.read_text())["rfc8291_appendix_a"]
    ours = private_key(unpadded(vector["as_private"]))
    body = encrypted(
        vector["plaintext"].encode(),
        unpadded(vector["ua_public_p256dh"]),
        unpadded(vector["auth"]),
        ours,
        unpadded(vector["salt"]),
    )
    assert body == unpadded(vector["body"])


def test_a_token_names_the_push_service_and_lives_for_less_than_a_day() -> None:
    for hours in range(48):
        now = NOON_IN_CHICAGO + timedelta(hours=hours)
        scheme, _, words = VAPID.authorization("https://push.example", now).partition(" ")
        named = dict(word.strip().split("=", 1) for word in words.split(","))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unpadded(named["k"]))
        claims = jwt.decode(
            named["t"], key, algorithms=["ES256"], audience="https://push.example", options={"verify_exp": False}
        )
        assert scheme == "vapid"
        assert claims["sub"] == "mailto:push@bank.example"
        lives = datetime.fromtimestamp(claims["exp"], UTC) - now
        assert timedelta(hours=6) <= lives <= timedelta(hours=12)
        assert len(unpadded(named["t"].split(".")[2])) == 64, "r and s, not DER"


def test_a_token_is_made_once_for_a_push_service_and_is_each_one_s_own() -> None:
    first = VAPID.authorization("https://one.example", NOON_IN_CHICAGO)
    assert VAPID.authorization("https://one.example", NOON_IN_CHICAGO + timedelta(hours=1)) == first
    assert VAPID.authorization("https://two.example", NOON_IN_CHICAGO) != first


@pytest.mark.parametrize("number", [b"", b"\0" * 32, b"\xff" * 32, b"x" * 31, b"x" * 33])
def test_what_is_no_private_key_is_refused(number: bytes) -> None:
    with pytest.raises(ValueError, match="private key"):
        private_key(number)


@asynccontextmanager
async def pushing(handler: Handler, limit: float = 5) -> AsyncIterator[tuple[WebPush, str, InMemorySpanExporter]]:
    """Web Push towards a push service of the test's own, and the spans of its calls."""
    spans, tracing = InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    async with serving(handler) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        local = [(host, int(port))]
        async with http_client_for_strangers(timedelta(seconds=limit), tracing.get_tracer("test"), local) as http:
            yield WebPush(VAPID, http, Random(4)), f"{url}/push/secret", spans


async def test_a_push_message_as_it_leaves(attempt: Attempt) -> None:
    seen: list[tuple[Mapping[str, str], bytes]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append((request.headers.copy(), await request.read()))
        return web.Response(status=201)

    told = replace(attempt, expires_at=attempt.started_at + timedelta(hours=3))
    async with pushing(take) as (webpush, url, spans):
        for sent in (message(url, b'{"a":1}', urgent=True), message(url, b'{"a":1}')):
            assert (await webpush.send(sent, told)).kind is K.ACCEPTED
        [span, _] = spans.get_finished_spans()
    (urgent, body), (usual, other) = seen
    assert http_ece.decrypt(body, private_key=BROWSER, auth_secret=AUTH, version="aes128gcm") == b'{"a":1}'
    assert body != other, "each has a key and a salt of its own"
    assert (urgent["TTL"], urgent["Urgency"], usual["Urgency"]) == ("10800", "high", "normal")
    assert urgent["Topic"] == DELIVERY_ID.hex, "one that is sent again replaces itself"
    assert len(urgent["Topic"]) <= 32
    assert span.attributes is not None
    assert "secret" not in str(dict(span.attributes)), "who knows the URL may send"


async def test_a_message_that_is_of_no_use_any_more_is_not_kept_for_the_browser(attempt: Attempt) -> None:
    ttls: list[str] = []

    async def take(request: web.Request) -> web.Response:
        ttls.append(request.headers["TTL"])
        return web.Response(status=201)

    async with pushing(take) as (webpush, url, _):
        for expires_at in (None, attempt.started_at - timedelta(hours=1), attempt.started_at + timedelta(days=90)):
            await webpush.send(message(url), replace(attempt, expires_at=expires_at))
    assert ttls == ["0", "0", str(28 * 24 * 3600)]


async def test_a_browser_whose_key_is_none_fails_alone(attempt: Attempt) -> None:
    async def never(_request: web.Request) -> web.Response:
        raise AssertionError("nothing can be sent")

    async with pushing(never) as (webpush, url, _):
        outcome = await webpush.send(message(url, public_key=b"\x04" + b"\0" * 64), attempt)
    assert outcome.kind is K.PERMANENT


@pytest.mark.parametrize(("handler", "kind"), [(hang, K.UNKNOWN), (reset, K.UNKNOWN)])
async def test_silence_is_unknown_and_tried_again(attempt: Attempt, handler: Handler, kind: OutcomeKind) -> None:
    async with pushing(handler, limit=0.2) as (webpush, url, _):
        assert (await webpush.send(message(url), attempt)).kind is kind


async def test_a_refused_connection_is_transient_and_a_refused_address_is_final(attempt: Attempt) -> None:
    async with pushing(hang) as (webpush, url, _):
        gone = url
    async with pushing(hang) as (webpush, _, _):
        outcome = await webpush.send(message(gone), attempt)
    assert (outcome.kind, outcome.answer) == (K.PERMANENT, "AddressRefused"), (
        "only the test's own server is let through"
    )
    assert webpush_outcome(NotWritten("ClientConnectorError")).kind is K.TRANSIENT


def answered(status: int, body: bytes = b"", **headers: str) -> Outcome:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return webpush_outcome(Answer(status, named, body))


@pytest.mark.parametrize(
    ("status", "kind", "gone"),
    [
        (200, K.ACCEPTED, False),
        (201, K.ACCEPTED, False),
        (202, K.ACCEPTED, False),
        (204, K.ACCEPTED, False),
        (301, K.PERMANENT, False),
        (400, K.PERMANENT, False),
        (401, K.TRANSIENT, False),
        (403, K.TRANSIENT, False),
        (404, K.PERMANENT, True),
        (405, K.PERMANENT, False),
        (408, K.TRANSIENT, False),
        (410, K.PERMANENT, True),
        (413, K.PERMANENT, False),
        (429, K.THROTTLED, False),
        (500, K.TRANSIENT, False),
        (502, K.TRANSIENT, False),
        (503, K.TRANSIENT, False),
        (600, K.UNKNOWN, False),
    ],
)
def test_what_each_answer_means(status: int, kind: OutcomeKind, gone: bool) -> None:
    outcome = answered(status, b"\x00garbage")
    assert outcome.kind is kind
    assert (outcome.suppress is SuppressionCause.DISABLED) is gone


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_the_browser_s_is_that_browser_s_trouble(status: int) -> None:
    """Who subscribes with a key of their own stops nobody else's messages, and has them wait for nothing."""
    for outcome in (answered(status), answered(status, retry_after="3600")):
        assert (outcome.kind, outcome.about_address, outcome.wait) == (K.TRANSIENT, True, None)


@pytest.mark.parametrize("status", [201, 400, 404, 408, 410, 413, 429, 500, 503])
def test_every_other_answer_tells_of_the_push_service(status: int) -> None:
    assert not answered(status).about_address
    assert not webpush_outcome(NoAnswer("TimeoutError")).about_address
    assert not webpush_outcome(NotWritten("ClientConnectorError")).about_address


def test_retry_after_is_waited_for() -> None:
    assert answered(429, retry_after="30").wait == timedelta(seconds=30)
    busy = answered(503, retry_after="120")
    assert (busy.kind, busy.wait) == (K.THROTTLED, timedelta(seconds=120))
    assert answered(429).wait is None
    assert webpush_outcome(NoAnswer("TimeoutError")).kind is K.UNKNOWN


async def test_without_a_key_messages_wait_as_for_any_account_that_is_at_fault(attempt: Attempt) -> None:
    assert (await NotSetUp().send(message("https://push.example"), attempt)).kind is K.ACCOUNT


@pytest.mark.parametrize(
    "words", ["Short.", "Ünïcödé " * 2000, "🔔" * 5000, '"quoted" \\ ' * 1000, "x" * 9000, "\x00" * 3000]
)
def test_a_message_is_cut_to_what_a_push_service_must_take(words: str) -> None:
    text = worded(DELIVERY_ID, PushTexts("Title " * 100, words, "https://app.example/1"))
    assert len(text) <= LARGEST_TEXT
    told = json.loads(text)
    assert told["id"] == str(DELIVERY_ID)
    if told["message"] != words:
        assert told["message"].endswith("...")
        assert words.startswith(told["message"].removesuffix("..."))
        assert len(text) > LARGEST_TEXT - 700, "no more is cut than must be"
