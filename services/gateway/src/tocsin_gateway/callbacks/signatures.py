"""Whether a provider sent a callback. Never raises: what cannot be read is forged."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader
from starlette.datastructures import ImmutableMultiDict
from twilio.request_validator import RequestValidator, get_signature_algorithm

from tocsin_kit.clock import Clock

#: How old a signature may be. SendGrid repeats an event that nobody took for 24 hours, and does not say that it signs
#: each repetition anew (https://docs.sendgrid.com/for-developers/tracking-events/troubleshooting); an hour for clocks.
SIGNATURE_LIFE = timedelta(hours=25)
_TWILIO_SIGNATURE = "X-Twilio-Signature"
_TWILIO_SETTINGS = "X-Twilio-Webhooks-Signature-Settings"
_BODY_HASH = "bodySHA256"
_MOST_PARAMETERS = 1000
#: What the providers' code and ours raise for what they cannot read.
_UNREADABLE = (ValueError, TypeError, LookupError)


def readable_key(public_key: str) -> EventWebhook:
    """A verifier for SendGrid's public key (base64 of its SPKI). ValueError when it is no such key."""
    return EventWebhook(public_key)


class SendGridSignature:
    """ECDSA P-256 with SHA-256 over timestamp and raw body (SendGrid, "Event Webhook security features")."""

    def __init__(self, public_keys: Sequence[str], clock: Clock) -> None:
        self._verifiers = [readable_key(key) for key in public_keys]
        self._clock = clock

    def is_valid(self, headers: Mapping[str, str], _url: str, body: bytes) -> bool:
        """Whether any of the keys signed exactly these bytes, not longer ago than SIGNATURE_LIFE."""
        signature = headers.get(EventWebhookHeader.SIGNATURE.lower(), "")
        timestamp = headers.get(EventWebhookHeader.TIMESTAMP.lower(), "")
        try:
            payload = body.decode()
            if not (_is_canonical_base64(signature) and self._is_recent(timestamp)):
                return False
            return any(bool(it.verify_signature(payload, signature, timestamp)) for it in self._verifiers)
        except _UNREADABLE:
            return False

    def _is_recent(self, timestamp: str) -> bool:
        """Whether unix seconds are close enough to now, on either side: clocks differ."""
        age = int(self._clock.now().timestamp()) - int(timestamp)
        return abs(age) <= SIGNATURE_LIFE.total_seconds()


class TwilioSignature:
    """HMAC over the public URL and all parameters, by any of the account's tokens (Twilio, "Webhooks security")."""

    def __init__(self, auth_tokens: Sequence[str]) -> None:
        self._validators = [RequestValidator(token) for token in auth_tokens]

    def is_valid(self, headers: Mapping[str, str], url: str, body: bytes) -> bool:
        """Whether any of the tokens signed this URL and these parameters. `url` as Twilio was told it."""
        signature = headers.get(_TWILIO_SIGNATURE.lower(), "")
        algorithm = get_signature_algorithm(headers.get(_TWILIO_SETTINGS.lower(), ""))
        try:
            signed = _signed_part(headers, body)
            if isinstance(signed, str) and _BODY_HASH not in parse_qs(urlsplit(url).query):
                return False  # nothing speaks for the body
            return any(bool(it.validate(url, signed, signature, algorithm)) for it in self._validators)
        except _UNREADABLE:
            return False


def _signed_part(headers: Mapping[str, str], body: bytes) -> str | ImmutableMultiDict[str, str]:
    """JSON bodies are signed by their hash in the URL, forms by every parameter, empty and repeated ones included."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        return body.decode()
    return ImmutableMultiDict(
        parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    )


def _is_canonical_base64(text: str) -> bool:
    """The SDK skips characters that are none and ignores spare bits: one signature would have many spellings."""
    try:
        return bool(text) and base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except (binascii.Error, ValueError):
        return False
