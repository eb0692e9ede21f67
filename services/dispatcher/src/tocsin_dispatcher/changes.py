"""A delivery's new state, as others are told of it."""

from __future__ import annotations

from datetime import datetime

from tocsin_dispatcher.announcing import DeliveryChange
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import Delivery


def change_of(delivery: Delivery, status: DeliveryState, reason: Reason | None, at: datetime) -> DeliveryChange:
    """`delivery` stands in `status` from `at` on."""
    return DeliveryChange(
        partner_id=delivery.partner_id,
        delivery_id=delivery.id,
        user_id=delivery.user_id,
        notification_id=delivery.notification_id,
        channel=delivery.channel,
        work_class=delivery.work_class,
        status=status,
        reason=reason,
        attempt=delivery.attempt,
        at=at,
        traceparent=delivery.traceparent,
        tracestate=delivery.tracestate,
    )
