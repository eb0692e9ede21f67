"""Push messages by the push services of browsers: RFC 8030, encrypted for the browser, signed by us."""

from datetime import timedelta
from random import Random
from urllib.parse import urlsplit

from tocsin_dispatcher.destinations.urls import origin
from tocsin_dispatcher.providers.http import HttpClient, Request
from tocsin_dispatcher.providers.push_encryption import SALT_BYTES, encrypted
from tocsin_dispatcher.providers.vapid import Vapid, new_key
from tocsin_dispatcher.providers.webpush_outcomes import webpush_outcome
from tocsin_dispatcher.values import Attempt, Outcome, OutcomeKind, PushMessage

_LONGEST = timedelta(weeks=4)
"""What push services keep a message at most."""


class WebPush:
    """Web Push as a provider. `random` makes a key for each message, so it must be a secure one."""

    name = "webpush"

    def __init__(self, vapid: Vapid, http: HttpClient, random: Random) -> None:
        self._vapid, self._http, self._random = vapid, http, random

    async def send(self, message: PushMessage, attempt: Attempt) -> Outcome:
        """Hand one push message over."""
        try:
            request = self.request(message, attempt)
        except ValueError:
            # The browser gave a key that is none: no message will ever be encrypted for it.
            return Outcome(OutcomeKind.PERMANENT, answer="cannot be encrypted for this browser")
        return await self._http.call(request, attempt, webpush_outcome)

    def request(self, message: PushMessage, attempt: Attempt) -> Request:
        """The call. A message that is told twice (same topic) replaces itself where the browser has not got it yet.

        Raises ValueError where the browser's key is none, or the text too long.
        """
        called = origin(urlsplit(message.url))
        body = encrypted(
            message.text, message.public_key, message.auth, new_key(self._random), self._random.randbytes(SALT_BYTES)
        )
        headers = {
            "Authorization": self._vapid.authorization(called, attempt.started_at),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(_seconds_of_use(attempt)),
            "Urgency": "high" if message.urgent else "normal",
            "Topic": attempt.delivery_id.hex,
        }
        return Request("POST", message.url, headers, body, shown_url=called)


class NotSetUp:
    """In the place of Web Push where we have no key: what browsers are still to get waits until it is of no use."""

    name = WebPush.name

    async def send(self, message: PushMessage, attempt: Attempt) -> Outcome:
        """Say why not."""
        return Outcome(OutcomeKind.ACCOUNT, answer="push is not set up: TOCSIN_VAPID_KEY")


def _seconds_of_use(attempt: Attempt) -> int:
    """How long the push service keeps it for a browser that is away."""
    left = timedelta() if attempt.expires_at is None else attempt.expires_at - attempt.started_at
    return int(max(timedelta(), min(left, _LONGEST)).total_seconds())
