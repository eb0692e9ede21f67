"""One pooled HTTP client for all providers, with our own time limit and a span per call.

The SDKs' clients have no usable time limit and open a connection per call. What decides between "try again" and
"maybe it was sent" is whether the request was written, so that is watched here.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace

import aiohttp
import structlog
from opentelemetry.trace import Span, Tracer

from tocsin_dispatcher.providers.address_guard import AddressGuard, AddressRefused, LocalAddresses
from tocsin_dispatcher.providers.judging import judged
from tocsin_dispatcher.values import Attempt, Outcome
from tocsin_kit.telemetry import names
from tocsin_kit.telemetry.propagation import context_of
from tocsin_kit.telemetry.spans import answered, client_span

_log = structlog.get_logger(__name__)
_LARGEST_ANSWER = 64 * 1024
_LARGEST_ANSWER_OF_STRANGERS = 4 * 1024
_RESOLVING_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Request:
    """One call."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    shown_url: str = ""
    """What a trace may show in place of a URL that is secret; empty: the URL."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider said."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def told(self) -> Mapping[str, object]:
        """The body's JSON object; empty where it is none."""
        try:
            told = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    @property
    def retry_after(self) -> timedelta | None:
        """How long to wait, of at most a day; None where it is not told in seconds (RFC 9110, 10.2.3)."""
        seconds = self.headers.get("retry-after", "").strip()
        told = seconds.isascii() and seconds.isdecimal() and len(seconds) <= 5
        return min(timedelta(seconds=int(seconds)), timedelta(days=1)) if told else None


@dataclass(frozen=True, slots=True)
class NotWritten:
    """The request never left: no connection in time. Trying again repeats nothing."""

    why: str
    refused: bool = False
    """By ourselves: the address must not be called."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request left and no readable answer came: it may have been carried out."""

    why: str


Exchange = Answer | NotWritten | NoAnswer


class _Written:
    """Whether the head of a request has been written."""

    def __init__(self) -> None:
        self.yes = False


class HttpClient:
    """Calls providers. Make it by `http_client`, or by `http_client_for_strangers`."""

    def __init__(
        self, session: aiohttp.ClientSession, limit: timedelta, tracer: Tracer, largest_answer: int = _LARGEST_ANSWER
    ) -> None:
        self._session = session
        self._limit = limit
        self._tracer = tracer
        self._largest_answer = largest_answer

    async def call(self, request: Request, attempt: Attempt, judge: Callable[[Exchange], Outcome]) -> Outcome:
        """Make the call as a part of the delivery's trace, and judge what came of it."""
        with self._span(request, attempt) as span:
            outcome = judged(judge, await self._traced(request, span), attempt.delivery_id)
            span.set_attribute(names.OUTCOME, outcome.kind)
            return outcome

    async def ask(self, request: Request, attempt: Attempt) -> Exchange:
        """Ask something about an attempt, as a part of its delivery's trace."""
        with self._span(request, attempt) as span:
            return await self._traced(request, span)

    def _span(self, request: Request, attempt: Attempt) -> AbstractContextManager[Span]:
        parent = context_of(attempt.traceparent, attempt.tracestate)
        said = {names.DELIVERY_ID: str(attempt.delivery_id)}
        url = request.shown_url or request.url
        return client_span(self._tracer, request.method, url, attributes=said, parent=parent)

    async def _traced(self, request: Request, span: Span) -> Exchange:
        exchange = await self._exchange(request)
        if isinstance(exchange, Answer):
            answered(span, exchange.status)
        else:
            span.set_attribute(names.ERROR_TYPE, exchange.why)
        return exchange

    async def _exchange(self, request: Request) -> Exchange:
        written = _Written()
        try:
            async with (
                asyncio.timeout(self._limit.total_seconds()),
                self._session.request(
                    request.method,
                    request.url,
                    params=request.query or None,
                    headers=request.headers,
                    data=request.body,
                    allow_redirects=False,
                    trace_request_ctx=written,
                ) as response,
            ):
                body = await _beginning(response, self._largest_answer)
                return Answer(response.status, {key.lower(): value for key, value in response.headers.items()}, body)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return NoAnswer(type(error).__name__) if written.yes else _not_written(error)
        except Exception as error:
            if not written.yes:
                raise
            _log.exception("answer_not_read")  # a fault of ours; the message may have been taken all the same
            return NoAnswer(type(error).__name__)


def _not_written(error: Exception) -> NotWritten:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, AddressRefused | aiohttp.InvalidURL):
        return NotWritten(AddressRefused.__name__, refused=True)
    return NotWritten(type(error).__name__)


async def _beginning(response: aiohttp.ClientResponse, largest: int) -> bytes:
    """The body, or its beginning where it is longer than any answer we read."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= largest:
            break
    return bytes(body[:largest])


@asynccontextmanager
async def http_client(limit: timedelta, tracer: Tracer) -> AsyncIterator[HttpClient]:
    """A client with a pool of its own, closed at the end. `limit` is for a whole call, connecting included.

    The pool has no limit, for the lanes' slots are one: with a limit for all of them a provider that hangs would take
    the connections of the others.
    """
    async with _session(aiohttp.TCPConnector(limit=0)) as session:
        yield HttpClient(session, limit, tracer)


@asynccontextmanager
async def http_client_for_strangers(
    limit: timedelta, tracer: Tracer, local: LocalAddresses = ()
) -> AsyncIterator[HttpClient]:
    """As `http_client`, for URLs that people gave us: addresses are guarded, answers read to 4 KB and as they come."""
    executor = ThreadPoolExecutor(_RESOLVING_AT_ONCE, "resolving")
    guard = AddressGuard(local, executor)
    connector = aiohttp.TCPConnector(limit=0, resolver=guard, use_dns_cache=False, socket_factory=guard.socket)
    try:
        async with _session(connector, headers={"Accept-Encoding": "identity"}, auto_decompress=False) as session:
            yield HttpClient(session, limit, tracer, _LARGEST_ANSWER_OF_STRANGERS)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _session(
    connector: aiohttp.TCPConnector, headers: Mapping[str, str] | None = None, auto_decompress: bool = True
) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_note_written)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        headers=headers,
        auto_decompress=auto_decompress,
    )


async def _note_written(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _sent: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.yes = True
