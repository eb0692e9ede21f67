"""The plan: which deliveries a firing has."""

from dataclasses import dataclass, replace
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
    MerchantNameContext,
    OwnAddresses,
    Purpose,
    Told,
    TransactionLimitContext,
)
from tocsin_kit.ids import Ids

PROFILE_WAIT = timedelta(seconds=60)
"""How long what goes to a person waits for the profile version the evaluator knew."""

_NO_ADDRESSES = OwnAddresses()
_ONE_MESSAGE_PER_FACT = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH})


def plan(
    firing: Firing, contact: Contact | None, now: datetime, ids: Ids, addresses: OwnAddresses = _NO_ADDRESSES
) -> tuple[Delivery, ...]:
    """The deliveries of a firing: the inbox's, already sent; one per channel the alert asks for and place it leads to;
    one per webhook endpoint of the bank that takes the kind.

    A channel asked for without a destination is planned once, suppressed as `no_address`. While the profile version
    the evaluator knew has not arrived, e-mail, SMS and push are held as `profile_awaited`, at most `PROFILE_WAIT`: a
    browser's address is known, but not what hour it is where the person lives, nor their language. Webhooks need
    nothing of a profile.
    """
    asked_for = [channel for channel in dict.fromkeys(firing.channels) if channel is not Channel.IN_APP]
    beginnings = [_Beginning(Channel.IN_APP, DeliveryState.SENT)]
    for channel in asked_for:
        beginnings += _of_channel(firing, channel, contact, addresses)
    beginnings += _to_endpoints(firing, addresses, of_partner=True)
    return tuple(_delivery(firing, ids.uuid7(), now, beginning, contact) for beginning in beginnings)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """How a delivery begins, and where it goes if it has an address of its own."""

    channel: Channel
    status: DeliveryState = DeliveryState.PENDING
    reason: Reason | None = None
    destination_id: UUID | None = None


def _of_channel(firing: Firing, channel: Channel, contact: Contact | None, addresses: OwnAddresses) -> list[_Beginning]:
    """The deliveries on one channel that the alert asks for; never none."""
    nowhere = _Beginning(channel, DeliveryState.SUPPRESSED, Reason.NO_ADDRESS)
    if channel is Channel.WEBHOOK:
        return _to_endpoints(firing, addresses, of_partner=False) or [nowhere]
    awaited = _awaits_profile(firing, contact)
    beginning = _Beginning(channel, DeliveryState.HELD, Reason.PROFILE_AWAITED) if awaited else _Beginning(channel)
    if channel is Channel.PUSH:
        return [replace(beginning, destination_id=browser) for browser in addresses.push] or [nowhere]
    has_address = contact is not None and contact.address(channel) is not None
    return [beginning if awaited or has_address else nowhere]


def _to_endpoints(firing: Firing, addresses: OwnAddresses, *, of_partner: bool) -> list[_Beginning]:
    """A webhook to each endpoint of the user, or of the bank, that takes the kind."""
    return [
        _Beginning(Channel.WEBHOOK, DeliveryState.SUPPRESSED, Reason.SUPPRESSED_DISABLED, endpoint.id)
        if endpoint.is_disabled
        else _Beginning(Channel.WEBHOOK, destination_id=endpoint.id)
        for endpoint in addresses.webhooks
        if endpoint.is_partners is of_partner and endpoint.takes(firing.kind)
    ]


def _awaits_profile(firing: Firing, contact: Contact | None) -> bool:
    return firing.profile_version > (0 if contact is None else contact.version)


def _delivery(
    firing: Firing, delivery_id: UUID, now: datetime, beginning: _Beginning, contact: Contact | None
) -> Delivery:
    channel, reason = beginning.channel, beginning.reason
    zone = zone_named(firing.time_zone if contact is None else contact.time_zone)
    return Delivery(
        id=delivery_id,
        partner_id=firing.partner_id,
        purpose=Purpose.ALERT,
        notification_id=firing.id,
        user_id=firing.user_id,
        channel=channel,
        destination_id=beginning.destination_id,
        destination=None if contact is None else contact.address(channel),
        work_class=firing.work_class,
        status=beginning.status,
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


def fact_key(context: Told, channel: Channel) -> str | None:
    """Names the purchase that merchant and limit alerts are about, on channels that tell it only once; else None."""
    if channel in _ONE_MESSAGE_PER_FACT and isinstance(context, MerchantNameContext | TransactionLimitContext):
        return f"purchase:{context.purchase_id}"
    return None
