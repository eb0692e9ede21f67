"""Webhooks, signed after Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks)."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from tocsin_dispatcher.destinations.urls import origin
from tocsin_dispatcher.providers.http import HttpClient, Request
from tocsin_dispatcher.providers.webhook_outcomes import webhook_outcome
from tocsin_dispatcher.values import Attempt, Outcome, WebhookMessage

_PREFIX = "whsec_"


class Webhook:
    """Webhooks as a provider."""

    name = "webhook"

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def send(self, message: WebhookMessage, attempt: Attempt) -> Outcome:
        """Hand one webhook over."""
        called = origin(urlsplit(message.url))
        request = Request("POST", message.url, headers(message, attempt), message.body, shown_url=called)
        return await self._http.call(request, attempt, webhook_outcome)


def headers(message: WebhookMessage, attempt: Attempt) -> dict[str, str]:
    """What names and signs a webhook: the id is the delivery's, the same in each attempt; the time is the attempt's."""
    name, at = str(attempt.delivery_id), int(attempt.started_at.timestamp())
    return {
        "Content-Type": "application/json",
        "User-Agent": "Tocsin-Webhooks/1",
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": signatures(message.secrets, name, at, message.body),
    }


def signatures(secrets: Sequence[bytes], name: str, at: int, body: bytes) -> str:
    """A signature by each secret, with spaces between: while secrets are rotated either one verifies."""
    signed = f"{name}.{at}.".encode() + body
    digests = (hmac.digest(secret, signed, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def written(secret: bytes) -> str:
    """The secret as its owner is shown it."""
    return _PREFIX + base64.b64encode(secret).decode()
