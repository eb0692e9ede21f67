"""The plan: which deliveries a firing has."""

from datetime import datetime, timedelta
from uuid import UUID

from tocsin_dispatcher.planning.expiry import expires_at, latest_use
from tocsin_dispatcher.planning.local_time import zone_named
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import (
    Channel,
    Contact,
    Delivery,
    Firing,
    FiringContext,
    MerchantNameContext,
    Purpose,
    TransactionLimitContext,
)
from tocsin_kit.ids import Ids

PROFILE_WAIT = timedelta(seconds=60)
"""How long external deliveries wait for the profile version the evaluator knew."""

_ONE_MESSAGE_PER_FACT = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH})


def plan(firing: Firing, contact: Contact | None, now: datetime, ids: Ids) -> tuple[Delivery, ...]:
    """The deliveries of a firing: the inbox's, already sent, and one per channel the alert asks for.

    A channel asked for without a destination is planned once, suppressed as `no_address`. While the profile version
    the evaluator knew has not arrived, e-mail and SMS are held as `profile_awaited`, at most `PROFILE_WAIT`.
    """
    external = [channel for channel in dict.fromkeys(firing.channels) if channel is not Channel.IN_APP]
    planned = [_delivery(firing, Channel.IN_APP, ids.uuid7(), now, DeliveryState.SENT, None, contact)]
    for channel in external:
        status, reason = _beginning(firing, channel, contact)
        planned.append(_delivery(firing, channel, ids.uuid7(), now, status, reason, contact))
    return tuple(planned)


def _beginning(firing: Firing, channel: Channel, contact: Contact | None) -> tuple[DeliveryState, Reason | None]:
    if channel in (Channel.EMAIL, Channel.SMS) and _awaits_profile(firing, contact):
        return DeliveryState.HELD, Reason.PROFILE_AWAITED
    if contact is None or contact.address(channel) is None:
        return DeliveryState.SUPPRESSED, Reason.NO_ADDRESS
    return DeliveryState.PENDING, None


def _awaits_profile(firing: Firing, contact: Contact | None) -> bool:
    return firing.profile_version > (0 if contact is None else contact.version)


def _delivery(
    firing: Firing,
    channel: Channel,
    delivery_id: UUID,
    now: datetime,
    status: DeliveryState,
    reason: Reason | None,
    contact: Contact | None,
) -> Delivery:
    zone = zone_named(firing.time_zone if contact is None else contact.time_zone)
    return Delivery(
        id=delivery_id,
        partner_id=firing.partner_id,
        purpose=Purpose.ALERT,
        notification_id=firing.id,
        user_id=firing.user_id,
        channel=channel,
        destination_id=None,
        destination=None if contact is None else contact.address(channel),
        work_class=firing.work_class,
        status=status,
        reason=reason,
        due_at=now + PROFILE_WAIT if reason is Reason.PROFILE_AWAITED else now,
        attempt=0,
        failures=0,
        expires_at=expires_at(Purpose.ALERT, firing.fired_at, latest_use(firing.context, zone)),
        fact_key=fact_key(firing.context, channel),
        created_at=now,
        traceparent=firing.traceparent,
        tracestate=firing.tracestate,
    )


def fact_key(context: FiringContext, channel: Channel) -> str | None:
    """Names the purchase that merchant and limit alerts are about, on channels that tell it only once; else None."""
    if channel in _ONE_MESSAGE_PER_FACT and isinstance(context, MerchantNameContext | TransactionLimitContext):
        return f"purchase:{context.purchase_id}"
    return None
