"""A push service to run against, with the browsers behind it: it checks who calls (VAPID), and each browser reads what
was encrypted for it, by an implementation that is not ours (http_ece).

    keys = push.browser("laptop")      what the browser's page would register: {"endpoint": ..., "keys": {...}}
    push.unsubscribe("laptop")         from now on the push service says that nobody is there (410)
    GET /_control/browsers/laptop      the same for who runs it as a process

Sources: RFC 8030 (Generic Event Delivery Using HTTP Push), RFC 8291, RFC 8292.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import http_ece
import jwt
from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tocsin_devstack.callbacks import CallbackAnswer
from tocsin_devstack.faults import CallFault, Faults, Receiver
from tocsin_devstack.server import Accepted, Account, Refused, add_control, carry_out, new_app
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Loop

_LARGEST_BODY = 4096
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, FIPS 186-4 D.1.2.3


@dataclass(frozen=True)
class _Browser:
    key: ec.EllipticCurvePrivateKey
    auth: bytes

    @property
    def keys(self) -> dict[str, str]:
        """As its PushSubscription tells them."""
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"p256dh": _text(point), "auth": _text(self.auth)}

    def read(self, body: bytes) -> bytes:
        """What was encrypted for it. Raises ECEException or InvalidTag."""
        read: bytes = http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm")
        return read


@dataclass(frozen=True)
class Pushed:
    """A message as it came: the headers by lower-case name, the bytes that only the browser can read, and the JSON
    that it read."""

    browser: str
    headers: dict[str, str]
    body: bytes
    told: dict[str, str]


class PushService:
    """See the module. `account` holds what it accepted, by the browsers' names; `pushed` the same as it came."""

    name = Receiver.WEBPUSH

    def __init__(
        self,
        *,
        clock: Clock,
        activity: Activity,
        random: Random,
        faults: Faults | None = None,
        latency: timedelta = timedelta(),
    ) -> None:
        """`latency` is in real time."""
        self._clock, self._random, self._latency = clock, random, latency
        self.faults = faults if faults is not None else Faults()
        self.account = Account()
        self.pushed: list[Pushed] = []
        self.base_url = ""
        self._browsers: dict[str, _Browser] = {}
        self._gone: set[str] = set()
        self.loop = Loop("simulator.webpush", _nothing_to_do, clock=clock, activity=activity)
        self.app = new_app([("POST", "/push/{browser}", self._push), ("GET", "/_control/browsers/{name}", self._show)])
        add_control(self)

    @property
    def answers(self) -> Sequence[CallbackAnswer]:
        """It calls nobody back."""
        return ()

    async def close(self) -> None:
        """It has no client."""

    def browser(self, name: str) -> dict[str, object]:
        """The subscription of the browser of that name, made where there is none yet."""
        if name not in self._browsers:
            number = self._random.randrange(1, _ORDER)
            self._browsers[name] = _Browser(ec.derive_private_key(number, ec.SECP256R1()), self._random.randbytes(16))
        self._gone.discard(name)
        return {"endpoint": f"{self.base_url}/push/{name}", "keys": self._browsers[name].keys}

    def unsubscribe(self, name: str) -> None:
        """The browser is gone."""
        self._gone.add(name)

    async def _show(self, request: web.Request) -> web.Response:
        self.base_url = str(request.url.origin())
        return web.json_response(self.browser(request.match_info["name"]))

    async def _push(self, request: web.Request) -> web.StreamResponse:
        name, body = request.match_info["browser"], await request.read()
        browser = self._browsers.get(name)
        if browser is None or name in self._gone:
            return web.Response(status=410 if name in self._gone else 404)
        headers = {key.lower(): value for key, value in request.headers.items()}
        try:
            self._check(headers, body, str(request.url.origin()))
            told: dict[str, str] = json.loads(browser.read(body))
        except (_Refusal, ValueError, InvalidTag, http_ece.ECEException) as error:
            return self._refuse(error)
        self.account.was_called(name, self._clock.now())
        fault = self.faults.of_call(self.name, name)
        pushed = Pushed(name, headers, body, told)
        return await carry_out(request, fault, lambda: self._accept(pushed), _fault_answer, self._latency)

    def _check(self, headers: dict[str, str], body: bytes, origin: str) -> None:
        if len(body) > _LARGEST_BODY:
            raise _Refusal(413, "too large")
        if headers.get("content-encoding") != "aes128gcm":
            raise _Refusal(400, "not encrypted")
        if not headers.get("ttl", "").isdecimal():
            raise _Refusal(400, "no TTL")
        if headers.get("urgency", "normal") not in ("very-low", "low", "normal", "high"):
            raise _Refusal(400, "no such urgency")
        if len(headers.get("topic", "")) > 32:
            raise _Refusal(400, "topic too long")
        scheme, _, words = headers.get("authorization", "").partition(" ")
        named = dict(word.strip().split("=", 1) for word in words.split(",") if "=" in word)
        if scheme != "vapid" or not {"t", "k"} <= named.keys():
            raise _Refusal(401, "no VAPID")
        self._check_token(named["t"], named["k"], origin)

    def _check_token(self, token: str, key: str, origin: str) -> None:
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _bytes(key))
        try:
            claims = jwt.decode(token, public, algorithms=["ES256"], audience=origin, options={"verify_exp": False})
        except jwt.PyJWTError as error:
            raise _Refusal(403, str(error)) from error
        now = self._clock.now()
        if not now < datetime.fromtimestamp(claims["exp"], now.tzinfo) <= now + timedelta(hours=24):
            raise _Refusal(403, "the token has expired, or lives too long")
        if not str(claims.get("sub", "")).startswith(("mailto:", "https:")):
            raise _Refusal(403, "nobody to turn to")

    def _refuse(self, error: Exception) -> web.Response:
        status, why = (error.status, error.why) if isinstance(error, _Refusal) else (400, type(error).__name__)
        self.account.refused.append(Refused(self.name, status, (why,)))
        return web.Response(status=status, text=why)

    def _accept(self, pushed: Pushed) -> web.Response:
        message_id = _text(self._random.randbytes(12))
        self.pushed.append(pushed)
        self.account.took(
            Accepted(
                provider=self.name,
                provider_id=message_id,
                recipient=pushed.browser,
                delivery_id=pushed.headers.get("topic"),
                attempt=None,
                subject=pushed.told["title"],
                text=pushed.told["message"],
                html=None,
                headers=pushed.headers,
                at=self._clock.now(),
            )
        )
        return web.Response(status=201, headers={"Location": f"{self.base_url}/message/{message_id}"})


class _Refusal(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def _fault_answer(fault: CallFault) -> web.Response:
    return web.Response(status=fault.status, headers=fault.headers, text=fault.message or "")


async def _nothing_to_do() -> datetime | None:
    return None


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
