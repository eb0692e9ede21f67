"""The bodies of webhooks are what REST shows: the gateway's own encoder says the same."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tocsin.notifications.v1 import delivery_pb2, notification_pb2, preference_pb2
from tocsin.types.v1 import types_pb2
from tocsin_dispatcher.doors.notification_service import notification_to_proto
from tocsin_dispatcher.doors.webhook_events import created_event, rest_json, tried_event
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.notifications import InboxDelivery, InboxNotification
from tocsin_dispatcher.values import AlertKind, Channel
from tocsin_gateway.transcoding.codec import Codec

from .conftest import FIRING_ID, NOON_IN_CHICAGO, PURCHASE

OVERRIDE = preference_pb2.ChannelOverride(enabled=True)
READ_AT = datetime(2025, 11, 5, 19, 0, 0, 123456, tzinfo=UTC)


def shown(**changes: Any) -> InboxNotification:
    values: dict[str, Any] = {
        "id": FIRING_ID,
        "alert_id": 2**53 + 1,
        "kind": AlertKind.MERCHANT_NAME,
        "title": "Crème brûlée",
        "message": "Transaction detected",
        "action_url": "https://app.example/transactions/991",
        "context": PURCHASE,
        "critical": False,
        "created_at": NOON_IN_CHICAGO,
        "read_at": None,
        "deleted_at": None,
        "version": 0,
    }
    return InboxNotification(**{**values, **changes})


SENT = InboxDelivery(Channel.IN_APP, DeliveryState.SENT, None, NOON_IN_CHICAGO, None, NOON_IN_CHICAGO, None, None)
HELD = InboxDelivery(Channel.EMAIL, DeliveryState.HELD, Reason.QUIET_HOURS, NOON_IN_CHICAGO, READ_AT, None, None, None)


@pytest.mark.parametrize("notification", [shown(), shown(critical=True, read_at=READ_AT, deliveries=(SENT, HELD))])
def test_a_notification_is_written_as_the_gateway_writes_it(notification: InboxNotification) -> None:
    event = json.loads(created_event(UserKey(1, 7), notification))
    assert event["data"] == json.loads(Codec().encode(notification_to_proto(notification)))
    assert (event["type"], event["user_id"]) == ("notification.created", "7")
    assert event["timestamp"] == event["data"]["created_at"] == "2025-11-05T18:00:00Z"


@pytest.mark.parametrize(
    "message",
    [
        notification_pb2.Notification(),
        delivery_pb2.Delivery(attempts=[delivery_pb2.Attempt(outcome=delivery_pb2.ATTEMPT_OUTCOME_UNKNOWN)]),
        preference_pb2.Preferences(quiet_hours=preference_pb2.QuietHours(start="22:00"), overrides=[OVERRIDE]),
        preference_pb2.WebhookEndpoint(
            alert_types=[types_pb2.ALERT_TYPE_GOAL, types_pb2.ALERT_TYPE_UPCOMING_BILL], disabled=True
        ),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_other_messages_are_written_as_the_gateway_writes_them(message: Any) -> None:
    assert rest_json(message) == json.loads(Codec().encode(message))


def test_a_test_event_has_the_form_of_any_other() -> None:
    assert json.loads(tried_event(NOON_IN_CHICAGO)) == {
        "type": "webhook.test",
        "timestamp": "2025-11-05T18:00:00Z",
        "data": {},
    }
