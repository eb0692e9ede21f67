"""A thousand made-up callbacks on each path: forged or stored, never an error of ours."""

import asyncio
import base64
from collections import Counter
from dataclasses import dataclass
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.datastructures import ImmutableMultiDict
from twilio.request_validator import RequestValidator
from yarl import URL

from .conftest import TWILIO_TOKEN, Gateway, Start

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
AT_ONCE = 20


@dataclass(frozen=True)
class Call:
    """A callback: `is_signed` is whether the sender has the provider's key."""

    query: str
    content_type: str
    body: bytes
    headers: dict[str, str]
    is_signed: bool


CONTENT_TYPES = st.sampled_from(
    ["application/json", "APPLICATION/JSON; charset=utf-8", "application/json;", "application/x-www-form-urlencoded"]
) | st.sampled_from(["text/plain", "multipart/form-data; boundary=x", "", ";", "application/x-www-form-urlencoded;é"])
#: What an HTTP client can send in a header (RFC 9110, section 5.5).
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "X-Twilio-Signature",
            "X-Twilio-Webhooks-Signature-Settings",
            "X-Twilio-Email-Event-Webhook-Signature",
            "X-Twilio-Email-Event-Webhook-Timestamp",
            "I-Twilio-Idempotency-Token",
            "User-Agent",
        ]
    ),
    HEADER_TEXT
    | st.sampled_from(["QUJD", "=", "1762171200", "9" * 5000, "algorithm=HMAC_SHA256", "algorithm=x,", "key=,="]),
    max_size=4,
)
#: Anything a request line can carry, and names that mean something.
QUERIES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=30) | (
    st.sampled_from(["bodySHA256=", "bodySHA256=x&bodySHA256=y", "delivery=%00", "a=%FF%C3", "&&=&", "a;b=c", "%zz"])
)
FORM_TEXT = st.sampled_from(["MessageSid", "SM1", "a", "é", "%00", "%F0", "+", "", "\0"])
BODIES = (
    st.binary(max_size=60)
    | st.lists(st.tuples(FORM_TEXT, FORM_TEXT), max_size=5).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode()
    )
    | st.sampled_from([b"[]", b'[{"event":"delivered"}]\r\n', b"{", b"7", b"null", b'"\\ud800"', b"[" * 2000, b"\xff"])
    | st.just(b"&".join([b"a=1"] * 2000))
)
CALLS = st.builds(Call, QUERIES, CONTENT_TYPES, BODIES, HEADERS, st.booleans())


def made(n: int) -> list[Call]:
    """`n` callbacks that hypothesis makes, the same each time."""
    calls: list[Call] = []

    @settings(
        max_examples=n, phases=[Phase.generate], derandomize=True, database=None, suppress_health_check=[*HealthCheck]
    )
    @given(CALLS)
    def make(call: Call) -> None:
        calls.append(call)

    make()
    return calls


def signed_by_sendgrid(call: Call, _path: str, now: int) -> tuple[str, dict[str, str]]:
    """Query and headers as SendGrid would send this body."""
    signature = KEY.sign(str(now).encode() + call.body, ec.ECDSA(hashes.SHA256()))
    return call.query, {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": str(now),
    }


def signed_by_twilio(call: Call, path: str, _now: int) -> tuple[str, dict[str, str]]:
    """Query and headers as Twilio would send this body: JSON's hash is in the URL."""
    validator = RequestValidator(TWILIO_TOKEN)
    text = call.body.decode("latin-1")
    query, form = call.query, ImmutableMultiDict(parse_qsl(text, keep_blank_values=True, encoding="latin-1"))
    if "json" in call.content_type.lower():
        query, form = f"bodySHA256={validator.compute_hash(text)}&{query}", ImmutableMultiDict()
    url = f"https://alerts.example{path}" + (f"?{query}" if query else "")
    return query, {"X-Twilio-Signature": validator.compute_signature(url, form)}


SIGNED_BY = {
    "/webhooks/sendgrid": signed_by_sendgrid,
    "/webhooks/twilio/status": signed_by_twilio,
    "/webhooks/twilio/inbound": signed_by_twilio,
}


async def answered(gateway: Gateway, path: str, call: Call) -> int:
    """The status of the answer to a callback."""
    query, headers = call.query, {**call.headers, "Content-Type": call.content_type}
    if call.is_signed:
        query, proof = SIGNED_BY[path](call, path, int(gateway.clock.now().timestamp()))
        headers = {"Content-Type": call.content_type} | proof
    url = URL(f"{gateway.url}{path}?{query}", encoded=True)
    async with gateway.http.post(url, data=call.body, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize("path", SIGNED_BY)
async def test_a_thousand_made_up_callbacks_give_no_500(start: Start, path: str) -> None:
    calls = made(1000)
    assert len(calls) >= 1000
    async with start(SENDGRID_WEBHOOK_PUBLIC_KEY=PUBLIC_KEY) as gateway:
        limit = asyncio.Semaphore(AT_ONCE)

        async def send(call: Call) -> int:
            async with limit:
                return await answered(gateway, path, call)

        statuses = await asyncio.gather(*(send(call) for call in calls))
    wrong = [(call, status) for call, status in zip(calls, statuses, strict=True) if status not in (204, 403)]
    assert not wrong, "\n".join(map(str, wrong[:10]))
    assert min(Counter(statuses)[204], Counter(statuses)[403]) > 100, f"too tame: {Counter(statuses)}"
