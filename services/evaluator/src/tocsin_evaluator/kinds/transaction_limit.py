"""Transaction limit: a transaction of at least an amount."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal_column, or_

from tocsin_evaluator.kinds.kind import Clause, Kind, Rows, day_text, money_text
from tocsin_evaluator.kinds.past import PURCHASES, History
from tocsin_evaluator.model.words import KindName, MoneyFlow, Reason, TransactionStatus
from tocsin_evaluator.store.tables import transactions


def clauses(rows: Rows) -> Sequence[Clause]:
    """The amount without its sign reaches the limit; account and direction match where they are given."""
    a, f = rows.alert.c, rows.fact.c
    account = or_(a.account_id.is_(None), a.account_id == f.account_id)
    flow = or_(
        a.direction == MoneyFlow.ANY,
        and_(a.direction == MoneyFlow.DEBIT, f.amount < 0),
        and_(a.direction == MoneyFlow.CREDIT, f.amount > 0),
    )
    amount, limit = money_text(f.amount), money_text(a.amount)
    return (
        Clause("not_reversed", f.status != TransactionStatus.REVERSED, {"status": f.status}),
        Clause("large_enough", func.abs(f.amount) >= a.amount, {"amount": amount, "limit": limit}),
        Clause("account", account, {"account_id": f.account_id, "only_account_id": a.account_id}),
        Clause("direction", flow, {"amount": amount, "direction": a.direction}),
    )


def _other_currency(rows: Rows) -> ColumnElement[bool]:
    return rows.fact.c.currency != rows.alert.c.currency


def key(rows: Rows) -> ColumnElement[str]:
    """The purchase: its pending and its posted form are one."""
    return literal_column("'purchase:'").concat(cast(rows.fact.c.purchase_id, Text))


def context(rows: Rows) -> dict[str, ColumnElement[Any]]:
    """The transaction as the bank told it."""
    a, f = rows.alert.c, rows.fact.c
    return {
        "transaction_id": f.id,
        "purchase_id": f.purchase_id,
        "description": case((f.description == "", f.merchant), else_=f.description),
        "amount": money_text(f.amount),
        "limit": money_text(a.amount),
        "currency": f.currency,
        "posted_on": day_text(f.posted_on),
    }


def history(_: Mapping[str, Any]) -> History:
    """The transactions themselves."""
    return PURCHASES


KIND = Kind(
    name=KindName.TRANSACTION_LIMIT,
    fact=transactions,
    clauses=clauses,
    context=context,
    history=history,
    key=key,
    reasons=((Reason.CURRENCY, _other_currency),),
    has_subject=False,
)
