"""Merchant name: a purchase at a merchant whose normalised name equals or contains the normalised pattern."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal_column, or_

from tocsin_evaluator.kinds.kind import Clause, Kind, Rows, day_text, money_text
from tocsin_evaluator.kinds.past import PURCHASES, History
from tocsin_evaluator.model.words import Frequency, KindName, MatchType, TransactionStatus
from tocsin_evaluator.store.tables import transactions


def clauses(rows: Rows) -> Sequence[Clause]:
    """The names match, in any currency; a transaction taken back is none."""
    a, f = rows.alert.c, rows.fact.c
    exact = and_(a.match_type == MatchType.EXACT, f.merchant_norm == a.pattern_norm)
    contains = and_(a.match_type == MatchType.CONTAINS, func.strpos(f.merchant_norm, a.pattern_norm) > 0)
    names = {"merchant": f.merchant_norm, "pattern": a.pattern_norm, "match_type": a.match_type}
    return (
        Clause("not_reversed", f.status != TransactionStatus.REVERSED, {"status": f.status}),
        Clause("matches", or_(exact, contains), names),
    )


def key(rows: Rows) -> ColumnElement[str]:
    """The purchase, or the local day where the alert speaks once a day.

    The day is the purchase's, not its form's: what is pending on Monday and posted on Tuesday was told on Monday.
    """
    a, f = rows.alert.c, rows.fact.c
    purchase = literal_column("'purchase:'").concat(cast(f.purchase_id, Text))
    day = literal_column("'day:'").concat(day_text(f.purchase_on))
    return case((a.frequency == Frequency.FIRST_OF_DAY, day), else_=purchase)


def context(rows: Rows) -> dict[str, ColumnElement[Any]]:
    """The purchase as the bank told it."""
    a, f = rows.alert.c, rows.fact.c
    return {
        "transaction_id": f.id,
        "purchase_id": f.purchase_id,
        "merchant": f.merchant,
        "amount": money_text(f.amount),
        "currency": f.currency,
        "posted_on": day_text(f.posted_on),
        "pattern": a.pattern,
    }


def daily_digest(rows: Rows) -> ColumnElement[bool]:
    """Whether each is recorded and all are told together."""
    return rows.alert.c.frequency == Frequency.DAILY_DIGEST


def history(_: Mapping[str, Any]) -> History:
    """The transactions themselves."""
    return PURCHASES


KIND = Kind(
    name=KindName.MERCHANT_NAME,
    fact=transactions,
    clauses=clauses,
    context=context,
    history=history,
    key=key,
    has_subject=False,
    daily_digest=daily_digest,
)
