"""Where in the bank's app a message leads."""

from tocsin_dispatcher.values import (
    AccountThresholdContext,
    FiringContext,
    GoalContext,
    MerchantNameContext,
    SpendingTargetContext,
    TransactionLimitContext,
    UpcomingBillContext,
)


def action_url(context: FiringContext, frontend_url: str) -> str:
    """The page of the thing the firing is about, under FRONTEND_URL."""
    return frontend_url.rstrip("/") + _path(context)


def _path(context: FiringContext) -> str:
    match context:
        case AccountThresholdContext():
            return f"/accounts/{context.account_id}"
        case GoalContext():
            return f"/goals/{context.goal_id}"
        case SpendingTargetContext():
            return f"/budgets/{context.budget_id}"
        case MerchantNameContext() | TransactionLimitContext():
            return f"/transactions/{context.transaction_id}"
        case UpcomingBillContext():
            return f"/cashflow/bills/{context.bill_id}"
