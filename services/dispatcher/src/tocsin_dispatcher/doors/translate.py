"""Events to and from protobuf."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from tocsin.events.v1 import events_pb2
from tocsin.types.v1 import types_pb2
from tocsin_dispatcher.announcing import DeliveryChange
from tocsin_dispatcher.doors.vocabulary import channel_of, channel_to_proto, class_of, kind_of
from tocsin_dispatcher.receipts.parse import Callback
from tocsin_dispatcher.store.recipients import Profile
from tocsin_dispatcher.values import AlertKind, Contact, Firing, FiringContext, ThresholdDirection
from tocsin_dispatcher.values.context_json import context_from_json, context_to_json
from tocsin_kit.messaging.publisher import Outgoing


def firing_of(data: bytes, traceparent: str | None, tracestate: str | None) -> Firing:
    """The firing in a message. Raises DecodeError or ValueError for what is none."""
    event = events_pb2.Firing.FromString(data)
    kind = kind_of(event.alert_type)
    return Firing(
        id=UUID(bytes=event.id),
        partner_id=event.partner_id,
        user_id=event.user_id,
        alert_id=event.alert_id,
        kind=kind,
        work_class=class_of(event.work_class),
        occurrence_key=event.occurrence_key,
        context=context_of(kind, event.context),
        fired_at=event.fired_at.ToDatetime(UTC),
        critical=event.critical,
        channels=tuple(channel_of(channel) for channel in event.channels),
        daily_digest=event.daily_digest,
        profile_version=event.profile_version,
        time_zone=event.time_zone or "UTC",
        locale=event.locale or "en-US",
        alert_name=event.alert_name,
        traceparent=traceparent,
        tracestate=tracestate,
    )


def context_of(kind: AlertKind, context: types_pb2.FiringContext) -> FiringContext:
    """Our form of a context. Raises ValueError when it is another kind's, or a value is no such value."""
    if context.WhichOneof("kind") != kind:
        raise ValueError(f"a firing of {kind} came with a context of {context.WhichOneof('kind')}")
    message = getattr(context, kind)
    stored: dict[str, str | int] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.name == "direction":
            value = types_pb2.ThresholdDirection.Name(value).removeprefix("THRESHOLD_DIRECTION_").lower()
        elif field.name == "as_of":
            value = value.ToDatetime(UTC).isoformat()
        stored[field.name] = value
    try:
        return context_from_json(kind, stored)
    except ArithmeticError as error:
        raise ValueError(f"a context of {kind} holds an amount that is none") from error


def context_to_proto(context: FiringContext) -> types_pb2.FiringContext:
    """The contract's form of a context."""
    made = types_pb2.FiringContext()
    message = getattr(made, context.kind)
    message.SetInParent()
    for name, value in context_to_json(context).items():
        if name == "direction":
            direction = ThresholdDirection(str(value))
            message.direction = types_pb2.ThresholdDirection.Value(f"THRESHOLD_DIRECTION_{direction.upper()}")
        elif name == "as_of":
            message.as_of.FromDatetime(datetime.fromisoformat(str(value)))
        else:
            setattr(message, name, value)
    return made


def profile_of(data: bytes) -> Profile:
    """The profile in a message. Raises DecodeError for what is none."""
    event = events_pb2.Profile.FromString(data)
    contact = Contact(
        partner_id=event.partner_id,
        user_id=event.user_id,
        email=event.email or None,
        email_verified_at=None,
        phone=event.phone or None,
        phone_verified_at=None,
        locale=event.locale or "en-US",
        time_zone=event.time_zone or "UTC",
        version=event.version,
    )
    return Profile(contact, event.email_verified, event.phone_verified, event.as_of.ToDatetime(UTC))


def callback_of(data: bytes) -> Callback:
    """The callback in a message. Raises DecodeError or ValueError for what is none."""
    event = events_pb2.Callback.FromString(data)
    received_at = event.received_at.ToDatetime(UTC)
    return Callback(str(UUID(bytes=event.id)), event.provider, received_at, event.url, event.body)


def change_to_event(change: DeliveryChange) -> Outgoing:
    """A delivery event for its stream."""
    event = events_pb2.DeliveryEvent(
        delivery_id=change.delivery_id.bytes,
        partner_id=change.partner_id,
        user_id=change.user_id,
        notification_id=b"" if change.notification_id is None else change.notification_id.bytes,
        channel=channel_to_proto(change.channel),
        status=change.status,
        reason=change.reason or "",
        attempt=change.attempt,
    )
    event.at.FromDatetime(change.at)
    return Outgoing(
        work_class=change.work_class,
        subject=f"tocsin.deliveries.{change.channel}.{change.status}",
        message_id=f"{change.delivery_id}:{change.attempt}:{change.status}",
        payload=event.SerializeToString(deterministic=True),
        traceparent=change.traceparent,
        tracestate=change.tracestate,
    )


def inbox_changed(partner_id: int, user_id: int, version: int) -> bytes:
    """The message that an inbox stands at a version now."""
    return events_pb2.InboxChanged(partner_id=partner_id, user_id=user_id, version=version).SerializeToString()
