"""A name for an alert whose owner gives none."""

from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.words import MatchType, MoneyFlow
from tocsin_kit.money import amount_text

_FLOWS = {MoneyFlow.ANY: "Transactions", MoneyFlow.DEBIT: "Debits", MoneyFlow.CREDIT: "Credits"}
LONGEST = 100


def default_name(condition: Condition) -> str:
    """What the condition says, in a few words; at most 100 characters."""
    return _words(condition)[:LONGEST]


def _words(condition: Condition) -> str:
    match condition:
        case AccountThreshold():
            return f"Balance {condition.direction} {amount_text(condition.threshold)} {condition.currency}"
        case GoalMilestones():
            return f"Goal at {_percents(condition.milestones)}"
        case MerchantName():
            verb = "at" if condition.match_type is MatchType.EXACT else "containing"
            return f"Purchases {verb} {condition.merchant_pattern}"
        case SpendingTarget():
            return f"Budget at {_percents(condition.thresholds)}"
        case TransactionLimit():
            return f"{_FLOWS[condition.direction]} of {amount_text(condition.amount)} {condition.currency} or more"
        case UpcomingBill():
            if condition.days_before == 0:
                return "Bill due today"
            return f"Bill due within {condition.days_before} day{'' if condition.days_before == 1 else 's'}"


def _percents(percents: tuple[int, ...]) -> str:
    return ", ".join(str(percent) for percent in percents) + " %"
