"""Consuming a durable: explicit acknowledgement, in-progress signs, bounded batches.

nats-py's own `fetch` waits for a full batch until its time is up once a first message has come; so the pull
request is made here: one is open at a time, and whatever has come is worked on at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tocsin_kit.activity import Activity
from tocsin_kit.messaging.broker import Broker, BrokerAway
from tocsin_kit.messaging.streams import ACK_WAIT
from tocsin_kit.telemetry.propagation import cause_of
from tocsin_kit.transient import is_transient

_PULL_LASTS = timedelta(seconds=20)
_PAUSE, _LONGEST_PAUSE = timedelta(milliseconds=500), timedelta(seconds=15)
_AWAY = (BrokerAway, nats.errors.Error, OSError)
_log = structlog.get_logger(__name__)
_propagator = TraceContextTextMapPropagator()


class Verdict(Enum):
    """What is to become of a message."""

    DONE = "done"
    AGAIN = "again"
    DEAD = "dead"


@dataclass(frozen=True)
class Message:
    """A message as a handler sees it. `traceparent` is that of this message's own `process` span."""

    subject: str
    message_id: str
    data: bytes
    deliveries: int
    published_at: datetime
    traceparent: str | None
    tracestate: str | None
    span: Span


Handle = Callable[[Sequence[Message]], Awaitable[Sequence[Verdict]]]


class Consumer:
    """A Part that takes messages from a durable and has `handle` judge them, up to `batch` at once.

    While batches are full, up to `concurrency` are worked on side by side; what only trickles in comes together in the
    next one meanwhile. When `handle` fails because the infrastructure is away,
    the same batch is tried again after a pause; any other error ends the process.
    """

    def __init__(
        self,
        broker: Broker,
        stream: str,
        durable: str,
        handle: Handle,
        *,
        tracer: Tracer,
        activity: Activity,
        batch: int = 100,
        concurrency: int = 1,
    ) -> None:
        self.name = f"consumer.{stream}.{durable}"
        self._broker, self._stream, self._durable, self._handle = broker, stream, durable, handle
        self._tracer, self._activity = tracer, activity
        self._batch, self._concurrency = batch, concurrency

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until `stopping`; what is being handled then is finished first."""
        stopped = asyncio.create_task(stopping.wait())
        arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._broker.when_back(lambda: arrived.put_nowait(None))
        pause = _PAUSE
        try:
            while not stopping.is_set():
                try:
                    client = await self._broker.connection()
                    await self._consume_from(client, arrived, stopped)
                    pause = _PAUSE
                except _AWAY:
                    await asyncio.wait([stopped], timeout=pause.total_seconds())
                    pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            stopped.cancel()

    async def _consume_from(
        self, client: Client, arrived: asyncio.Queue[Msg | None], stopped: asyncio.Task[bool]
    ) -> None:
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=arrived.put)
        wanted, refusal, pause = 0, "", _PAUSE
        working: set[asyncio.Task[None]] = set()
        try:
            while not stopped.done():
                if wanted <= 0:
                    await self._pull(client, inbox)
                    wanted = self._batch
                got = await self._arrivals(arrived, stopped, working)
                messages = [message for message in got if message is not None and message.reply]
                # Anything else, or nothing, says that the pull has ended: lapsed, refused, or lost with a server.
                wanted = wanted - len(messages) if messages and len(messages) == len(got) else 0
                if messages:
                    pause = _PAUSE
                    working.add(asyncio.create_task(self._work_on(messages, stopped)))
                    working = await self._room(working, is_full=len(messages) == self._batch)
                before, refusal = refusal, next(filter(None, map(_refusal, got)), "")
                if refusal:
                    self._note(refusal, before)
                    await asyncio.wait([stopped], timeout=pause.total_seconds())
                    pause = min(pause * 2, _LONGEST_PAUSE)
        except _AWAY:
            raise  # what is being worked on is finished first
        except BaseException:
            for task in working:
                task.cancel()
            raise
        finally:
            with suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()
            try:
                ended = await asyncio.gather(*working, return_exceptions=True)
            finally:
                await _give_back(arrived)
            for fault in ended:
                if isinstance(fault, Exception) and not isinstance(fault, _AWAY):
                    raise fault

    async def _room(self, working: set[asyncio.Task[None]], *, is_full: bool) -> set[asyncio.Task[None]]:
        """Wait until another batch may be worked on; those that go on."""
        while working and (not is_full or len(working) >= self._concurrency):
            done, working = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            await _results(done)
        return working

    def _note(self, refusal: str, before: str) -> None:
        if refusal != before:
            _log.warning("consumer_refused", consumer=self.name, error=refusal)

    async def _pull(self, client: Client, inbox: str) -> None:
        order = {"batch": self._batch, "expires": int(_PULL_LASTS.total_seconds() * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await client.publish(subject, json.dumps(order).encode(), reply=inbox)

    async def _arrivals(
        self, arrived: asyncio.Queue[Msg | None], stopped: asyncio.Task[bool], working: set[asyncio.Task[None]]
    ) -> list[Msg | None]:
        """What has come, at least one; none when the pull's time is over or the service stops.

        None among it: the connection is a new one. What of `working` ends meanwhile is taken out of it; raises what it
        raised.
        """
        getting = asyncio.create_task(arrived.get())
        time = asyncio.get_running_loop().time
        until = time() + _PULL_LASTS.total_seconds() + 1
        try:
            while not (getting.done() or stopped.done()) and (left := until - time()) > 0:
                await asyncio.wait([getting, stopped, *working], timeout=left, return_when=asyncio.FIRST_COMPLETED)
                ended = {task for task in working if task.done()}
                working -= ended
                await _results(ended)
        except BaseException:
            if getting.done():
                arrived.put_nowait(getting.result())
            raise
        finally:
            getting.cancel()
        if not getting.done():
            return []
        got = [getting.result()]
        while not arrived.empty() and len(got) < self._batch:
            got.append(arrived.get_nowait())
        return got

    async def _work_on(self, arrivals: Sequence[Msg], stopped: asyncio.Task[bool]) -> None:
        messages = [self._message(arrival) for arrival in arrivals]
        signs = asyncio.create_task(_keep_in_progress(arrivals))
        try:
            verdicts = await self._judged(messages, stopped)
        finally:
            signs.cancel()
            for message in messages:
                message.span.end()
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            await self._settle(arrival, verdict)

    async def _judged(self, messages: Sequence[Message], stopped: asyncio.Task[bool]) -> Sequence[Verdict]:
        pause, failure = _PAUSE, ""
        while True:
            try:
                return await self._handle(messages)
            except Exception as error:
                if not is_transient(error):
                    raise
                if str(error) != failure:
                    failure = str(error)
                    _log.warning("consumer_waits", consumer=self.name, error=f"{type(error).__name__}: {error}")
            await asyncio.wait([stopped], timeout=pause.total_seconds())
            if stopped.done():
                return [Verdict.AGAIN] * len(messages)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _settle(self, arrival: Msg, verdict: Verdict) -> None:
        match verdict:
            case Verdict.DONE:
                await arrival.ack()
            case Verdict.DEAD:
                await arrival.term()
            case Verdict.AGAIN:
                await arrival.nak()
                return
        self._activity.ended(f"stream.{self._stream}")

    def _message(self, arrival: Msg) -> Message:
        headers = arrival.headers or {}
        span = self._tracer.start_span(
            f"process {arrival.subject}",
            context=_propagator.extract(headers, context=Context()),
            kind=SpanKind.CONSUMER,
            attributes={
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "messaging.destination.name": arrival.subject,
                "messaging.consumer.group.name": self._durable,
            },
            links=cause_of(headers.get("tracestate")),
        )
        context = span.get_span_context()
        own = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        return Message(
            subject=arrival.subject,
            message_id=headers.get("Nats-Msg-Id", ""),
            data=arrival.data,
            deliveries=arrival.metadata.num_delivered or 1,
            published_at=arrival.metadata.timestamp.astimezone(UTC),
            traceparent=own if context.is_valid else headers.get("traceparent"),
            tracestate=headers.get("tracestate"),
            span=span,
        )


def _refusal(arrival: Msg | None) -> str:
    """Why the broker does not serve the pull; empty for a message, and where the pull has only lapsed (404, 408)."""
    if arrival is None or arrival.reply:
        return ""
    headers = arrival.headers or {}
    status = headers.get("Status", "")
    return "" if status in ("404", "408") else f"{status} {headers.get('Description', '')}".strip() or "no status"


async def _give_back(arrived: asyncio.Queue[Msg | None]) -> None:
    """What has come and was not begun: others may have it at once."""
    while not arrived.empty():
        left = arrived.get_nowait()
        if left is not None and left.reply:
            with suppress(nats.errors.Error, OSError):
                await left.nak()


async def _results(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait for all; raises what one of them raised, a fault of ours before the broker's being away."""
    failures = [ended for ended in await asyncio.gather(*tasks, return_exceptions=True) if ended is not None]
    for failure in sorted(failures, key=lambda failure: isinstance(failure, _AWAY)):
        raise failure


async def _keep_in_progress(arrivals: Sequence[Msg]) -> None:
    while True:
        await asyncio.sleep(ACK_WAIT.total_seconds() / 3)  # noqa: TID251 - the broker's clock is the real one
        for arrival in arrivals:
            with suppress(nats.errors.Error, OSError):
                await arrival.in_progress()
