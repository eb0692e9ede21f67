"""The bodies of webhooks: an event in JSON, its notification as REST shows it.

proto3 JSON with the contract's changes (contract.md, "Conventions"): proto field names, an enum value in lower case
without its type's prefix, fields without presence always written, an enum that says nothing left out.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tocsin_dispatcher.doors.notification_service import notification_to_proto, timestamp
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.notifications import InboxNotification

CREATED, TEST = "notification.created", "webhook.test"


def created_event(user: UserKey, notification: InboxNotification) -> bytes:
    """The event that a user has a notification."""
    data = rest_json(notification_to_proto(notification))
    return _body({"type": CREATED, **_instant(notification.created_at), "user_id": str(user.user_id), "data": data})


def tried_event(at: datetime) -> bytes:
    """The event that an owner tries an endpoint out."""
    return _body({"type": TEST, **_instant(at), "data": {}})


def rest_json(message: Message) -> dict[str, Any]:
    """The message as the gateway writes it."""
    written = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return _as_rest(message, written)


def _as_rest(message: Message, written: dict[str, Any]) -> dict[str, Any]:
    for field in message.DESCRIPTOR.fields:
        if field.name not in written:
            continue
        value = getattr(message, field.name)
        if field.enum_type is not None:
            _put_words(written, field, value)
        elif field.message_type is not None and not field.message_type.full_name.startswith("google.protobuf."):
            parts = (
                zip(value, written[field.name], strict=True) if field.is_repeated else [(value, written[field.name])]
            )
            for part, text in parts:
                _as_rest(part, text)
    return written


def _put_words(written: dict[str, Any], field: Any, value: Any) -> None:
    """The contract's word for a value, or for each: its name without what the names of all values begin with."""
    if value == 0:
        del written[field.name]
        return
    names = {each.number: each.name for each in field.enum_type.values}
    prefix = names[0].removesuffix("UNSPECIFIED")
    words = [names[number].removeprefix(prefix).lower() for number in (value if field.is_repeated else [value])]
    written[field.name] = words if field.is_repeated else words[0]


def _instant(at: datetime) -> dict[str, str]:
    stamp = timestamp(at)
    return {"timestamp": stamp.ToJsonString() if stamp is not None else ""}


def _body(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
