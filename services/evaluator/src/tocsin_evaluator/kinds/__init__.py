"""The kinds of alert: one file each, and this tuple. Its order is the order in which transactions lock their alerts.

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
from tocsin_evaluator.kinds.kind import Kind
from tocsin_evaluator.model.words import KindName

REGISTRY: tuple[Kind, ...] = (
    account_threshold.KIND,
    goal.KIND,
    merchant_name.KIND,
    spending_target.KIND,
    transaction_limit.KIND,
    upcoming_bill.KIND,
)

KINDS: dict[KindName, Kind] = {kind.name: kind for kind in REGISTRY}

#: Those a sweep looks at: their facts can become true by time alone.
SWEPT: tuple[Kind, ...] = tuple(kind for kind in REGISTRY if kind.is_swept)
