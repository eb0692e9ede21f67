"""A firing's context to and from the JSON that `notifications.metadata` stores."""

from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal

from tocsin_dispatcher.values.firing import (
    AccountThresholdContext,
    AlertKind,
    FiringContext,
    GoalContext,
    JsonContext,
    MerchantNameContext,
    SpendingTargetContext,
    ThresholdDirection,
    TransactionLimitContext,
    UpcomingBillContext,
)
from tocsin_kit.money import amount_text


def context_to_json(context: FiringContext) -> JsonContext:
    """The context by field name: ids and percents as numbers, money as "500.00", days and instants as ISO 8601."""
    return {field.name: _to_json(getattr(context, field.name)) for field in fields(context)}


def _to_json(value: int | str | Decimal | date | datetime) -> int | str:
    if isinstance(value, Decimal):
        return amount_text(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, int) else str(value)


def context_from_json(kind: AlertKind, stored: JsonContext) -> FiringContext:
    """The context that `context_to_json` wrote; KeyError or ValueError where a field is missing or no such value."""
    match kind:
        case AlertKind.ACCOUNT_THRESHOLD:
            return _account_threshold(stored)
        case AlertKind.GOAL:
            return _goal(stored)
        case AlertKind.MERCHANT_NAME:
            return _merchant_name(stored)
        case AlertKind.SPENDING_TARGET:
            return _spending_target(stored)
        case AlertKind.TRANSACTION_LIMIT:
            return _transaction_limit(stored)
        case AlertKind.UPCOMING_BILL:
            return _upcoming_bill(stored)


def _account_threshold(stored: JsonContext) -> AccountThresholdContext:
    return AccountThresholdContext(
        account_id=int(stored["account_id"]),
        account=str(stored["account"]),
        balance=Decimal(stored["balance"]),
        threshold=Decimal(stored["threshold"]),
        currency=str(stored["currency"]),
        direction=ThresholdDirection(str(stored["direction"])),
        as_of=datetime.fromisoformat(str(stored["as_of"])),
    )


def _goal(stored: JsonContext) -> GoalContext:
    return GoalContext(
        goal_id=int(stored["goal_id"]),
        goal=str(stored["goal"]),
        percent=int(stored["percent"]),
        current_amount=Decimal(stored["current_amount"]),
        target_amount=Decimal(stored["target_amount"]),
        currency=str(stored["currency"]),
    )


def _merchant_name(stored: JsonContext) -> MerchantNameContext:
    return MerchantNameContext(
        transaction_id=int(stored["transaction_id"]),
        purchase_id=int(stored["purchase_id"]),
        merchant=str(stored["merchant"]),
        amount=Decimal(stored["amount"]),
        currency=str(stored["currency"]),
        posted_on=date.fromisoformat(str(stored["posted_on"])),
        pattern=str(stored["pattern"]),
    )


def _spending_target(stored: JsonContext) -> SpendingTargetContext:
    return SpendingTargetContext(
        budget_id=int(stored["budget_id"]),
        budget=str(stored["budget"]),
        percent=int(stored["percent"]),
        spent=Decimal(stored["spent"]),
        amount=Decimal(stored["amount"]),
        currency=str(stored["currency"]),
        period=str(stored["period"]),
    )


def _transaction_limit(stored: JsonContext) -> TransactionLimitContext:
    return TransactionLimitContext(
        transaction_id=int(stored["transaction_id"]),
        purchase_id=int(stored["purchase_id"]),
        description=str(stored["description"]),
        amount=Decimal(stored["amount"]),
        limit=Decimal(stored["limit"]),
        currency=str(stored["currency"]),
        posted_on=date.fromisoformat(str(stored["posted_on"])),
    )


def _upcoming_bill(stored: JsonContext) -> UpcomingBillContext:
    return UpcomingBillContext(
        bill_id=int(stored["bill_id"]),
        bill=str(stored["bill"]),
        amount=Decimal(stored["amount"]),
        currency=str(stored["currency"]),
        due_on=date.fromisoformat(str(stored["due_on"])),
    )
