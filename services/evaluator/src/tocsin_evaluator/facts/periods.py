"""The period of a budget that a calendar day falls in."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, date, timedelta

from tocsin_evaluator.model.words import BudgetPeriod

_A_MONDAY = date(2024, 1, 1)
"""A day that begins a week, a month and a year: where periods start when the bank does not say."""


@dataclass(frozen=True)
class Period:
    """From the first day until before another."""

    first: date
    until: date


def _in_month(year: int, month: int, day: int) -> date:
    """That day of a month, or the month's last day."""
    return date(year, month, min(day, monthrange(year, month)[1]))


def _months_on(first: date, months: int) -> date:
    """`first` that many months on; a 31st falls on a shorter month's last day."""
    index = first.year * 12 + first.month - 1 + months
    return _in_month(index // 12, index % 12 + 1, first.day)


def period_of(kind: BudgetPeriod, starts_on: date | None, day: date) -> Period:
    """The period that holds `day`, where `starts_on` is the first day of any one period."""
    first = starts_on or _A_MONDAY
    if kind is BudgetPeriod.WEEKLY:
        start = day - timedelta(days=(day - first).days % 7)
        return Period(start, start + timedelta(days=7))
    step = 12 if kind is BudgetPeriod.YEARLY else 1
    months = (day.year - first.year) * 12 + day.month - first.month
    number = months // step
    if _months_on(first, number * step) > day:
        number -= 1
    return Period(_months_on(first, number * step), _months_on(first, (number + 1) * step))


def day_is_usable(day: date) -> bool:
    """Whether arithmetic on periods and zones around `day` stays within the calendar."""
    return 1900 <= day.year < MAXYEAR - 100
