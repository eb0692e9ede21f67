"""Budget periods and bill recurrences, against plain definitions and over many days."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Date, Text, bindparam, select
from sqlalchemy.ext.asyncio import create_async_engine

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_evaluator.facts.periods import Period, period_of
from tocsin_evaluator.kinds.upcoming_bill import due_on
from tocsin_evaluator.model.words import BudgetPeriod, Recurrence

DAYS = st.dates(date(2015, 1, 1), date(2035, 12, 31))
_DAYS = {Recurrence.WEEKLY: 7, Recurrence.EVERY_TWO_WEEKS: 14}
_MONTHS = {Recurrence.MONTHLY: 1, Recurrence.QUARTERLY: 3, Recurrence.YEARLY: 12}


@pytest.mark.parametrize(
    ("kind", "starts_on", "day", "first", "until"),
    [
        # a week begins on Monday unless the bank says otherwise
        (BudgetPeriod.WEEKLY, None, date(2025, 11, 2), date(2025, 10, 27), date(2025, 11, 3)),
        (BudgetPeriod.WEEKLY, date(2030, 5, 1), date(2025, 11, 4), date(2025, 10, 29), date(2025, 11, 5)),
        # a month begins on the 1st, or on its own day
        (BudgetPeriod.MONTHLY, None, date(2025, 11, 30), date(2025, 11, 1), date(2025, 12, 1)),
        (BudgetPeriod.MONTHLY, date(2020, 1, 15), date(2025, 3, 14), date(2025, 2, 15), date(2025, 3, 15)),
        # a 31st falls on the last day of a shorter month
        (BudgetPeriod.MONTHLY, date(2025, 1, 31), date(2025, 2, 28), date(2025, 2, 28), date(2025, 3, 31)),
        (BudgetPeriod.MONTHLY, date(2025, 1, 31), date(2025, 2, 27), date(2025, 1, 31), date(2025, 2, 28)),
        (BudgetPeriod.MONTHLY, date(2023, 12, 30), date(2024, 2, 29), date(2024, 2, 29), date(2024, 3, 30)),
        # a year begins on 1 January, or on its own day, also on a leap day
        (BudgetPeriod.YEARLY, None, date(2025, 6, 1), date(2025, 1, 1), date(2026, 1, 1)),
        (BudgetPeriod.YEARLY, date(2022, 4, 6), date(2025, 4, 5), date(2024, 4, 6), date(2025, 4, 6)),
        (BudgetPeriod.YEARLY, date(2024, 2, 29), date(2025, 3, 1), date(2025, 2, 28), date(2026, 2, 28)),
        (BudgetPeriod.YEARLY, date(2024, 2, 29), date(2028, 2, 28), date(2027, 2, 28), date(2028, 2, 29)),
    ],
)
def test_a_day_falls_into_its_period(
    kind: BudgetPeriod, starts_on: date | None, day: date, first: date, until: date
) -> None:
    """Each row says why above it."""
    assert period_of(kind, starts_on, day) == Period(first, until)


@given(st.sampled_from(BudgetPeriod), DAYS, DAYS)
def test_periods_follow_each_other_without_gap(kind: BudgetPeriod, starts_on: date, day: date) -> None:
    """The day lies in its period, and the day after a period begins the next."""
    period = period_of(kind, starts_on, day)
    assert period.first <= day < period.until
    assert period_of(kind, starts_on, period.until).first == period.until
    assert period_of(kind, starts_on, period.first) == period
    assert period_of(kind, starts_on, starts_on).first == starts_on


def _last_day(year: int, month: int) -> int:
    following = date(year + month // 12, month % 12 + 1, 1)
    return (following - timedelta(days=1)).day


def _occurrences(first: date, recurrence: Recurrence) -> list[date]:
    """By the plain definition: count from the first one, and a day that a month has not is its last."""
    if recurrence is Recurrence.NONE:
        return [first]
    if recurrence in _DAYS:
        return [first + timedelta(days=_DAYS[recurrence] * n) for n in range(1500)]
    days = []
    for n in range(300):
        months = first.year * 12 + first.month - 1 + n * _MONTHS[recurrence]
        year, month = months // 12, months % 12 + 1
        days.append(date(year, month, min(first.day, _last_day(year, month))))
    return days


@settings(max_examples=60)
@given(st.lists(st.tuples(DAYS, st.sampled_from(Recurrence), st.none() | DAYS, DAYS), min_size=50, max_size=50))
def _collect(cases: list[tuple[date, Recurrence, date | None, date]]) -> None:
    _CASES.extend(cases)


_CASES: list[tuple[date, Recurrence, date | None, date]] = []


async def test_the_next_due_day_is_the_first_unpaid_one_not_before_today(make_database: MakeDatabase) -> None:
    """The SQL expression against the plain definition, over thousands of made-up bills."""
    _collect()
    statement = select(
        due_on(
            bindparam("first", type_=Date),
            bindparam("recurrence", type_=Text),
            bindparam("paid", type_=Date),
            bindparam("today", type_=Date),
        )
    )
    url = (await make_database("evaluator")).replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            assert len(_CASES) > 1000
            for first, recurrence, paid, today in [*_BY_HAND, *_CASES]:
                parameters = {"first": first, "recurrence": recurrence.value, "paid": paid, "today": today}
                unpaid = [day for day in _occurrences(first, recurrence) if day >= today and (not paid or day > paid)]
                due = await connection.scalar(statement, parameters)
                assert due == (unpaid[0] if unpaid else None), parameters
    finally:
        await engine.dispose()


_BY_HAND: list[tuple[date, Recurrence, date | None, date]] = [
    # a 31st falls on 28 February and returns to the 31st after it
    (date(2025, 1, 31), Recurrence.MONTHLY, None, date(2025, 2, 1)),
    (date(2025, 1, 31), Recurrence.MONTHLY, None, date(2025, 3, 1)),
    # and on the 29th in a leap year
    (date(2023, 12, 30), Recurrence.MONTHLY, None, date(2024, 2, 5)),
    # a leap day's yearly bill is due on the 28th in other years
    (date(2024, 2, 29), Recurrence.YEARLY, None, date(2025, 1, 1)),
    (date(2024, 2, 29), Recurrence.YEARLY, None, date(2028, 2, 29)),
    # the day itself counts, and a paid one does not
    (date(2025, 11, 1), Recurrence.NONE, None, date(2025, 11, 1)),
    (date(2025, 11, 1), Recurrence.NONE, date(2025, 11, 1), date(2025, 11, 1)),
    (date(2025, 11, 1), Recurrence.QUARTERLY, date(2025, 11, 1), date(2025, 11, 1)),
]


def test_the_words_of_recurrence_are_all_defined() -> None:
    """A recurrence that the expression does not know would be due never."""
    assert {Recurrence.NONE, *_DAYS, *_MONTHS} == set(Recurrence)
