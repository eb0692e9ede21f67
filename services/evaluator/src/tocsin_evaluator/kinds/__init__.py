"""The kinds of alert: one file each, and the registry of them that `app.py` hands to whoever evaluates.

A kind states what makes it true as an expression over an alert row and a fact row, and which occurrence that is.
`evaluation/` composes the expressions into statements over sets; nothing here runs one.
"""

from tocsin_evaluator.kinds import (
    account_threshold,
    goal,
    merchant_name,
    spending_target,
    transaction_limit,
    upcoming_bill,
)
from tocsin_evaluator.kinds.registry import Registry

SIX = Registry(
    (
        account_threshold.KIND,
        goal.KIND,
        merchant_name.KIND,
        spending_target.KIND,
        transaction_limit.KIND,
        upcoming_bill.KIND,
    )
)
"""The kinds there are."""
