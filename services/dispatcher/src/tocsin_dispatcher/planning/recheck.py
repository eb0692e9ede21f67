"""Which deliveries the evaluator is asked about before they leave."""

from datetime import datetime, timedelta

from tocsin_dispatcher.planning.digests import may_join
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import Delivery, Notification, Purpose

FRESH = timedelta(minutes=1)
"""So young a firing is not asked about on its first attempt: its alert was true a moment ago."""

_CAME_BACK = frozenset({DeliveryState.HELD, DeliveryState.RETRYING})


def needs_recheck(delivery: Delivery, notification: Notification, now: datetime) -> bool:
    """Whether time has passed in which the alert may have gone, been snoozed, or ceased to be true.

    `delivery` as it was before the claim: one that was held or is retried has waited, and so has one that was queued.
    What is no alert's, a code or a trial, nobody has to be asked about; a digest's members are asked about whenever it
    is tried again.
    """
    if delivery.purpose is Purpose.DIGEST:
        return True
    if delivery.purpose is not Purpose.ALERT:
        return False
    waited = delivery.status in _CAME_BACK or may_join(delivery, notification)
    return waited or now - notification.fired_at > FRESH
