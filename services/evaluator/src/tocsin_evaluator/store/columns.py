"""A condition as typed columns of `alerts`, and back."""

from typing import Any

from sqlalchemy import Row

from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.names import normalised
from tocsin_evaluator.model.words import Direction, Frequency, KindName, MatchType, MoneyFlow, Repeat


def columns_of(condition: Condition) -> dict[str, object]:
    """The columns that hold a condition; the others of its row stay null."""
    match condition:
        case AccountThreshold():
            return {
                "subject_id": condition.account_id,
                "amount": condition.threshold,
                "currency": condition.currency,
                "direction": condition.direction.value,
                "repeat": condition.repeat.value,
            }
        case GoalMilestones():
            return {"subject_id": condition.goal_id, "percents": list(condition.milestones)}
        case MerchantName():
            return {
                "pattern": condition.merchant_pattern,
                "pattern_norm": normalised(condition.merchant_pattern),
                "match_type": condition.match_type.value,
                "frequency": condition.frequency.value,
            }
        case SpendingTarget():
            return {"subject_id": condition.budget_id, "percents": list(condition.thresholds)}
        case TransactionLimit():
            return {
                "amount": condition.amount,
                "currency": condition.currency,
                "account_id": condition.account_id,
                "direction": condition.direction.value,
            }
        case UpcomingBill():
            return {"subject_id": condition.bill_id, "days_before": condition.days_before}


def condition_of(row: Row[Any]) -> Condition:
    """The condition that a row of `alerts` holds."""
    match KindName(row.kind):
        case KindName.ACCOUNT_THRESHOLD:
            direction, repeat = Direction(row.direction), Repeat(row.repeat)
            return AccountThreshold(row.subject_id, row.amount, row.currency, direction, repeat)
        case KindName.GOAL:
            return GoalMilestones(row.subject_id, tuple(row.percents))
        case KindName.MERCHANT_NAME:
            return MerchantName(row.pattern, MatchType(row.match_type), Frequency(row.frequency))
        case KindName.SPENDING_TARGET:
            return SpendingTarget(row.subject_id, tuple(row.percents))
        case KindName.TRANSACTION_LIMIT:
            return TransactionLimit(row.amount, row.currency, row.account_id, MoneyFlow(row.direction))
        case KindName.UPCOMING_BILL:
            return UpcomingBill(row.subject_id, row.days_before)
