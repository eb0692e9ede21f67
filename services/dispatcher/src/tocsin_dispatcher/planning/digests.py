"""What leaves together: which held messages become one, and what that one tells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import (
    AlertKind,
    Channel,
    Delivery,
    Digest,
    DigestMember,
    FiringContext,
    Notification,
    Purpose,
    Told,
    WorkClass,
)

DIGEST_FROM = 3
"""So many held messages of one person on one channel, due together, are one digest; a daily digest is one always."""

HELD_TOGETHER = (Reason.DAILY_DIGEST, Reason.QUIET_HOURS, Reason.RATE_LIMITED, Reason.FLOOD)
"""Why messages are held that may leave as one: for the person's sake. One that waited for its profile waited for us."""

DIGESTED = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH})
_URGENCY = {one: place for place, one in enumerate(WorkClass)}


def waits_together(delivery: Delivery) -> bool:
    """Whether it was held, and others of its person held with it: never tried, and in no digest before.

    One whose digest failed is told by itself, so that whatever the digest failed for has an end.
    """
    return (
        delivery.purpose is Purpose.ALERT
        and delivery.channel in DIGESTED
        and delivery.attempt == 0
        and delivery.merged_into is None
        and delivery.reason in HELD_TOGETHER
    )


def may_join(delivery: Delivery, notification: Notification) -> bool:
    """Whether it becomes part of a digest that leaves now: it waited with others, or is a daily digest's, which may
    have come, or its person's profile, when its hour had passed."""
    came_late = notification.daily_digest and delivery.reason in (None, Reason.PROFILE_AWAITED)
    return waits_together(delivery) or (came_late and _is_untried(delivery))


def _is_untried(delivery: Delivery) -> bool:
    return delivery.channel in DIGESTED and delivery.attempt == 0 and delivery.merged_into is None


def are_a_digest(members: Sequence[Notification]) -> bool:
    """Whether these, due together, leave as one message."""
    return len(members) >= DIGEST_FROM or any(member.daily_digest for member in members)


def digest_of(id_: UUID, members: Sequence[Delivery], now: datetime) -> Delivery:
    """The delivery that carries the members, all of one person, channel and destination; it leaves as urgently as the
    most urgent of them, and is of use as long as one of them is."""
    first = members[0]
    return Delivery(
        id=id_,
        partner_id=first.partner_id,
        purpose=Purpose.DIGEST,
        notification_id=None,
        user_id=first.user_id,
        channel=first.channel,
        destination_id=first.destination_id,
        destination=first.destination,
        work_class=min((member.work_class for member in members), key=_URGENCY.__getitem__),
        status=DeliveryState.PENDING,
        reason=None,
        due_at=now,
        attempt=0,
        failures=0,
        expires_at=max(member.expires_at for member in members),
        fact_key=None,
        created_at=now,
        traceparent=first.traceparent,
        tracestate=first.tracestate,
    )


def digest_told(digest: Delivery, members: Sequence[Notification]) -> Notification:
    """What a digest tells; critical where one of its members is."""
    told = tuple(DigestMember(_firing_context(member.context), member.fired_at) for member in members)
    return Notification(
        id=digest.id,
        partner_id=digest.partner_id,
        user_id=digest.user_id,
        alert_id=0,
        kind=members[0].kind if members else AlertKind.GOAL,
        work_class=digest.work_class,
        critical=any(member.critical for member in members),
        daily_digest=False,
        context=Digest(told),
        fired_at=digest.created_at,
        title="",
        message="",
        action_url="",
        time_zone=members[0].time_zone if members else "",
        locale=members[0].locale if members else "",
    )


def _firing_context(context: Told) -> FiringContext:
    if not isinstance(context, FiringContext):
        raise TypeError("a digest tells firings")
    return context
