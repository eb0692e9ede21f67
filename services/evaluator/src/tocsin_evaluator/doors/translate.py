"""Values into the contract's messages: alerts, firings, and the events that travel over NATS."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.alerts.v1 import alert_pb2
from tocsin.events.v1 import events_pb2
from tocsin.types.v1 import types_pb2
from tocsin_evaluator.doors.words import ALERT_TYPES, CHANNELS, DIRECTIONS, WORK_CLASSES
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Alert,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    StoredFiring,
    TransactionLimit,
    UpcomingBill,
    Wish,
)
from tocsin_evaluator.model.facts import Profile
from tocsin_evaluator.model.words import Channel, KindName
from tocsin_evaluator.store import firings
from tocsin_kit.money import amount_text


def stamp_of(instant: datetime) -> Timestamp:
    """An instant as the contract writes it."""
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def context_message(kind: KindName, context: Mapping[str, str | int]) -> types_pb2.FiringContext:
    """A firing's context as it is stored, under the fields of its kind's message."""
    values: dict[str, object] = dict(context)
    match kind:
        case KindName.ACCOUNT_THRESHOLD:
            values["direction"] = DIRECTIONS[str(context["direction"])]
            values["as_of"] = stamp_of(datetime.fromisoformat(str(context["as_of"])))
            return types_pb2.FiringContext(account_threshold=types_pb2.AccountThresholdContext(**values))  # type: ignore[arg-type]
        case KindName.GOAL:
            return types_pb2.FiringContext(goal=types_pb2.GoalContext(**values))  # type: ignore[arg-type]
        case KindName.MERCHANT_NAME:
            return types_pb2.FiringContext(merchant_name=types_pb2.MerchantNameContext(**values))  # type: ignore[arg-type]
        case KindName.SPENDING_TARGET:
            return types_pb2.FiringContext(spending_target=types_pb2.SpendingTargetContext(**values))  # type: ignore[arg-type]
        case KindName.TRANSACTION_LIMIT:
            return types_pb2.FiringContext(transaction_limit=types_pb2.TransactionLimitContext(**values))  # type: ignore[arg-type]
        case KindName.UPCOMING_BILL:
            return types_pb2.FiringContext(upcoming_bill=types_pb2.UpcomingBillContext(**values))  # type: ignore[arg-type]


def firing_event(firing: StoredFiring) -> bytes:
    """A firing for stream FIRINGS. The inbox always gets it."""
    channels = [CHANNELS[each] for each in sorted(firing.channels)]
    event = events_pb2.Firing(
        id=firing.id.bytes,
        partner_id=firing.partner_id,
        user_id=firing.user_id,
        alert_id=firing.alert_id,
        alert_type=ALERT_TYPES[firing.kind],
        work_class=WORK_CLASSES[firing.work_class],
        occurrence_key=firing.occurrence_key,
        context=context_message(firing.kind, firing.context),
        fired_at=stamp_of(firing.fired_at),
        critical=firing.critical,
        channels=[types_pb2.CHANNEL_IN_APP, *channels],
        daily_digest=firing.daily_digest,
        profile_version=firing.profile_version,
        time_zone=firing.time_zone,
        locale=firing.locale,
        alert_name=firing.alert_name,
    )
    return event.SerializeToString(deterministic=True)


async def encode_firings(connection: AsyncConnection, pointers: Sequence[tuple[int, UUID]]) -> Mapping[UUID, bytes]:
    """What the relay publishes for outbox rows that only point to firings, given as (partner, firing)."""
    return {firing.id: firing_event(firing) for firing in await firings.of_keys(connection, pointers)}


def profile_event(profile: Profile, version: int) -> bytes:
    """A profile for stream PROFILES."""
    event = events_pb2.Profile(
        partner_id=profile.partner_id,
        user_id=profile.user_id,
        email=profile.email,
        phone=profile.phone,
        email_verified=profile.email_verified,
        phone_verified=profile.phone_verified,
        locale=profile.locale,
        time_zone=profile.time_zone,
        currency=profile.currency,
        version=version,
        as_of=stamp_of(profile.as_of),
    )
    return event.SerializeToString(deterministic=True)


def firing_message(firing: StoredFiring) -> alert_pb2.Firing:
    """A firing as its owner reads it."""
    return alert_pb2.Firing(
        id=str(firing.id),
        alert_id=firing.alert_id,
        alert_type=ALERT_TYPES[firing.kind],
        work_class=WORK_CLASSES[firing.work_class],
        occurrence_key=firing.occurrence_key,
        context=context_message(firing.kind, firing.context),
        fired_at=stamp_of(firing.fired_at),
    )


def wish_message(wish: Wish) -> alert_pb2.Alert:
    """What an owner asked for, every default written out."""
    message = alert_pb2.Alert(
        name=wish.name,
        active=wish.active,
        email_delivery=Channel.EMAIL in wish.channels,
        sms_delivery=Channel.SMS in wish.channels,
        push_delivery=Channel.PUSH in wish.channels,
        webhook_delivery=Channel.WEBHOOK in wish.channels,
        critical=wish.critical,
    )
    _set_condition(message, wish.condition)
    if wish.cooldown is not None:
        message.cooldown.FromTimedelta(wish.cooldown)
    if wish.snoozed_until is not None:
        message.snoozed_until.FromDatetime(wish.snoozed_until)
    return message


def alert_message(alert: Alert, now: datetime) -> alert_pb2.Alert:
    """An alert as its owner reads it; a snooze that is over is not shown."""
    message = wish_message(alert.wish)
    if alert.wish.snoozed_until is not None and alert.wish.snoozed_until <= now:
        message.ClearField("snoozed_until")
    message.id = alert.id
    message.alert_type = ALERT_TYPES[alert.wish.kind]
    message.trigger_count = alert.trigger_count
    message.evaluation_count = alert.evaluation_count
    message.condition_version = alert.condition_version
    message.created_at.FromDatetime(alert.created_at)
    message.updated_at.FromDatetime(alert.updated_at)
    if alert.last_triggered_at is not None:
        message.last_triggered_at.FromDatetime(alert.last_triggered_at)
    if alert.last_evaluated_at is not None:
        message.last_evaluated_at.FromDatetime(alert.last_evaluated_at)
    return message


def _set_condition(message: alert_pb2.Alert, condition: Condition) -> None:
    match condition:
        case AccountThreshold():
            said = message.account_threshold
            said.account_id = condition.account_id
            said.threshold = amount_text(condition.threshold)
            said.currency = condition.currency
            said.direction = DIRECTIONS[condition.direction]
            said.repeat = alert_pb2.ThresholdRepeat.Value(f"THRESHOLD_REPEAT_{condition.repeat.name}")
        case GoalMilestones():
            message.goal.goal_id = condition.goal_id
            message.goal.milestones.extend(condition.milestones)
        case MerchantName():
            merchant = message.merchant_name
            merchant.merchant_pattern = condition.merchant_pattern
            merchant.match_type = alert_pb2.MerchantMatch.Value(f"MERCHANT_MATCH_{condition.match_type.name}")
            merchant.frequency = alert_pb2.MerchantFrequency.Value(f"MERCHANT_FREQUENCY_{condition.frequency.name}")
        case SpendingTarget():
            message.spending_target.budget_id = condition.budget_id
            message.spending_target.thresholds.extend(condition.thresholds)
        case TransactionLimit():
            limit = message.transaction_limit
            limit.amount = amount_text(condition.amount)
            limit.currency = condition.currency
            limit.direction = alert_pb2.TransactionDirection.Value(f"TRANSACTION_DIRECTION_{condition.direction.name}")
            if condition.account_id is not None:
                limit.account_id = condition.account_id
        case UpcomingBill():
            message.upcoming_bill.bill_id = condition.bill_id
            message.upcoming_bill.days_before = condition.days_before
