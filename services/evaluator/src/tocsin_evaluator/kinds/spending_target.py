"""Spending target: spending reached a share of a budget, once per share and period."""

from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal_column

from tocsin_evaluator.kinds.kind import Kind, Percents, Rows, day_text, lowest_percent, money_text
from tocsin_evaluator.model.words import BudgetPeriod, KindName
from tocsin_evaluator.store.tables import budgets


def reached(rows: Rows, percent: ColumnElement[int]) -> ColumnElement[bool]:
    """At least `percent` of the amount is spent in the period that runs now; an amount of 0 is never reached."""
    f = rows.fact.c
    runs_now = and_(f.spent_from <= rows.today, rows.today < f.spent_until)
    return and_(f.amount > 0, f.spent * 100 >= percent * f.amount, runs_now)


def condition(rows: Rows) -> ColumnElement[bool]:
    """At least the lowest share is reached; which were sent before is asked of the occurrences."""
    return reached(rows, lowest_percent(rows))


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


KIND = Kind(
    name=KindName.SPENDING_TARGET,
    fact=budgets,
    condition=condition,
    context=context,
    percents=Percents(reached=reached, key=key),
    is_swept=True,
    can_cease=True,
)
