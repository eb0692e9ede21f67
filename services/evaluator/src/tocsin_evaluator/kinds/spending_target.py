"""Spending target: spending reached a share of a budget, once per share and period."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tocsin_evaluator.facts.periods import period_of
from tocsin_evaluator.kinds.kind import Clause, Kind, Percents, Rows, day_text, money_text
from tocsin_evaluator.kinds.past import History, NoHistory, Past, owner, until
from tocsin_evaluator.model.words import BudgetPeriod, KindName, SpentSource, TransactionStatus
from tocsin_evaluator.store.tables import Instant, MoneySum, budgets, transactions

#: Local days are within so much of UTC's.
_ZONES = timedelta(days=2)


def clauses(rows: Rows, percent: ColumnElement[int]) -> Sequence[Clause]:
    """At least `percent` of the amount is spent in the period that runs now; an amount of 0 is never reached.

    Which shares were sent before is asked of the occurrences.
    """
    f = rows.fact.c
    amount = {"amount": money_text(f.amount)}
    values = {"spent": money_text(f.spent), **amount, "percent": percent}
    days = {"today": rows.today, "from": f.spent_from, "until": f.spent_until}
    return (
        Clause("has_amount", f.amount > 0, amount),
        Clause("reached", f.spent * 100 >= percent * f.amount, values),
        Clause(
            "runs_now",
            and_(f.spent_from <= rows.today, rows.today < f.spent_until),
            {name: day_text(day) for name, day in days.items()},
        ),
    )


def period(rows: Rows) -> ColumnElement[str]:
    """`2025-10` for a month from the 1st, `2025` for a year from 1 January, else the period's first local day."""
    f = rows.fact.c
    calendar_month = and_(f.period == BudgetPeriod.MONTHLY, func.date_part("day", f.spent_from) == 1)
    calendar_year = and_(f.period == BudgetPeriod.YEARLY, func.date_part("doy", f.spent_from) == 1)
    return case(
        (calendar_month, func.to_char(f.spent_from, "YYYY-MM", type_=Text)),
        (calendar_year, func.to_char(f.spent_from, "YYYY", type_=Text)),
        else_=day_text(f.spent_from),
    )


def key(rows: Rows, percent: ColumnElement[int]) -> ColumnElement[str]:
    """The period and the percent."""
    return period(rows).concat(literal_column("':'")).concat(cast(percent, Text))


def context(rows: Rows) -> dict[str, ColumnElement[Any]]:
    """The budget as it stood."""
    f = rows.fact.c
    return {
        "budget_id": f.id,
        "budget": f.name,
        "spent": money_text(f.spent),
        "amount": money_text(f.amount),
        "currency": f.currency,
        "period": period(rows),
    }


def sums() -> Subquery:
    """A derived budget after each of its transactions, period by period; by transactions_by_user.

    What counts is what `store/budgets.py` sums: refunds subtract, only the budget's own currency counts, a pending form
    counts until its posted one is here.
    """
    partner, user, subject = owner()
    b, t = budgets.alias("budget"), transactions.alias("t")
    arrays = [bindparam(name, type_=ARRAY(Date)) for name in ("froms", "untils")]
    shape = [column("spent_from", Date), column("spent_until", Date)]
    k = func.unnest(*arrays).table_valued(*shape, name="k").render_derived()
    stands = and_(t.c.status == TransactionStatus.PENDING, func.coalesce(t.c.other_form_id, t.c.id) == t.c.id)
    spent = func.sum(-t.c.amount, type_=MoneySum).over(
        partition_by=k.c.spent_from, order_by=(t.c.posted_at, t.c.id), rows=(None, 0)
    )
    return (
        select(
            b.c.partner_id,
            b.c.id,
            b.c.user_id,
            b.c.name,
            b.c.currency,
            b.c.amount,
            b.c.period,
            spent.label("spent"),
            k.c.spent_from,
            k.c.spent_until,
            t.c.posted_at.label("at"),
            t.c.id.label("number"),
        )
        .select_from(b)
        .join(t, and_(t.c.partner_id == b.c.partner_id, t.c.user_id == b.c.user_id))
        .join(k, and_(t.c.posted_on >= k.c.spent_from, t.c.posted_on < k.c.spent_until))
        .where(
            b.c.partner_id == partner,
            b.c.id == subject,
            b.c.user_id == user,
            t.c.partner_id == partner,
            t.c.user_id == user,
            t.c.posted_at >= bindparam("reach", type_=Instant),
            t.c.posted_at <= until(),
            t.c.category == b.c.category,
            t.c.currency == b.c.currency,
            or_(t.c.status == TransactionStatus.POSTED, stands),
        )
        .subquery("f")
    )


def _periods(past: Past) -> dict[str, object]:
    """The budget's periods from the one that holds the window's start on, so that every sum is whole."""
    first, last = (each.astimezone(past.zone).date() for each in (past.window.since, past.window.until))
    kind, starts_on = BudgetPeriod(past.fact["period"]), past.fact["starts_on"]
    periods = [period_of(kind, starts_on, first)]
    while periods[-1].until <= last:
        periods.append(period_of(kind, starts_on, periods[-1].until))
    begin = datetime.combine(periods[0].first, time(), UTC) - _ZONES
    return {"reach": begin, "froms": [each.first for each in periods], "untils": [each.until for each in periods]}


SUMS = History(
    sums,
    _periods,
    notes=(
        "The budget's amount, category and period are taken as they are now, and transactions as the bank tells them "
        "now: what was pending at first counts from the day on which it was booked.",
    ),
)


def history(fact: Mapping[str, Any]) -> History | NoHistory:
    """Sums of a derived budget's transactions. What a bank reported spent is stored as it is now only."""
    if fact["spent_source"] == SpentSource.DERIVED:
        return SUMS
    return NoHistory("what the bank reported as spent in the past is not stored; budgets derived from transactions are")


PERCENTS = Percents(clauses, key)

KIND = Kind(
    name=KindName.SPENDING_TARGET,
    fact=budgets,
    clauses=PERCENTS.lowest,
    context=context,
    history=history,
    percents=PERCENTS,
    is_swept=True,
    can_cease=True,
)
