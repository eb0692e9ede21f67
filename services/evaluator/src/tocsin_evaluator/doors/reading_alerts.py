"""Alerts as their owners write them, read into values; and the merging of partial changes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.alerts.v1 import alert_pb2
from tocsin.types.v1 import types_pb2
from tocsin_evaluator.alerts.naming import default_name
from tocsin_evaluator.doors.words import word_of
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
    Wish,
)
from tocsin_evaluator.model.names import normalised
from tocsin_evaluator.model.words import Channel, Direction, Frequency, KindName, MatchType, MoneyFlow, Repeat
from tocsin_kit.money import is_currency, parse_amount
from tocsin_kit.rpc.errors import FieldViolation, invalid_field, invalid_fields
from tocsin_kit.rpc.stages.validation import Validation

DEFAULT_MILESTONES = (25, 50, 75, 100)
DEFAULT_THRESHOLDS = (50, 80, 90, 100)
DEFAULT_DAYS_BEFORE = 3
DEFAULT_COOLDOWN = timedelta(hours=6)
_OUTPUT_ONLY = frozenset(
    {
        "id",
        "alert_type",
        "last_triggered_at",
        "trigger_count",
        "last_evaluated_at",
        "evaluation_count",
        "condition_version",
        "created_at",
        "updated_at",
    }
)


def wish_of(alert: alert_pb2.Alert) -> Wish:
    """What an alert asks for, defaults filled in. Raises invalid_field for what the contract's rules cannot say."""
    condition = _condition(alert)
    is_threshold = isinstance(condition, AccountThreshold)
    channels = {
        Channel.EMAIL: alert.email_delivery if alert.HasField("email_delivery") else True,
        Channel.SMS: alert.sms_delivery,
        Channel.PUSH: alert.push_delivery,
        Channel.WEBHOOK: alert.webhook_delivery,
    }
    return Wish(
        name=alert.name or default_name(condition),
        condition=condition,
        active=alert.active if alert.HasField("active") else True,
        channels=frozenset(channel for channel, wanted in channels.items() if wanted),
        critical=alert.critical if alert.HasField("critical") else isinstance(condition, TransactionLimit),
        cooldown=_cooldown(alert, is_threshold),
        snoozed_until=_instant(alert.snoozed_until) if alert.HasField("snoozed_until") else None,
    )


def _cooldown(alert: alert_pb2.Alert, is_threshold: bool) -> timedelta | None:
    if not alert.HasField("cooldown"):
        return DEFAULT_COOLDOWN if is_threshold else None
    cooldown = _span(alert.cooldown)
    if is_threshold:
        if not cooldown:
            raise invalid_field("alert.cooldown", "an account threshold needs one of at least 5 minutes")
        return cooldown
    if cooldown:
        raise invalid_field("alert.cooldown", "only an account threshold has a cooldown")
    return None


def _span(span: Duration) -> timedelta:
    return timedelta(seconds=span.seconds, microseconds=span.nanos // 1000)


def _instant(stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid_field("alert.snoozed_until", "is no instant") from None


def _condition(alert: alert_pb2.Alert) -> Condition:
    match alert.WhichOneof("condition"):
        case "account_threshold":
            return _account_threshold(alert.account_threshold)
        case "goal":
            return GoalMilestones(alert.goal.goal_id, _percents(alert.goal.milestones, DEFAULT_MILESTONES))
        case "merchant_name":
            return _merchant_name(alert.merchant_name)
        case "spending_target":
            target = alert.spending_target
            return SpendingTarget(target.budget_id, _percents(target.thresholds, DEFAULT_THRESHOLDS))
        case "transaction_limit":
            return _transaction_limit(alert.transaction_limit)
        case "upcoming_bill":
            bill = alert.upcoming_bill
            days = bill.days_before if bill.HasField("days_before") else DEFAULT_DAYS_BEFORE
            return UpcomingBill(bill.bill_id, days)
    raise invalid_field("alert.condition", "exactly one condition is needed")


def _percents(given: Sequence[int], default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(given))) or default


def _account_threshold(said: alert_pb2.AccountThresholdCondition) -> AccountThreshold:
    direction = types_pb2.ThresholdDirection.Name(said.direction)
    repeat = alert_pb2.ThresholdRepeat.Name(said.repeat)
    return AccountThreshold(
        account_id=said.account_id,
        threshold=parse_amount(said.threshold, "threshold"),
        currency=_currency(said.currency, "alert.account_threshold.currency"),
        direction=word_of(Direction, direction, "THRESHOLD_DIRECTION_"),
        repeat=word_of(Repeat, repeat, "THRESHOLD_REPEAT_", Repeat.WHILE_TRUE),
    )


def _merchant_name(said: alert_pb2.MerchantNameCondition) -> MerchantName:
    if not normalised(said.merchant_pattern):
        raise invalid_field("alert.merchant_name.merchant_pattern", "is blank")
    match_type = alert_pb2.MerchantMatch.Name(said.match_type)
    frequency = alert_pb2.MerchantFrequency.Name(said.frequency)
    return MerchantName(
        merchant_pattern=said.merchant_pattern,
        match_type=word_of(MatchType, match_type, "MERCHANT_MATCH_"),
        frequency=word_of(Frequency, frequency, "MERCHANT_FREQUENCY_", Frequency.IMMEDIATE),
    )


def _transaction_limit(said: alert_pb2.TransactionLimitCondition) -> TransactionLimit:
    direction = alert_pb2.TransactionDirection.Name(said.direction)
    return TransactionLimit(
        amount=parse_amount(said.amount, "amount"),
        currency=_currency(said.currency, "alert.transaction_limit.currency"),
        account_id=said.account_id if said.HasField("account_id") else None,
        direction=word_of(MoneyFlow, direction, "TRANSACTION_DIRECTION_", MoneyFlow.ANY),
    )


def _currency(code: str, field: str) -> str:
    if not is_currency(code):
        raise invalid_field(field, f"{code} is no ISO 4217 currency")
    return code


def changed(stored: alert_pb2.Alert, new: alert_pb2.Alert, paths: Sequence[str]) -> alert_pb2.Alert:
    """The alert after a change: `new` itself where no paths are named, else `stored` with these taken from `new`.

    Raises invalid_field for a path that is none.
    """
    if not paths:
        return new
    result = alert_pb2.Alert()
    result.CopyFrom(stored)
    for path in paths:
        steps = path.split(".")
        if steps[0] not in _OUTPUT_ONLY:
            _take(result, new, steps, path)
    return result


def _take(into: Message, source: Message, steps: Sequence[str], path: str) -> None:
    field = into.DESCRIPTOR.fields_by_name.get(steps[0])
    if field is None or (len(steps) > 1 and (field.message_type is None or field.is_repeated)):
        raise invalid_field("update_mask", f"{path} is no field of an alert")
    name = field.name
    if len(steps) > 1:
        _take(getattr(into, name), getattr(source, name), steps[1:], path)
        return
    into.ClearField(name)
    if field.is_repeated:
        getattr(into, name).extend(getattr(source, name))
    elif field.has_presence and not source.HasField(name):
        return
    elif field.message_type is not None:
        getattr(into, name).CopyFrom(getattr(source, name))
    else:
        setattr(into, name, getattr(source, name))


def checked(validation: Validation, alert: alert_pb2.Alert) -> None:
    """Apply the contract's rules to a merged alert. Raises invalid_field naming every field that is wrong."""
    found = validation.violations_of(alert)
    if found:
        raise invalid_fields(
            [FieldViolation(f"alert.{each.field}" if each.field else "alert", each.description) for each in found]
        )


def kind_named(alert: alert_pb2.Alert) -> KindName | None:
    """The kind an alert's condition names; None where it has none."""
    name = alert.WhichOneof("condition")
    return KindName(name) if name else None
