"""GetTimeline: what happened to a notification, for its user and for operators."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tocsin.notifications.v1 import notification_pb2
from tocsin_dispatcher.doors.delivery_service import attempt_to_proto, destination_shown
from tocsin_dispatcher.doors.notification_service import timestamp
from tocsin_dispatcher.doors.vocabulary import channel_to_proto, reason_to_proto
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.timeline import story_of
from tocsin_dispatcher.timeline.entries import Entry, Tell, entries_of
from tocsin_kit.rpc.caller import current_caller, required_partner_of
from tocsin_kit.rpc.errors import not_found


@dataclass(frozen=True)
class TimelineRpc:
    """`tell` says what made an alert fire."""

    engine: Engine
    tell: Tell

    async def get(self, request: notification_pb2.GetTimelineRequest) -> notification_pb2.GetTimelineResponse:
        """The entries in their order. Raises not_found, also for what is another's."""
        caller = current_caller()
        partner_id = required_partner_of(caller, request.partner_id)
        user_id = None if caller.belongs_to_no_partner else caller.require_user()[1]
        async with self.engine.connect() as connection:
            story = await story_of(connection, partner_id, user_id, UUID(request.id))
        if story is None:
            raise not_found("notification")
        return notification_pb2.GetTimelineResponse(entries=[_entry(one) for one in entries_of(story, self.tell)])


def _entry(one: Entry) -> notification_pb2.TimelineEntry:
    entry = notification_pb2.TimelineEntry(
        at=timestamp(one.at),
        kind=notification_pb2.TimelineKind.Value(f"TIMELINE_KIND_{one.kind.upper()}"),
        text=one.text,
        said=one.said,
    )
    if one.attempt is not None:
        entry.attempt.CopyFrom(attempt_to_proto(one.attempt))
        entry.attempt.ClearField("credential")  # nobody's but an operator's, who looks at the delivery
    if one.delivery is not None:
        entry.channel = channel_to_proto(one.delivery.channel)
        entry.delivery_id = str(one.delivery.id)
        entry.destination = destination_shown(one.delivery)
    if one.happening is not None:
        entry.reason = reason_to_proto(one.happening.reason)
        entry.joined_delivery_id = str(one.happening.joined_id or "")
        if one.happening.until is not None:
            entry.until.FromDatetime(one.happening.until)
    return entry
