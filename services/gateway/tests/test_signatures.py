"""Providers' signatures: the published vectors, every change of one byte, and their age."""

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin_gateway.callbacks.signatures import SIGNATURE_LIFE, SendGridSignature, TwilioSignature
from tocsin_kit.clock import SteppedClock

URL = "https://alerts.example/webhooks/twilio/status?d=1&a=2"


def test_the_published_vectors_of_sendgrid_are_judged_as_published(contracts: Path) -> None:
    vectors = json.loads((contracts / "signature_vectors.json").read_text())["sendgrid_event_webhook"]["vectors"]
    recorded = SteppedClock(datetime.fromtimestamp(1600112502, UTC))  # the vectors' own timestamp
    for vector in vectors:
        verdict = SendGridSignature([vector["public_key"]], recorded).is_valid(
            _sendgrid_headers(vector["signature"], vector["timestamp"]), "", vector["body"].encode()
        )
        assert verdict == vector["valid"], vector["name"]


def test_the_published_vectors_of_twilio_are_judged_as_published(contracts: Path) -> None:
    published = json.loads((contracts / "signature_vectors.json").read_text())["twilio_x_twilio_signature"]
    signature = TwilioSignature([published["auth_token"]])
    for vector in [*published["vectors"], *published["sha256_variant"]["vectors"]]:
        headers, body = _twilio_request(vector)
        assert signature.is_valid(headers, vector["url"], body) == vector["valid"], vector["name"]


#: what a byte becomes: another bit, the other case, its neighbour, a blank, nothing printable
_CHANGES = (lambda byte: byte ^ 1, lambda byte: byte ^ 0x20, lambda byte: byte + 1, lambda _: 0x20, lambda _: 0)


def changes_of(text: bytes, first: int = 0) -> Iterator[bytes]:
    """The text with one byte changed, for each of its bytes from `first` on."""
    for place in range(first, len(text)):
        for other in sorted({change(text[place]) % 128 for change in _CHANGES} - {text[place]}):
            yield text[:place] + bytes([other]) + text[place + 1 :]


def test_every_change_of_one_byte_of_sendgrid_s_vectors_is_forged(contracts: Path) -> None:
    published = json.loads((contracts / "signature_vectors.json").read_text())["sendgrid_event_webhook"]["vectors"]
    vectors = [vector for vector in published if vector["valid"]]
    assert vectors
    for vector in vectors:
        judge = SendGridSignature([vector["public_key"]], SteppedClock(datetime.fromtimestamp(1600112502, UTC)))
        body, signature, timestamp = vector["body"].encode(), vector["signature"], vector["timestamp"]
        assert judge.is_valid(_sendgrid_headers(signature, timestamp), "", body), vector["name"]
        for changed in changes_of(body):
            assert not judge.is_valid(_sendgrid_headers(signature, timestamp), "", changed), changed
        for changed in changes_of(signature.encode()):
            assert not judge.is_valid(_sendgrid_headers(changed.decode(), timestamp), "", body), changed
        for changed in changes_of(timestamp.encode()):
            assert not judge.is_valid(_sendgrid_headers(signature, changed.decode()), "", body), changed


def test_every_change_of_one_byte_of_twilio_s_vectors_is_forged(contracts: Path) -> None:
    """Of what is signed: how a form writes its letters (`%2B`, `%2b`) is not."""
    published = json.loads((contracts / "signature_vectors.json").read_text())["twilio_x_twilio_signature"]
    judge = TwilioSignature([published["auth_token"]])
    vectors = [one for one in (*published["vectors"], *published["sha256_variant"]["vectors"]) if one["valid"]]
    assert vectors
    for vector in vectors:
        url, signature = vector["url"], vector["signature"]
        headers, body = _twilio_request(vector)
        assert judge.is_valid(headers, url, body), vector["name"]
        for changed in changes_of(signature.encode()):
            assert not judge.is_valid({**headers, "x-twilio-signature": changed.decode()}, url, body), changed
        # scheme and host are our own setting: only path and query come from outside
        for changed in changes_of(url.encode(), first=url.index("/", len("https://")) + 1):
            assert not judge.is_valid(headers, changed.decode(), body), changed
        for changed in changes_of(body):
            if "json_body" in vector or _parameters(changed) != _parameters(body):
                assert not judge.is_valid(headers, url, changed), changed


def _parameters(form: bytes) -> list[tuple[str, str]]:
    """What is signed of a form, in the order of the names."""
    return sorted(parse_qsl(form.decode(), keep_blank_values=True))


def _twilio_request(vector: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    headers = {"x-twilio-signature": vector["signature"]}
    if "algorithm" in vector:
        headers["x-twilio-webhooks-signature-settings"] = f"key=webhooks_sharedkey_1,algorithm={vector['algorithm']}"
    if "json_body" in vector:
        return {**headers, "content-type": "application/json"}, vector["json_body"].encode()
    form = urlencode([tuple(pair) for pair in vector["params"]])
    return {**headers, "content-type": "application/x-www-form-urlencoded"}, form.encode()


@cache
def sendgrid_key() -> ec.EllipticCurvePrivateKey:
    """A key of our own, as SendGrid would have."""
    return ec.generate_private_key(ec.SECP256R1())


def public_key(key: ec.EllipticCurvePrivateKey) -> str:
    """As SendGrid shows it."""
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


BODY = b'[{"event":"delivered","sg_event_id":"abc"}]\r\n'
SIGNED_AT = datetime.fromtimestamp(1700000000, UTC)


def sendgrid(*public_keys: str, now: datetime = SIGNED_AT) -> SendGridSignature:
    """What judges SendGrid's callbacks at an instant."""
    return SendGridSignature(public_keys, SteppedClock(now))


@cache
def signed() -> str:
    """Our key's signature of BODY at 1700000000."""
    return base64.b64encode(sendgrid_key().sign(b"1700000000" + BODY, ec.ECDSA(hashes.SHA256()))).decode()


def _sendgrid_headers(signature: str, timestamp: str) -> dict[str, str]:
    return {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }


def test_a_key_in_rotation_is_accepted_beside_the_other() -> None:
    other = public_key(ec.generate_private_key(ec.SECP256R1()))
    both = sendgrid(other, public_key(sendgrid_key()))
    assert both.is_valid(_sendgrid_headers(signed(), "1700000000"), "", BODY)
    assert not sendgrid(other).is_valid(_sendgrid_headers(signed(), "1700000000"), "", BODY)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_changed_byte_makes_a_sendgrid_callback_forged(data: st.DataObject) -> None:
    parts = [signed().encode(), b"1700000000", BODY]
    which = data.draw(st.integers(0, 2))
    parts[which] = _changed(data, parts[which])
    headers = _sendgrid_headers(parts[0].decode("latin-1"), parts[1].decode("latin-1"))
    assert not sendgrid(public_key(sendgrid_key())).is_valid(headers, "", parts[2])


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("age", "is_valid"),
    [
        # SendGrid repeats what was not taken for 24 hours, with the signature it had or a new one
        (timedelta(hours=24), True),
        (SIGNATURE_LIFE, True),
        (SIGNATURE_LIFE + SECOND, False),
        # our clock is behind theirs
        (-SIGNATURE_LIFE, True),
        (-SIGNATURE_LIFE - SECOND, False),
        (timedelta(days=3650), False),
    ],
)
def test_a_signature_has_its_day(age: timedelta, is_valid: bool) -> None:
    signature = sendgrid(public_key(sendgrid_key()), now=SIGNED_AT + age)
    assert signature.is_valid(_sendgrid_headers(signed(), "1700000000"), "", BODY) is is_valid


@pytest.mark.parametrize("timestamp", ["", "soon", "1700000000.5", "9" * 40, "9" * 5000, "-1", "٣"])
def test_a_timestamp_that_is_no_time_of_these_days_is_forged_though_it_is_signed(timestamp: str) -> None:
    signature = base64.b64encode(sendgrid_key().sign(timestamp.encode() + BODY, ec.ECDSA(hashes.SHA256()))).decode()
    headers = _sendgrid_headers(signature, timestamp)
    assert not sendgrid(public_key(sendgrid_key())).is_valid(headers, "", BODY)


FORM = urlencode([("MessageSid", "SM1"), ("ErrorCode", ""), ("X", "1"), ("X", "2")]).encode()


def twilio_signature(token: str) -> str:
    """Twilio's rule: URL, then name and value of each parameter in order of the names."""
    text = URL + "ErrorCode" + "MessageSidSM1" + "X1X2"
    return base64.b64encode(hmac.new(token.encode(), text.encode(), sha1).digest()).decode()


def _twilio_headers(signature: str) -> dict[str, str]:
    return {"x-twilio-signature": signature, "content-type": "application/x-www-form-urlencoded"}


def test_empty_and_repeated_parameters_count_and_either_token_of_a_rotation_fits() -> None:
    old, new = twilio_signature("old"), twilio_signature("new")
    both = TwilioSignature(["new", "old"])
    assert both.is_valid(_twilio_headers(old), URL, FORM)
    assert both.is_valid(_twilio_headers(new), URL, FORM)
    assert not TwilioSignature(["new"]).is_valid(_twilio_headers(old), URL, FORM)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_changed_byte_makes_a_twilio_callback_forged(data: st.DataObject) -> None:
    parts = [twilio_signature("new").encode(), URL.encode(), FORM]
    which = data.draw(st.integers(0, 1))
    # scheme and host are our own setting: only path and query come from outside
    parts[which] = _changed(data, parts[which], first=len("https://alerts.example/") if which else 0)
    headers = _twilio_headers(parts[0].decode("latin-1"))
    assert not TwilioSignature(["new"]).is_valid(headers, parts[1].decode("latin-1"), parts[2])


MALFORMED = ["", "=", "!!!", "é", "A", "AAAA", "\x00", signed() + "=", signed() + " ", "QQ==\n"]


@pytest.mark.parametrize("signature", MALFORMED)
def test_a_malformed_signature_is_forged_and_no_error(signature: str) -> None:
    assert not sendgrid(public_key(sendgrid_key())).is_valid(_sendgrid_headers(signature, "1700000000"), "", BODY)
    assert not TwilioSignature(["new"]).is_valid(_twilio_headers(signature), URL, FORM)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=%FF", b"&".join([b"a=1"] * 5000), "é=1".encode()])
def test_a_body_that_is_no_text_is_forged_and_no_error(body: bytes) -> None:
    assert not sendgrid(public_key(sendgrid_key())).is_valid(_sendgrid_headers(signed(), "1700000000"), "", body)
    assert not TwilioSignature(["new"]).is_valid(_twilio_headers(twilio_signature("new")), URL, body)


JSON_BODIES = [b'{"MessageSid":"SM1"}', b"[]", b"7", b"", b"\xff"]


@pytest.mark.parametrize("body", JSON_BODIES)
def test_json_that_nothing_in_the_url_speaks_for_is_forged_and_no_error(body: bytes) -> None:
    over_url = base64.b64encode(hmac.new(b"new", URL.encode(), sha1).digest()).decode()
    headers = {**_twilio_headers(over_url), "content-type": "application/json; charset=utf-8"}
    assert not TwilioSignature(["new"]).is_valid(headers, URL, body)


def test_without_a_key_nothing_is_accepted() -> None:
    assert not sendgrid().is_valid(_sendgrid_headers(signed(), "1700000000"), "", BODY)
    assert not TwilioSignature([]).is_valid(_twilio_headers(twilio_signature("new")), URL, FORM)


def _changed(data: st.DataObject, original: bytes, first: int = 0) -> bytes:
    place = data.draw(st.integers(first, len(original) - 1))
    other = data.draw(st.integers(0, 127).filter(lambda byte: byte != original[place]))
    return original[:place] + bytes([other]) + original[place + 1 :]
