"""Firings as the evaluator publishes them, for tests that need many of them or need them at once."""

from datetime import datetime
from uuid import uuid1

from tocsin.events.v1 import events_pb2
from tocsin.types.v1 import types_pb2


def low_balance(user: int, fired_at: datetime) -> bytes:
    """Of the class periodic, for bank 1's user; knows of the profile's second version."""
    firing = events_pb2.Firing(
        id=uuid1().bytes,
        partner_id=1,
        user_id=user,
        alert_id=user,
        alert_type=types_pb2.ALERT_TYPE_ACCOUNT_THRESHOLD,
        work_class=types_pb2.WORK_CLASS_PERIODIC,
        occurrence_key=str(user),
        channels=[types_pb2.CHANNEL_EMAIL],
        profile_version=2,
        time_zone="America/Chicago",
        locale="en-US",
        alert_name="Balance is low",
    )
    context = firing.context.account_threshold
    context.account_id, context.account, context.currency = user, "Checking", "USD"
    context.balance, context.threshold = "100.00", "500.00"
    context.direction = types_pb2.THRESHOLD_DIRECTION_BELOW
    context.as_of.FromDatetime(fired_at)
    firing.fired_at.FromDatetime(fired_at)
    return firing.SerializeToString()
