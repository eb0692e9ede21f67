"""Upcoming bill: an unpaid bill is due within some calendar days in the user's zone, told from 06:00 local on."""

from datetime import time
from typing import Any

from sqlalchemy import ColumnElement, Date, Integer, Time, and_, case, cast, func, literal, literal_column, or_

from tocsin_evaluator.kinds.kind import Kind, Rows, day_text, money_text
from tocsin_evaluator.model.words import KindName, Recurrence
from tocsin_evaluator.store.tables import bills

MORNING = time(6)
#: The most calendar days ahead that an alert may look.
LONGEST_DAYS_BEFORE = 21

_DAYS = {Recurrence.WEEKLY: 7, Recurrence.EVERY_TWO_WEEKS: 14}
_MONTHS = {Recurrence.MONTHLY: 1, Recurrence.QUARTERLY: 3, Recurrence.YEARLY: 12}


def _by_days(first: ColumnElement[Any], day: ColumnElement[Any], step: int) -> ColumnElement[Any]:
    """The first of `first`, `first` + `step`, ... that is not before `day`."""
    steps = func.greatest(0, func.div(cast(day - first, Integer) + step - 1, step))
    return first + cast(steps, Integer) * step


def _by_months(first: ColumnElement[Any], day: ColumnElement[Any], step: int) -> ColumnElement[Any]:
    """The same in months. Counted from `first` each time, so a 31st returns to the 31st after a shorter month."""

    def month(of: ColumnElement[Any]) -> ColumnElement[int]:
        return cast(func.date_part("year", of) * 12 + func.date_part("month", of), Integer)

    def occurrence(number: ColumnElement[int]) -> ColumnElement[Any]:
        return cast(first + func.make_interval(0, number * step), Date)

    steps = cast(func.greatest(0, func.div(month(day) - month(first), step)), Integer)
    return case((occurrence(steps) >= day, occurrence(steps)), else_=occurrence(steps + 1))


def due_on(
    due_date: ColumnElement[Any],
    recurrence: ColumnElement[str],
    paid_through: ColumnElement[Any],
    today: ColumnElement[Any],
) -> ColumnElement[Any]:
    """The first unpaid occurrence not before `today`; null where there is none."""
    day = cast(func.greatest(today, paid_through + 1), Date)
    return case(
        (recurrence == Recurrence.NONE, case((due_date >= day, due_date))),
        *[(recurrence == each, _by_days(due_date, day, step)) for each, step in _DAYS.items()],
        *[(recurrence == each, _by_months(due_date, day, step)) for each, step in _MONTHS.items()],
    )


def next_due(rows: Rows) -> ColumnElement[Any]:
    """When the bill is due next, as of the person's today."""
    f = rows.fact.c
    return due_on(f.due_date, f.recurrence, f.paid_through, rows.today)


def condition(rows: Rows) -> ColumnElement[bool]:
    """Due within `days_before` calendar days, and the morning has come.

    `next_due_on` is the index's: never later than the true day, so it leaves out only what is not due.
    """
    f = rows.fact.c
    days = next_due(rows) - rows.today
    soon = f.next_due_on <= rows.today + literal(LONGEST_DAYS_BEFORE)
    morning = or_(rows.any_hour, cast(rows.local_time, Time) >= literal(MORNING, Time))
    return and_(soon, cast(days, Integer) <= rows.alert.c.days_before, morning)


def key(rows: Rows) -> ColumnElement[str]:
    """`due:` and the day."""
    return literal_column("'due:'").concat(day_text(next_due(rows)))


def context(rows: Rows) -> dict[str, ColumnElement[Any]]:
    """The bill as it stood."""
    f = rows.fact.c
    return {
        "bill_id": f.id,
        "bill": f.name,
        "amount": money_text(f.amount),
        "currency": f.currency,
        "due_on": day_text(next_due(rows)),
    }


KIND = Kind(name=KindName.UPCOMING_BILL, fact=bills, condition=condition, context=context, key=key, can_cease=True)
