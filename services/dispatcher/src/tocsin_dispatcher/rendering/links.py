"""Where in the bank's app a message leads."""

from tocsin_dispatcher.values import (
    AccountThresholdContext,
    Digest,
    GoalContext,
    MerchantNameContext,
    PushTest,
    SpendingTargetContext,
    Told,
    TransactionLimitContext,
    UpcomingBillContext,
    Verification,
)


def action_url(told: Told, frontend_url: str) -> str:
    """The page of the thing the message is about, under FRONTEND_URL; empty for a code, which leads nowhere."""
    path = _path(told)
    return frontend_url.rstrip("/") + path if path else ""


def _path(told: Told) -> str:
    match told:
        case AccountThresholdContext():
            return f"/accounts/{told.account_id}"
        case GoalContext():
            return f"/goals/{told.goal_id}"
        case SpendingTargetContext():
            return f"/budgets/{told.budget_id}"
        case MerchantNameContext() | TransactionLimitContext():
            return f"/transactions/{told.transaction_id}"
        case UpcomingBillContext():
            return f"/cashflow/bills/{told.bill_id}"
        case Digest() | PushTest():
            return "/notifications"
        case Verification():
            return ""
