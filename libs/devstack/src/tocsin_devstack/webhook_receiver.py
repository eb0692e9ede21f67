"""A receiver of webhooks to run against: each path below /hooks/ is an endpoint of its own.

    url = receiver.url("shop")             where the endpoint is
    receiver.secrets["shop"] = "whsec_..." from now on it refuses (401) what the standardwebhooks library would not sign

Source: https://github.com/standard-webhooks/standard-webhooks.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook

from tocsin_devstack.callbacks import CallbackAnswer
from tocsin_devstack.faults import CallFault, Faults, Receiver
from tocsin_devstack.server import Accepted, Account, Refused, add_control, carry_out, new_app
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Loop

_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Hooked:
    """A webhook as it came: its headers by lower-case name, its bytes, and the event in it."""

    endpoint: str
    headers: dict[str, str]
    body: bytes
    event: dict[str, Any]


class WebhookReceiver:
    """See the module. `account` holds what it accepted, by the endpoints' names; `hooked` the same as it came."""

    name = Receiver.WEBHOOK

    def __init__(
        self, *, clock: Clock, activity: Activity, faults: Faults | None = None, latency: timedelta = timedelta()
    ) -> None:
        """`latency` is in real time."""
        self._clock, self._latency = clock, latency
        self.faults = faults if faults is not None else Faults()
        self.account = Account()
        self.hooked: list[Hooked] = []
        self.secrets: dict[str, str] = {}
        self.base_url = ""
        self.loop = Loop("simulator.webhook", _nothing_to_do, clock=clock, activity=activity)
        self.app = new_app([("POST", "/hooks/{endpoint}", self._receive)])
        add_control(self)

    @property
    def answers(self) -> Sequence[CallbackAnswer]:
        """It calls nobody back."""
        return ()

    async def close(self) -> None:
        """It has no client."""

    def url(self, endpoint: str) -> str:
        """The address of an endpoint."""
        return f"{self.base_url}/hooks/{endpoint}"

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        endpoint, body = request.match_info["endpoint"], await request.read()
        headers = {key.lower(): value for key, value in request.headers.items()}
        wrong = self._wrong(endpoint, headers, body)
        if wrong is not None:
            self.account.refused.append(Refused(self.name, 401, (wrong,)))
            return web.Response(status=401)
        hooked = Hooked(endpoint, headers, body, json.loads(body))
        self.account.was_called(endpoint, self._clock.now())
        fault = self.faults.of_call(self.name, endpoint)
        return await carry_out(request, fault, lambda: self._accept(hooked), _fault_answer, self._latency)

    def _wrong(self, endpoint: str, headers: dict[str, str], body: bytes) -> str | None:
        """What is wrong with a webhook. The library's `verify` reads the machine's clock; what it signs does not."""
        try:
            at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        except (KeyError, ValueError):
            return "no timestamp"
        if abs(self._clock.now() - at) > _TOLERANCE:
            return "too old, or too new"
        if endpoint not in self.secrets:
            return None
        signed = Webhook(self.secrets[endpoint]).sign(headers.get("webhook-id", ""), at, body.decode())
        return None if signed in headers.get("webhook-signature", "").split(" ") else "no signature of ours"

    def _accept(self, hooked: Hooked) -> web.Response:
        self.hooked.append(hooked)
        data = hooked.event.get("data") or {}
        self.account.took(
            Accepted(
                provider=self.name,
                provider_id=hooked.headers["webhook-id"],
                recipient=hooked.endpoint,
                delivery_id=hooked.headers["webhook-id"],
                attempt=None,
                subject=data.get("title", hooked.event["type"]),
                text=data.get("message", ""),
                html=None,
                headers=hooked.headers,
                at=self._clock.now(),
            )
        )
        return web.Response(status=204)


def _fault_answer(fault: CallFault) -> web.Response:
    return web.Response(status=fault.status, headers=fault.headers, text=fault.message or "")


async def _nothing_to_do() -> datetime | None:
    return None
