"""Operators look at dead letters, and have them taken in after all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from opentelemetry.trace import INVALID_SPAN

from tocsin.events.v1 import events_pb2
from tocsin.notifications.v1 import delivery_pb2
from tocsin_dispatcher.doors.consumers import Door
from tocsin_dispatcher.doors.notification_service import timestamp
from tocsin_dispatcher.doors.paging import place_of, size_of, token_of
from tocsin_dispatcher.intake.dead_letters import DeadLetters
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.letters import (
    LetterFilter,
    StoredLetter,
    StoredTry,
    letters_named,
    letters_waiting,
    list_letters,
    tries_of,
)
from tocsin_dispatcher.store.notifications import Place
from tocsin_kit.messaging.consumer import Message as Delivered
from tocsin_kit.rpc.caller import current_caller
from tocsin_kit.rpc.errors import not_found

_EVENTS: Mapping[str, type[Message]] = {
    "FIRINGS": events_pb2.Firing,
    "PROFILES": events_pb2.Profile,
    "RECEIPTS": events_pb2.Callback,
}
_UNLESS_SAID = 200
_AT_ONCE = 100


@dataclass(frozen=True)
class DeadLetterRpcs:
    """`doors` are those that the streams' messages come in by, by stream."""

    engine: Engine
    letters: DeadLetters
    doors: Mapping[str, Door[Any]]

    async def listed(self, request: delivery_pb2.ListDeadLettersRequest) -> delivery_pb2.ListDeadLettersResponse:
        """A page, newest first."""
        size, after = size_of(request.page_size), place_of(request.page_token)
        async with self.engine.connect() as connection:
            found = await list_letters(connection, _filter(request), request.with_taken_in, size + 1, after)
        more = token_of(found[size - 1].at, found[size - 1].id) if len(found) > size else ""
        return delivery_pb2.ListDeadLettersResponse(
            dead_letters=[_to_proto(one) for one in found[:size]], next_page_token=more
        )

    async def get(self, request: delivery_pb2.GetDeadLetterRequest) -> delivery_pb2.GetDeadLetterResponse:
        """One, with all there is of it. Raises not_found."""
        id_ = UUID(request.id)
        async with self.engine.connect() as connection:
            found = await letters_named(connection, [id_])
            tries = await tries_of(connection, id_)
        if not found:
            raise not_found("dead letter")
        return delivery_pb2.GetDeadLetterResponse(dead_letter=_to_proto(found[0], tries, whole=True))

    async def retry(self, request: delivery_pb2.RetryDeadLettersRequest) -> delivery_pb2.RetryDeadLettersResponse:
        """Take those named in, or the oldest that fit. Raises not_found for one that is not there."""
        if request.ids:
            async with self.engine.connect() as connection:
                found = await letters_named(connection, [UUID(id_) for id_ in request.ids])
            if len(found) < len(request.ids):
                raise not_found("dead letter")
            return delivery_pb2.RetryDeadLettersResponse(results=await self._taken_in(found))
        return await self._fitting(_filter(request.filter), request.limit or _UNLESS_SAID)

    async def _fitting(self, wanted: LetterFilter, limit: int) -> delivery_pb2.RetryDeadLettersResponse:
        results: list[delivery_pb2.DeadLetterResult] = []
        after: Place | None = None
        while True:
            size = min(limit - len(results), _AT_ONCE)
            async with self.engine.connect() as connection:
                found = await letters_waiting(connection, wanted, size + 1, after)
            if not size or not found:
                return delivery_pb2.RetryDeadLettersResponse(results=results, more=bool(found))
            results += await self._taken_in(found[:size])
            after = Place(found[:size][-1].at, found[:size][-1].id)

    async def _taken_in(self, letters: Sequence[StoredLetter]) -> list[delivery_pb2.DeadLetterResult]:
        """Each goes through the door it came by. It is noted afterwards: should this process end in between, it is dead
        still, and taking it in once more changes nothing."""
        whys: dict[UUID, str | None] = {one.id: None for one in letters}
        dead = [one for one in letters if one.taken_in_at is None]
        for stream in sorted({one.stream for one in dead}):
            theirs = [one for one in dead if one.stream == stream]
            judged = await self.doors[stream].judge([_delivered(one) for one in theirs])
            outcomes = [(one.id, why) for one, why in zip(theirs, judged, strict=True)]
            await self.letters.tried(outcomes, current_caller().subject)
            whys |= dict(outcomes)
        return [_result(one.id, whys[one.id]) for one in letters]


def _result(id_: UUID, why: str | None) -> delivery_pb2.DeadLetterResult:
    return delivery_pb2.DeadLetterResult(id=str(id_), taken_in=why is None, error=why or "")


def _delivered(one: StoredLetter) -> Delivered:
    """The message as it came; the trace it belonged to is over."""
    return Delivered(
        subject=one.subject,
        message_id=one.message_id,
        data=one.data,
        deliveries=1,
        published_at=one.at,
        traceparent=None,
        tracestate=None,
        span=INVALID_SPAN,
    )


def _filter(said: delivery_pb2.ListDeadLettersRequest | delivery_pb2.DeadLetterFilter) -> LetterFilter:
    return LetterFilter(
        stream=said.stream or None,
        error=said.error.strip() or None,
        since=_instant(said, "since"),
        until=_instant(said, "until"),
    )


def _instant(said: Message, name: str) -> datetime | None:
    found: datetime | None = getattr(said, name).ToDatetime(UTC) if said.HasField(name) else None
    return found


def _to_proto(one: StoredLetter, tries: Sequence[StoredTry] = (), *, whole: bool = False) -> delivery_pb2.DeadLetter:
    return delivery_pb2.DeadLetter(
        id=str(one.id),
        stream=one.stream,
        subject=one.subject,
        message_id=one.message_id,
        error=one.error,
        died_at=timestamp(one.at),
        taken_in_at=timestamp(one.taken_in_at),
        size=one.size,
        content=one.data if whole else b"",
        decoded=decoded(one.stream, one.data) if whole else "",
        retries=[
            delivery_pb2.DeadLetterRetry(at=timestamp(each.at), subject=each.subject, error=each.error or "")
            for each in tries
        ],
    )


def decoded(stream: str, data: bytes) -> str:
    """What a message says, as JSON; empty where it is no such message."""
    try:
        message = _EVENTS[stream].FromString(data)
        shown = MessageToDict(message, preserving_proto_field_name=True)
    except (DecodeError, LookupError, ValueError):
        return ""
    id_ = getattr(message, "id", b"")
    if isinstance(id_, bytes) and len(id_) == 16:
        shown["id"] = str(UUID(bytes=id_))
    if isinstance(message, events_pb2.Callback):
        shown["body"] = _body(message.body)
    return json.dumps(shown, ensure_ascii=False, indent=2)


def _body(body: bytes) -> object:
    """JSON or a form as what it says, anything else as text."""
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return [list(pair) for pair in parse_qsl(text, keep_blank_values=True)] if "=" in text else text
