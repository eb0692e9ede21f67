"""Upcoming bill: an unpaid bill is due within some calendar days in the user's zone, told from 06:00 local on."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    Subquery,
    Time,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tocsin_evaluator.kinds.kind import Clause, Kind, Rows, day_text, money_text
from tocsin_evaluator.kinds.past import History, Past, owner
from tocsin_evaluator.model.words import KindName, Recurrence
from tocsin_evaluator.store.tables import Instant, bills

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


def clauses(rows: Rows) -> Sequence[Clause]:
    """Due within `days_before` calendar days, and the morning has come.

    `next_due_on` is the index's: never later than the true day, so it leaves out only what is not due.
    """
    a, f = rows.alert.c, rows.fact.c
    due = next_due(rows)
    soon = f.next_due_on <= rows.today + literal(LONGEST_DAYS_BEFORE)
    days = {"due_on": due, "today": rows.today, "paid_through": f.paid_through}
    shown = {name: day_text(day) for name, day in days.items()}
    local_time = func.to_char(rows.local_time, "HH24:MI")
    return (
        Clause(
            "due_soon",
            and_(soon, cast(due - rows.today, Integer) <= a.days_before),
            {**shown, "days_before": a.days_before},
        ),
        Clause(
            "morning",
            or_(rows.any_hour, cast(rows.local_time, Time) >= literal(MORNING, Time)),
            {"local_time": local_time, "time_zone": rows.zone},
        ),
    )


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


def mornings() -> Subquery:
    """A bill at each of the mornings given, as though nothing of it had been paid; by primary key."""
    partner, user, subject = owner()
    b = bills.alias("bill")
    days = func.unnest(bindparam("mornings", type_=ARRAY(Instant))).table_valued(column("at", Instant), name="m")
    m = days.render_derived()
    return (
        select(
            b.c.partner_id,
            b.c.id,
            b.c.user_id,
            b.c.name,
            b.c.currency,
            b.c.amount,
            b.c.due_date,
            b.c.recurrence,
            cast(null(), Date).label("paid_through"),
            b.c.due_date.label("next_due_on"),  # never later than any day on which it is due
            m.c.at,
            literal(0).label("number"),
        )
        .select_from(b.join(m, true()))
        .where(b.c.partner_id == partner, b.c.id == subject, b.c.user_id == user)
        .subquery("f")
    )


def _mornings(past: Past) -> dict[str, object]:
    """Each local day's, from so long before the window on that what was told before it is known."""
    first, last = (each.astimezone(past.zone).date() for each in (past.window.since, past.window.until))
    first -= timedelta(days=LONGEST_DAYS_BEFORE + 1)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    mornings = [datetime.combine(day, MORNING, past.zone).astimezone(UTC) for day in days]
    return {"mornings": [each for each in mornings if each <= past.window.until]}


MORNINGS = History(
    mornings,
    _mornings,
    notes=("When a bill was paid is not stored: every occurrence counts as unpaid, with the amount it has now.",),
)


def history(_: Mapping[str, Any]) -> History:
    """The bill on each day."""
    return MORNINGS


KIND = Kind(
    name=KindName.UPCOMING_BILL,
    fact=bills,
    clauses=clauses,
    context=context,
    history=history,
    key=key,
    can_cease=True,
)
