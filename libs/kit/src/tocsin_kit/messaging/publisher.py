"""Publishing to JetStream: in atomic batches, each acknowledgement time-limited."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

import nats.errors
from nats.aio.client import Client
from nats.nuid import NUID
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tocsin_kit.activity import Activity
from tocsin_kit.messaging.broker import Broker
from tocsin_kit.messaging.streams import stream_of

SCHEMA = "1"
_ACK_LIMIT = timedelta(seconds=5)
_SINGLES_AT_ONCE = 50
_propagator = TraceContextTextMapPropagator()


@dataclass(frozen=True)
class Outgoing:
    """A message for a stream. `work_class` is the lane of the outbox it waits in."""

    work_class: str
    subject: str
    message_id: str
    payload: bytes
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """NATS headers: id, trace context and schema."""
        headers = {"Nats-Msg-Id": self.message_id, "tocsin-schema": SCHEMA}
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        if self.tracestate:
            headers["tracestate"] = self.tracestate
        return headers


class NotAcknowledged(ConnectionError):
    """The broker refused a message or did not answer in time: it may or may not have it."""


class Publisher:
    """Publishes to the streams. The order within a stream is kept."""

    def __init__(self, broker: Broker, tracer: Tracer, activity: Activity) -> None:
        self._broker, self._tracer, self._activity = broker, tracer, activity
        self._batch_ids = NUID()

    async def publish(self, messages: Sequence[Outgoing]) -> list[Exception | None]:
        """Publish all; answers per message None (the broker has it) or why it is not known to have it."""
        client = await self._broker.connection()
        with self._tracer.start_as_current_span(
            "publish",
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            kind=SpanKind.PRODUCER,
            links=_links(messages),
            attributes={"messaging.system": "nats", "messaging.batch.message_count": len(messages)},
        ):
            outcomes: list[Exception | None] = []
            for _, group in groupby(messages, key=lambda message: stream_of(message.subject).name):
                batch = list(group)
                outcomes += await self._batch(client, batch)
        return outcomes

    async def _batch(self, client: Client, batch: Sequence[Outgoing]) -> list[Exception | None]:
        if len(batch) > 1:
            error = await self._atomically(client, batch)
            if error is None:
                self._count(batch)
                return [None] * len(batch)
        # One id the broker knows already refuses the whole batch: send these one by one.
        outcomes: list[Exception | None] = []
        for start in range(0, len(batch), _SINGLES_AT_ONCE):
            part = batch[start : start + _SINGLES_AT_ONCE]
            outcomes += await asyncio.gather(*(self._single(client, message) for message in part))
        return outcomes

    async def _atomically(self, client: Client, batch: Sequence[Outgoing]) -> Exception | None:
        batch_id = self._batch_ids.next().decode()
        try:
            for number, message in enumerate(batch[:-1], 1):
                headers = {**message.headers, "Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
                await client.publish(message.subject, message.payload, headers=headers)
        except nats.errors.MaxPayloadError as error:
            return error  # one by one: the others need not wait for it; the broker drops a batch without an end
        commit = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(len(batch)), "Nats-Batch-Commit": "1"}
        last = batch[-1]
        answer = await self._request(client, last, {**last.headers, **commit})
        return answer if isinstance(answer, Exception) else None

    async def _single(self, client: Client, message: Outgoing) -> Exception | None:
        answer = await self._request(client, message, message.headers)
        if isinstance(answer, Exception):
            return answer
        if not answer.get("duplicate"):
            self._count([message])
        return None

    async def _request(
        self, client: Client, message: Outgoing, headers: dict[str, str]
    ) -> dict[str, object] | NotAcknowledged:
        try:
            answer = await client.request(
                message.subject, message.payload, timeout=_ACK_LIMIT.total_seconds(), headers=headers
            )
        except (nats.errors.Error, TimeoutError, OSError) as error:
            return NotAcknowledged(f"{message.subject}: {type(error).__name__}: {error}")
        acknowledgement: dict[str, object] = json.loads(answer.data)
        if "error" in acknowledgement:
            return NotAcknowledged(f"{message.subject}: {acknowledgement['error']}")
        return acknowledgement

    def _count(self, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            stream = stream_of(message.subject)
            if stream.is_work_queue:
                self._activity.begun(f"stream.{stream.name}")


def _links(messages: Sequence[Outgoing]) -> list[Link]:
    contexts = (
        trace.get_current_span(_propagator.extract({"traceparent": message.traceparent})).get_span_context()
        for message in messages
        if message.traceparent
    )
    return [Link(context) for context in contexts if context.is_valid]
