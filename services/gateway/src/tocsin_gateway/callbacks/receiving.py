"""The one path of every callback: bounded body, signature, stored, 2xx."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tocsin_gateway.entrance.bodies import read_body
from tocsin_gateway.entrance.frame import note_route
from tocsin_gateway.entrance.problems import problem
from tocsin_gateway.metrics import GatewayMetrics
from tocsin_gateway.store.callbacks import Callback
from tocsin_gateway.store.ledger import CallbackLedger, NotStored
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.rpc.errors import Reason, TocsinError, unavailable

LARGEST = 2 * 1024 * 1024
#: Real time: how long a provider may take to send its body.
BODY_LIMIT = timedelta(seconds=8)
#: What is kept of a callback's headers: enough to verify it again and to recognise a repetition.
_KEPT_HEADERS = (
    "content-type",
    "user-agent",
    "i-twilio-idempotency-token",
    "x-twilio-signature",
    "x-twilio-webhooks-signature-settings",
    "x-twilio-email-event-webhook-signature",
    "x-twilio-email-event-webhook-timestamp",
)
_log = structlog.get_logger(__name__)


class Signature(Protocol):
    """Says whether a provider sent a callback; never raises."""

    def is_valid(self, headers: Mapping[str, str], url: str, body: bytes, /) -> bool:
        """`headers` by lower-case name, `url` the public one with its query."""
        ...


@dataclass(frozen=True)
class CallbackPath:
    """A path that a provider calls, or a template of such paths; `provider` as in `tocsin.receipts.<provider>`."""

    provider: str
    path: str
    signature: Signature
    largest: int = LARGEST
    """Bytes of a body."""


class Receiver:
    """Receives the callbacks of one path."""

    def __init__(
        self,
        path: CallbackPath,
        ledger: CallbackLedger,
        *,
        public_url: str,
        clock: Clock,
        ids: Ids,
        metrics: GatewayMetrics,
    ) -> None:
        self._path, self._ledger = path, ledger
        self._public_url = public_url.rstrip("/")
        self._clock, self._ids, self._metrics = clock, ids, metrics

    async def __call__(self, request: Request) -> Response:
        """204 when stored; 403 forged, 408 too slow, 413 too large, 503 not stored: the provider will send it again."""
        note_route(request.scope, self._path.path)
        try:
            async with asyncio.timeout(BODY_LIMIT.total_seconds()):
                body = await read_body(request, self._path.largest)
        except ClientDisconnect:
            return Response(status_code=499)
        except TimeoutError:
            self._count("too_slow")
            late = TocsinError("the body did not come in time", Reason.DEADLINE_EXCEEDED)
            return problem(late, 408, {"Connection": "close"})  # what is left of the body is no next request
        except TocsinError as error:
            self._count("too_large")
            return problem(error)
        query = request.scope.get("query_string", b"").decode("latin-1")
        url = request.scope["path"] + (f"?{query}" if query else "")
        if not self._path.signature.is_valid(request.headers, self._public_url + url, body):
            self._count("forged")
            _log.warning("callback_forged", provider=self._path.provider)
            return problem(TocsinError("the signature does not fit", Reason.TOKEN_INVALID), 403)
        return await self._store(request, url, body)

    async def _store(self, request: Request, url: str, body: bytes) -> Response:
        headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
        callback = Callback(self._ids.uuid7(), self._path.provider, self._clock.now(), url, headers, body)
        try:
            await self._ledger.store(callback)
        except NotStored as error:
            self._count("not_stored")
            _log.error("callback_not_stored", provider=self._path.provider, error=str(error))
            return problem(unavailable("it could not be stored; send it again"))
        self._count("stored")
        return Response(status_code=204)

    def _count(self, outcome: str) -> None:
        self._metrics.callbacks.labels(self._path.provider, outcome).inc()
