"""A Twilio to run against: creating, listing and fetching messages as the provider answers, and its signed callbacks.

Twilio's magic numbers (+15005550001 ...) are refused as Twilio does; +150055 followed by an error code, for example
+15005530005, is accepted and comes back `undelivered` with that code. A number that sent STOP is refused with 21610
until it sends START. A test orders other things by `Faults`.

Sources: https://www.twilio.com/docs/messaging/api/message-resource and .../guides/track-outbound-message-status.
"""

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urldefrag, urlencode, urlsplit

from aiohttp import web

from tocsin_devstack.callbacks import CallbackAnswer, CallbackQueue, Poster, again_after
from tocsin_devstack.contracts import twilio_create_message
from tocsin_devstack.faults import CallFault, Faults, Provider, plan_callbacks
from tocsin_devstack.server import Accepted, Account, Refused, add_control, carry_out, new_app
from tocsin_devstack.twilio_rules import (
    MESSAGES,
    connection_overrides,
    refusal,
    segments,
    signature,
    undelivered_code,
)
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Loop

DELIVERY_PARAMETER, ATTEMPT_PARAMETER = "delivery_id", "attempt"
_VERSION = "2010-04-01"
_STOP_WORDS = frozenset(("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"))
_START_WORDS = frozenset(("START", "YES", "UNSTOP"))


@dataclass(frozen=True)
class _Callback:
    url: str
    parameters: tuple[tuple[str, str], ...]
    forged: bool = False
    failures: int = 0


class TwilioSimulator:
    """See the module. `account` holds what it accepted, `opted_out` the numbers that sent STOP."""

    name = Provider.TWILIO

    def __init__(
        self,
        *,
        clock: Clock,
        activity: Activity,
        random: Random,
        account_sid: str,
        auth_token: str,
        inbound_url: str | None,
        faults: Faults | None = None,
        contracts: Path | None = None,
        latency: timedelta = timedelta(),
        callback_step: timedelta = timedelta(),
    ) -> None:
        """`callback_step` is the time between creation and the first status and between statuses, by the clock;
        `latency` is in real time; messages from people are posted to `inbound_url`."""
        self._clock, self._random = clock, random
        self._sid, self._token, self._inbound_url = account_sid, auth_token, inbound_url
        self._latency, self._step = latency, callback_step
        self.faults = faults if faults is not None else Faults()
        self.account = Account()
        self.opted_out: set[str] = set()
        self._messages: dict[str, dict[str, object]] = {}
        self._check = twilio_create_message(contracts) if contracts is not None else None
        self._poster = Poster(clock)
        self._queue: CallbackQueue[_Callback] = CallbackQueue(
            "simulator.callbacks.twilio", self._post, clock=clock, activity=activity
        )
        messages = f"/{_VERSION}/Accounts/{{account}}/Messages"
        self.app = new_app(
            [
                ("POST", f"{messages}.json", self._create),
                ("GET", f"{messages}.json", self._list),
                ("GET", f"{messages}/{{sid}}.json", self._fetch),
                ("POST", "/_control/inbound", self._order_inbound),
            ]
        )
        add_control(self)

    @property
    def loop(self) -> Loop:
        """Sends its callbacks."""
        return self._queue.loop

    @property
    def answers(self) -> Sequence[CallbackAnswer]:
        """What was said to its callbacks."""
        return self._poster.answers

    async def close(self) -> None:
        """Close its client."""
        await self._poster.close()

    def receive(self, sender: str, to: str, text: str) -> None:
        """A person's phone `sender` sends `text` to our number `to`: STOP and START words change who may be sent to,
        and the message is posted to the inbound URL."""
        word = text.strip().upper()
        if word in _STOP_WORDS:
            self.opted_out.add(sender)
        elif word in _START_WORDS:
            self.opted_out.discard(sender)
        if self._inbound_url is None:
            return
        kind = {**dict.fromkeys(_STOP_WORDS, "STOP"), **dict.fromkeys(_START_WORDS, "START")}.get(word)
        sid = self._new_sid()
        fields = {
            "MessageSid": sid,
            "SmsSid": sid,
            "SmsMessageSid": sid,
            "AccountSid": self._sid,
            "From": sender,
            "To": to,
            "Body": text,
            "NumMedia": "0",
            "NumSegments": str(segments(text)),
            "SmsStatus": "received",
            "ApiVersion": _VERSION,
            "FromState": "",  # sent empty where unknown; part of what is signed
            **({"OptOutType": kind} if kind else {}),
        }
        self._queue.add(self._clock.now(), _Callback(self._inbound_url, tuple(fields.items())))

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if (denied := self._denied(request)) is not None:
            return denied
        form = parse_qs((await request.read()).decode(), keep_blank_values=True)
        refused = refusal(form, self._check)
        if refused is not None:
            return self._refuse(400, *refused)
        to = form["To"][0]
        if to in self.opted_out:
            return self._refuse(400, 21610, MESSAGES[21610])
        self.account.was_called(to, self._clock.now())
        fault = self.faults.of_call(self.name, to)
        return await carry_out(request, fault, lambda: self._accept(form), _answer_fault, self._latency)

    async def _list(self, request: web.Request) -> web.Response:
        if (denied := self._denied(request)) is not None:
            return denied
        query = request.query
        found = [message for message in self._messages.values() if _matches(message, query)]
        uri = f"/{_VERSION}/Accounts/{self._sid}/Messages.json"
        return web.json_response(
            {
                "messages": [_shown(message) for message in reversed(found)],
                "page": 0,
                "page_size": int(query.get("PageSize", "50")),
                "start": 0,
                "end": max(len(found) - 1, 0),
                "uri": request.path_qs,
                "first_page_uri": uri,
                "next_page_uri": None,
                "previous_page_uri": None,
            }
        )

    async def _fetch(self, request: web.Request) -> web.Response:
        if (denied := self._denied(request)) is not None:
            return denied
        message = self._messages.get(request.match_info["sid"])
        return _error(404, 20404, MESSAGES[20404]) if message is None else web.json_response(_shown(message))

    async def _order_inbound(self, request: web.Request) -> web.Response:
        """{"from": ..., "to": ..., "body": ...}: a person writes to us."""
        order = await request.json()
        self.receive(str(order["from"]), str(order["to"]), str(order["body"]))
        return web.Response(status=204)

    def _denied(self, request: web.Request) -> web.Response | None:
        wanted = "Basic " + base64.b64encode(f"{self._sid}:{self._token}".encode()).decode()
        if not hmac.compare_digest(request.headers.get("Authorization", ""), wanted):
            return self._refuse(401, 20003, MESSAGES[20003])
        if request.match_info["account"] != self._sid:
            return self._refuse(404, 20404, MESSAGES[20404])
        return None

    def _refuse(self, status: int, code: int, message: str) -> web.Response:
        self.account.refused.append(Refused(self.name, status, (f"{code}: {message}",)))
        return _error(status, code, message)

    def _accept(self, form: Mapping[str, Sequence[str]]) -> web.Response:
        first = {name: values[0] for name, values in form.items()}
        message = self._new_message(first)
        sid = str(message["sid"])
        self._messages[sid] = message
        callback_url = first.get("StatusCallback")
        parameters = parse_qs(urlsplit(callback_url or "").query)
        attempt = parameters.get(ATTEMPT_PARAMETER, [""])[0]
        self.account.took(
            Accepted(
                provider=self.name,
                provider_id=sid,
                recipient=first["To"],
                delivery_id=parameters.get(DELIVERY_PARAMETER, [None])[0],
                attempt=int(attempt) if attempt.isdecimal() else None,
                subject=None,
                text=first.get("Body", ""),
                html=None,
                headers={},
                at=self._clock.now(),
            )
        )
        created = web.json_response(_shown(message), status=201)
        self._plan(message, callback_url)
        return created

    def _new_message(self, first: Mapping[str, str]) -> dict[str, object]:
        sid = self._new_sid()
        path = f"/{_VERSION}/Accounts/{self._sid}/Messages/{sid}"
        now = self._clock.now()
        return {
            "account_sid": self._sid,
            "api_version": _VERSION,
            "body": first.get("Body", ""),
            "date_created": now,
            "date_sent": now,
            "date_updated": now,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": first.get("From"),
            "messaging_service_sid": first.get("MessagingServiceSid"),
            "num_media": "0",
            "num_segments": str(segments(first.get("Body", ""))),
            "price": None,
            "price_unit": "USD",
            "sid": sid,
            "status": "accepted" if "MessagingServiceSid" in first else "queued",
            "subresource_uris": {"media": f"{path}/Media.json"},
            "to": first["To"],
            "uri": f"{path}.json",
        }

    def _plan(self, message: dict[str, object], callback_url: str | None) -> None:
        to, sid = str(message["to"]), str(message["sid"])
        code = undelivered_code(to)
        usual = ("sent", "undelivered" if code is not None else "delivered")
        for one in plan_callbacks(usual, self.faults.of_callbacks(self.name, to), code=code, step=self._step):
            failed = one.event in ("failed", "undelivered")
            fields = {
                "MessageSid": sid,
                "SmsSid": sid,
                "AccountSid": self._sid,
                "From": str(message["from"] or ""),
                "To": to,
                "MessageStatus": one.event,
                "SmsStatus": one.event,
                "ApiVersion": _VERSION,
                **({"ErrorCode": str(one.code)} if failed and one.code is not None else {}),
            }
            # a message without StatusCallback still changes; only nobody is told
            callback = _Callback(callback_url or "", tuple(fields.items()), one.forged)
            self._queue.add(self._clock.now() + one.after, callback)

    async def _post(self, callbacks: Sequence[_Callback]) -> list[tuple[datetime, _Callback]]:
        return [again for callback in callbacks for again in await self._post_one(callback)]

    async def _post_one(self, callback: _Callback) -> list[tuple[datetime, _Callback]]:
        """Change the message, tell the URL; answers when to try again as the URL's overrides say."""
        fields = dict(callback.parameters)
        status = fields.get("MessageStatus", fields["SmsStatus"])
        if not callback.forged:
            self._change(fields["MessageSid"], status, fields.get("ErrorCode"))
        if not callback.url:
            return []
        url = urldefrag(callback.url).url
        token = f"not {self._token}" if callback.forged else self._token
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": signature(token, url, callback.parameters),
        }
        answer = await self._poster.post(url, urlencode(callback.parameters).encode(), headers, [status])
        overrides = connection_overrides(callback.url)
        if callback.forged or callback.failures >= overrides.retries or not overrides.covers(answer):
            return []
        failures = callback.failures + 1
        return [(self._clock.now() + again_after(failures), replace(callback, failures=failures))]

    def _change(self, sid: str, status: str, code: str | None) -> None:
        message = self._messages.get(sid)
        if message is not None:
            changed: dict[str, object] = {"status": status, "date_updated": self._clock.now()}
            if code is not None:
                changed |= {"error_code": int(code), "error_message": MESSAGES.get(int(code), "Delivery failed")}
            if status == "delivered":
                changed["price"] = "-0.00790"
            message.update(changed)

    def _new_sid(self) -> str:
        return "SM" + self._random.randbytes(16).hex()


def _matches(message: Mapping[str, object], query: Mapping[str, str]) -> bool:
    sent = message["date_sent"]
    day = sent.date().isoformat() if isinstance(sent, datetime) else ""
    return (
        query.get("To") in (None, message["to"])
        and query.get("From") in (None, message["from"])
        and query.get("DateSent", day)[:10] == day
        and query.get("DateSent>", day)[:10] <= day <= query.get("DateSent<", day)[:10]
    )


def _shown(message: Mapping[str, object]) -> dict[str, object]:
    return {name: format_datetime(value) if isinstance(value, datetime) else value for name, value in message.items()}


def _answer_fault(fault: CallFault) -> web.Response:
    code = fault.code if fault.code is not None else (20429 if fault.status == 429 else 20500)
    response = _error(fault.status, code, fault.message or MESSAGES.get(code, "Refused"))
    response.headers.update(fault.headers)
    return response


def _error(status: int, code: int, message: str) -> web.Response:
    return web.json_response(
        {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}", "status": status},
        status=status,
    )
