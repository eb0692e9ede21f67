"""A SendGrid to run against: POST /v3/mail/send as the provider answers it, and its signed event webhook.

An address can ask for an outcome of its own: the part before the `@` being (or beginning, up to a `+`) `bounce`,
`blocked`, `dropped`, `deferred`, `spamreport`, `unsubscribe`, `open` or `silent`. A test orders others by `Faults`.

Sources: the Mail Send and Event Webhook pages of https://www.twilio.com/docs/sendgrid.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tocsin_devstack.callbacks import CallbackAnswer, CallbackQueue, Poster, again_after
from tocsin_devstack.contracts import Violation, sendgrid_mail_send
from tocsin_devstack.faults import CallFault, Faults, PlannedCallback, Provider, plan_callbacks
from tocsin_devstack.sendgrid_rules import rules
from tocsin_devstack.server import Accepted, Account, Refused, add_control, carry_out, new_app
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Loop

DELIVERY_ARGUMENT, ATTEMPT_ARGUMENT = "delivery_id", "delivery_attempt"
_USUAL = ("processed", "delivered")
_BY_ADDRESS: dict[str, tuple[str, ...]] = {
    "bounce": ("processed", "bounce"),
    "blocked": ("processed", "blocked"),
    "dropped": ("dropped",),
    "deferred": ("processed", "deferred", "delivered"),
    "spamreport": ("processed", "delivered", "spamreport"),
    "unsubscribe": ("processed", "delivered", "unsubscribe"),
    "open": ("processed", "delivered", "open"),
    "silent": ("processed",),
}
# What each event carries beyond what all carry; `blocked` is the page's name for a bounce of type blocked.
_OWN_FIELDS: dict[str, dict[str, object]] = {
    "bounce": {
        "reason": "500 unknown recipient",
        "status": "5.0.0",
        "type": "bounce",
        "bounce_classification": "Invalid Address",
    },
    "blocked": {
        "event": "bounce",
        "reason": "550 blocked for now",
        "status": "5.7.1",
        "type": "blocked",
        "bounce_classification": "Reputation",
    },
    "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
    "deferred": {"response": "400 try again later", "attempt": "5", "domain": "example.com"},
    "delivered": {"response": "250 OK"},
    "open": {"sg_machine_open": False, "useragent": "Mozilla/5.0", "ip": "255.255.255.255"},
}
_GIVE_UP_AFTER = timedelta(hours=24)


@dataclass(frozen=True)
class _Event:
    payload: dict[str, object]
    forged: bool
    first_due: datetime
    failures: int = 0


class SendGridSimulator:
    """See the module. `account` holds what it accepted; `public_key` is what SENDGRID_WEBHOOK_PUBLIC_KEY wants."""

    name = Provider.SENDGRID

    def __init__(
        self,
        *,
        clock: Clock,
        activity: Activity,
        random: Random,
        api_key: str,
        callback_url: str | None,
        faults: Faults | None = None,
        contracts: Path | None = None,
        latency: timedelta = timedelta(),
        callback_step: timedelta = timedelta(),
    ) -> None:
        """`callback_step` is the time between acceptance and the first event and between events, by the clock; the
        signing key follows from `api_key`, so that a restart keeps it. `latency` is in real time."""
        self._clock, self._random, self._api_key = clock, random, api_key
        self._callback_url, self._latency, self._step = callback_url, latency, callback_step
        self.faults = faults if faults is not None else Faults()
        self.account = Account()
        self._check = sendgrid_mail_send(contracts) if contracts is not None else None
        self._key = _key(api_key)
        self._poster = Poster(clock)
        self._queue: CallbackQueue[_Event] = CallbackQueue(
            "simulator.callbacks.sendgrid", self._post, clock=clock, activity=activity
        )
        self.app = new_app([("POST", "/v3/mail/send", self._send)])
        add_control(self)

    @property
    def loop(self) -> Loop:
        """Sends its events."""
        return self._queue.loop

    @property
    def answers(self) -> Sequence[CallbackAnswer]:
        """What was said to its events."""
        return self._poster.answers

    @property
    def public_key(self) -> str:
        """base64 of the key's SPKI DER, as SendGrid's settings show it."""
        return base64.b64encode(
            self._key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        ).decode()

    async def close(self) -> None:
        """Close its client."""
        await self._poster.close()

    async def _send(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self._api_key}":
            return self._refuse(401, [Violation(None, "authorization required")])
        if request.content_type != "application/json":
            return self._refuse(415, [Violation(None, "Content-Type should be application/json.")])
        raw = await request.read()
        try:
            mail: Any = json.loads(raw)
        except ValueError:
            return self._refuse(400, [Violation(None, "Bad Request")])
        wrong = rules(mail, len(raw), self._clock.now())
        if not wrong and self._check is not None:
            wrong = self._check(mail)
        if wrong:
            return self._refuse(400, wrong)
        if (mail.get("mail_settings") or {}).get("sandbox_mode", {}).get("enable"):
            return web.Response(status=200)
        recipient = mail["personalizations"][0]["to"][0]["email"]
        self.account.was_called(recipient, self._clock.now())
        fault = self.faults.of_call(self.name, recipient)
        return await carry_out(request, fault, lambda: self._accept(mail), self._answer_fault, self._latency)

    def _refuse(self, status: int, wrong: Sequence[Violation]) -> web.Response:
        self.account.refused.append(Refused(self.name, status, tuple(f"{one.field}: {one.message}" for one in wrong)))
        return _errors(status, wrong)

    def _answer_fault(self, fault: CallFault) -> web.Response:
        headers = dict(fault.headers)
        if fault.reset_in is not None:
            reset = int((self._clock.now() + fault.reset_in).timestamp())
            headers |= {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
        usual = "too many requests" if fault.status == 429 else "Internal Server Error"
        response = _errors(fault.status, [Violation(None, fault.message or usual)])
        response.headers.update(headers)
        return response

    def _accept(self, mail: dict[str, Any]) -> web.Response:
        message_id = base64.urlsafe_b64encode(self._random.randbytes(16)).decode().rstrip("=")
        for block in mail["personalizations"]:
            arguments = {**(mail.get("custom_args") or {}), **(block.get("custom_args") or {})}
            for person in (*block["to"], *(block.get("cc") or ()), *(block.get("bcc") or ())):
                self._take(mail, block, person["email"], arguments, message_id)
        return web.Response(status=202, headers={"X-Message-Id": message_id})

    def _take(
        self, mail: dict[str, Any], block: dict[str, Any], email: str, arguments: dict[str, str], message_id: str
    ) -> None:
        content = {part["type"]: part["value"] for part in mail.get("content") or ()}
        attempt = arguments.get(ATTEMPT_ARGUMENT, "")
        self.account.took(
            Accepted(
                provider=self.name,
                provider_id=message_id,
                recipient=email,
                delivery_id=arguments.get(DELIVERY_ARGUMENT),
                attempt=int(attempt) if attempt.isdecimal() else None,
                subject=block.get("subject") or mail.get("subject"),
                text=content.get("text/plain", ""),
                html=content.get("text/html"),
                headers={**(mail.get("headers") or {}), **(block.get("headers") or {})},
                at=self._clock.now(),
            )
        )
        usual = _BY_ADDRESS.get(email.split("@")[0].split("+")[0].lower(), _USUAL)
        orders = self.faults.of_callbacks(self.name, email)
        ids: dict[str, str] = {}
        for planned in plan_callbacks(usual, orders, code=None, step=self._step):
            event_id = ids.setdefault(planned.event, base64.urlsafe_b64encode(self._random.randbytes(16)).decode())
            self._plan(planned, email, arguments, message_id, event_id)

    def _plan(
        self, planned: PlannedCallback, email: str, arguments: dict[str, str], message_id: str, event_id: str
    ) -> None:
        due = self._clock.now() + planned.after
        payload: dict[str, object] = {
            **arguments,  # flat; what follows overwrites reserved names
            "email": email,
            "timestamp": int(due.timestamp()),
            "smtp-id": f"<{message_id}@ismtpd-555>",
            "event": planned.event,
            "sg_event_id": event_id,
            "sg_message_id": f"{message_id}.filter0001.16648.5515E0B88.0",
            **_OWN_FIELDS.get(planned.event, {}),
        }
        self._queue.add(due, _Event(payload, planned.forged, due))

    async def _post(self, events: Sequence[_Event]) -> list[tuple[datetime, _Event]]:
        """Send what is due in one array for those signed rightly and one for the forged; answers what to send again."""
        again: list[tuple[datetime, _Event]] = []
        for forged in (False, True):
            batch = [event for event in events if event.forged is forged]
            if not batch or self._callback_url is None:
                continue
            body, headers = self._signed([event.payload for event in batch], forged=forged)
            names = [str(event.payload["event"]) for event in batch]
            status = await self._poster.post(self._callback_url, body, headers, names)
            if not (200 <= status < 300 or forged):
                again += [self._later(event) for event in batch if self._clock.now() < event.first_due + _GIVE_UP_AFTER]
        return again

    def _later(self, event: _Event) -> tuple[datetime, _Event]:
        failures = event.failures + 1
        return self._clock.now() + again_after(failures), replace(event, failures=failures)

    def _signed(self, events: Sequence[dict[str, object]], *, forged: bool) -> tuple[bytes, dict[str, str]]:
        """Body and headers. The signature is over the timestamp's text and the raw body, which ends in CRLF."""
        body = json.dumps(events, separators=(",", ":")).encode() + b"\r\n"
        timestamp = str(int(self._clock.now().timestamp()))
        key = _key(f"not {self._api_key}") if forged else self._key
        signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return body, {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }


def _errors(status: int, wrong: Sequence[Violation]) -> web.Response:
    return web.json_response(
        {"errors": [{"message": one.message, "field": one.field, "help": None} for one in wrong]}, status=status
    )


def _key(secret: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 key that follows from a secret."""
    number = int.from_bytes(hashlib.sha512(secret.encode()).digest(), "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, FIPS 186-4 D.1.2.3
    return ec.derive_private_key(number % (order - 1) + 1, ec.SECP256R1())
