"""Days that are longer, shorter or missing: local days, mornings and periods, zone by zone.

| zone | what is special |
|---|---|
| America/New_York | an hour at 2 o'clock: on from 8 March 2026 to 1 November 2026, off before from 2 November 2025 on |
| Europe/London | an hour at 1 o'clock UTC: off on 26 October 2025, on from 29 March 2026; UTC itself in winter |
| Asia/Kathmandu | 5:45 ahead of UTC all year |
| Pacific/Apia | went to the other side of the date line at the end of 29 December 2011: there was no 30th. Summer time ended on 4 April 2021 and has not come back |
| Australia/Lord_Howe | half an hour: on from 5 October 2025 to 5 April 2026; 10:30 ahead of UTC in winter, 11:00 in summer |
"""  # noqa: E501 one table row is one line

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tocsin_evaluator.model.alerts import MerchantName, SpendingTarget, UpcomingBill
from tocsin_evaluator.model.words import BudgetPeriod, Frequency, MatchType, Recurrence
from tocsin_kit.clock import SteppedClock

from .support import Bench, bill, budget, profile, transaction

NEW_YORK, LONDON, KATHMANDU = "America/New_York", "Europe/London", "Asia/Kathmandu"
APIA, LORD_HOWE = "Pacific/Apia", "Australia/Lord_Howe"
FIRST_OF_DAY = MerchantName("shop", MatchType.CONTAINS, Frequency.FIRST_OF_DAY)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
MONDAY, FRIDAY, SUNDAY = date(2024, 1, 1), date(2024, 1, 5), date(2024, 1, 7)


def utc(text: str) -> datetime:
    """An instant, written in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


LOCAL_DAYS: dict[str, list[tuple[str, str]]] = {
    NEW_YORK: [
        ("2025-11-02 03:59:59", "2025-11-01"),  # the last second before the autumn day, four hours behind UTC
        ("2025-11-02 04:00:00", "2025-11-02"),
        ("2025-11-02 05:30:00", "2025-11-02"),  # half past one
        ("2025-11-02 06:30:00", "2025-11-02"),  # half past one again
        ("2025-11-03 04:59:59", "2025-11-02"),  # its 25th hour
        ("2025-11-03 05:00:00", "2025-11-03"),
        ("2026-03-08 04:59:59", "2026-03-07"),  # the last second before the spring day, five hours behind
        ("2026-03-08 05:00:00", "2026-03-08"),
        ("2026-03-08 07:00:00", "2026-03-08"),  # two o'clock is three o'clock
        ("2026-03-09 03:59:59", "2026-03-08"),  # after 23 hours
        ("2026-03-09 04:00:00", "2026-03-09"),
    ],
    LONDON: [
        ("2025-10-25 22:59:59", "2025-10-25"),  # summer: an hour ahead of UTC
        ("2025-10-25 23:00:00", "2025-10-26"),
        ("2025-10-26 00:30:00", "2025-10-26"),  # half past one
        ("2025-10-26 01:30:00", "2025-10-26"),  # half past one again
        ("2025-10-26 23:59:59", "2025-10-26"),  # its 25th hour
        ("2025-10-27 00:00:00", "2025-10-27"),  # winter: UTC
        ("2026-03-28 23:59:59", "2026-03-28"),
        ("2026-03-29 00:00:00", "2026-03-29"),
        ("2026-03-29 22:59:59", "2026-03-29"),  # after 23 hours
        ("2026-03-29 23:00:00", "2026-03-30"),
    ],
    KATHMANDU: [
        ("2025-11-02 18:14:59", "2025-11-02"),  # a quarter to an hour is midnight
        ("2025-11-02 18:15:00", "2025-11-03"),
        ("2026-03-29 18:14:59", "2026-03-29"),  # also when others have moved their clocks
        ("2026-03-29 18:15:00", "2026-03-30"),
    ],
    APIA: [
        ("2011-12-30 09:59:59", "2011-12-29"),  # ten hours behind UTC
        ("2011-12-30 10:00:00", "2011-12-31"),  # fourteen ahead
        ("2011-12-31 09:59:59", "2011-12-31"),
        ("2011-12-31 10:00:00", "2012-01-01"),
        ("2021-04-03 09:59:59", "2021-04-03"),  # the last summer
        ("2021-04-03 10:00:00", "2021-04-04"),
        ("2021-04-04 10:30:00", "2021-04-04"),  # its 25th hour
        ("2021-04-04 11:00:00", "2021-04-05"),  # thirteen hours ahead
        ("2021-09-26 10:30:00", "2021-09-26"),  # on the day after which summer would have begun
        ("2021-09-26 11:00:00", "2021-09-27"),
        ("2025-12-31 10:30:00", "2025-12-31"),  # in the middle of a summer without summer time
        ("2025-12-31 11:00:00", "2026-01-01"),
    ],
    LORD_HOWE: [
        ("2025-10-04 13:29:59", "2025-10-04"),  # winter: 10:30 ahead of UTC
        ("2025-10-04 13:30:00", "2025-10-05"),
        ("2025-10-05 12:59:59", "2025-10-05"),  # after 23 hours and a half
        ("2025-10-05 13:00:00", "2025-10-06"),  # summer: eleven
        ("2026-04-04 12:59:59", "2026-04-04"),
        ("2026-04-04 13:00:00", "2026-04-05"),
        ("2026-04-05 13:29:59", "2026-04-05"),  # after 24 hours and a half
        ("2026-04-05 13:30:00", "2026-04-06"),
    ],
}


@pytest.mark.parametrize("zone", LOCAL_DAYS)
async def test_a_purchase_is_of_the_day_it_was_made_on_where_its_owner_lives(
    bench: Bench, clock: SteppedClock, zone: str
) -> None:
    """Each row is a user of its own, who buys at that instant and is told of that day."""
    told = []
    for user, (instant, _) in enumerate(LOCAL_DAYS[zone], start=1):
        clock.move_to(utc(instant))
        made = await bench.create(FIRST_OF_DAY, user=user)
        await bench.put(
            profile(zone, clock.now(), user=user),
            transaction(user, "-5", clock.now(), clock.now(), user_id=user, account_id=user),
        )
        told.append((instant, *[key.removeprefix("1:day:") for key in await bench.keys(made)]))
    assert told == LOCAL_DAYS[zone]


MORNINGS: dict[str, list[tuple[str, str]]] = {
    NEW_YORK: [
        ("2025-11-01", "2025-11-01 10:00"),  # summer
        ("2025-11-02", "2025-11-02 11:00"),  # 25 hours later
        ("2026-03-07", "2026-03-07 11:00"),  # winter
        ("2026-03-08", "2026-03-08 10:00"),  # 23 hours later
    ],
    LONDON: [
        ("2025-10-25", "2025-10-25 05:00"),
        ("2025-10-26", "2025-10-26 06:00"),
        ("2026-03-28", "2026-03-28 06:00"),
        ("2026-03-29", "2026-03-29 05:00"),
    ],
    KATHMANDU: [
        ("2025-10-26", "2025-10-26 00:15"),
        ("2026-03-29", "2026-03-29 00:15"),
    ],
    APIA: [
        ("2011-12-29", "2011-12-29 16:00"),
        ("2011-12-31", "2011-12-30 16:00"),  # 24 hours later, and two days
        ("2021-04-03", "2021-04-02 16:00"),
        ("2021-04-04", "2021-04-03 17:00"),  # 25 hours later
        ("2021-09-27", "2021-09-26 17:00"),  # summer time would have made it 16:00
    ],
    LORD_HOWE: [
        ("2025-10-04", "2025-10-03 19:30"),
        ("2025-10-05", "2025-10-04 19:00"),  # 23 hours and a half later
        ("2026-04-04", "2026-04-03 19:00"),
        ("2026-04-05", "2026-04-04 19:30"),  # 24 hours and a half later
    ],
}


@pytest.mark.parametrize("zone", MORNINGS)
async def test_a_bill_that_is_due_today_is_told_from_six_in_the_morning(
    bench: Bench, clock: SteppedClock, zone: str
) -> None:
    """Each row is a bill: nothing in the bills run a second before, told in the run on the second."""
    for number, (day, six) in enumerate(MORNINGS[zone], start=1):
        clock.move_to(utc(six) - timedelta(hours=12))
        await bench.put(
            profile(zone, clock.now()), bill(number, date.fromisoformat(day), clock.now(), recurrence=Recurrence.NONE)
        )
        made = await bench.create(UpcomingBill(number, 0))
        clock.move_to(utc(six) - SECOND)
        await bench.bills()
        assert await bench.keys(made) == [], f"{day}, a second before {six}"
        clock.move_to(utc(six))
        await bench.bills()
        assert await bench.keys(made) == [f"1:due:{day}"], f"{day} at {six}"


TURNS: dict[str, list[tuple[BudgetPeriod, date | None, str, str, str]]] = {
    NEW_YORK: [
        (BudgetPeriod.MONTHLY, None, "2025-11-01 04:00", "2025-10", "2025-11"),  # the day before clocks change
        (BudgetPeriod.WEEKLY, SUNDAY, "2025-11-02 04:00", "2025-10-26", "2025-11-02"),  # the very day
        (BudgetPeriod.WEEKLY, MONDAY, "2025-11-03 05:00", "2025-10-27", "2025-11-03"),  # the day after
        (BudgetPeriod.MONTHLY, date(2020, 5, 8), "2026-03-08 05:00", "2026-02-08", "2026-03-08"),
        (BudgetPeriod.WEEKLY, MONDAY, "2026-03-09 04:00", "2026-03-02", "2026-03-09"),
        (BudgetPeriod.MONTHLY, None, "2026-04-01 04:00", "2026-03", "2026-04"),
    ],
    LONDON: [
        (BudgetPeriod.WEEKLY, SUNDAY, "2025-10-25 23:00", "2025-10-19", "2025-10-26"),
        (BudgetPeriod.WEEKLY, None, "2025-10-27 00:00", "2025-10-20", "2025-10-27"),
        (BudgetPeriod.MONTHLY, None, "2025-11-01 00:00", "2025-10", "2025-11"),
        (BudgetPeriod.WEEKLY, None, "2026-03-29 23:00", "2026-03-23", "2026-03-30"),
        (BudgetPeriod.MONTHLY, None, "2026-03-31 23:00", "2026-03", "2026-04"),
        (BudgetPeriod.YEARLY, date(2024, 4, 6), "2026-04-05 23:00", "2025-04-06", "2026-04-06"),
    ],
    KATHMANDU: [
        (BudgetPeriod.MONTHLY, None, "2025-10-31 18:15", "2025-10", "2025-11"),
        (BudgetPeriod.YEARLY, None, "2025-12-31 18:15", "2025", "2026"),
        (BudgetPeriod.WEEKLY, None, "2026-03-29 18:15", "2026-03-23", "2026-03-30"),
    ],
    APIA: [
        (BudgetPeriod.WEEKLY, FRIDAY, "2011-12-30 10:00", "2011-12-23", "2011-12-30"),  # its first day is missing
        (BudgetPeriod.MONTHLY, None, "2011-12-31 10:00", "2011-12", "2012-01"),  # a month of 30 days
        (BudgetPeriod.WEEKLY, SUNDAY, "2021-04-03 10:00", "2021-03-28", "2021-04-04"),
        (BudgetPeriod.WEEKLY, MONDAY, "2021-04-04 11:00", "2021-03-29", "2021-04-05"),
        (BudgetPeriod.MONTHLY, None, "2021-09-30 11:00", "2021-09", "2021-10"),
    ],
    LORD_HOWE: [
        (BudgetPeriod.WEEKLY, SUNDAY, "2025-10-04 13:30", "2025-09-28", "2025-10-05"),
        (BudgetPeriod.WEEKLY, MONDAY, "2025-10-05 13:00", "2025-09-29", "2025-10-06"),
        (BudgetPeriod.MONTHLY, None, "2025-10-31 13:00", "2025-10", "2025-11"),
        (BudgetPeriod.WEEKLY, SUNDAY, "2026-04-04 13:00", "2026-03-29", "2026-04-05"),
        (BudgetPeriod.WEEKLY, MONDAY, "2026-04-05 13:30", "2026-03-30", "2026-04-06"),
    ],
}


@pytest.mark.parametrize("zone", TURNS)
async def test_a_budgets_period_turns_at_local_midnight(bench: Bench, clock: SteppedClock, zone: str) -> None:
    """Each row is a user: what is spent a second before is the old period's; at midnight the new one starts clean."""
    for user, (period, starts_on, midnight, before, after) in enumerate(TURNS[zone], start=1):
        clock.move_to(utc(midnight) - SECOND)
        terms = {"period": period, "starts_on": starts_on, "amount": Decimal(10), "user_id": user}
        await bench.put(profile(zone, clock.now(), user=user), budget(user, clock.now(), **terms))
        made = await bench.create(SpendingTarget(user, (50,)), user=user)
        await _spend(bench, user)
        assert await bench.keys(made) == [f"1:{before}:50"], f"{period} {starts_on}, a second before {midnight}"
        clock.move_to(utc(midnight))
        await bench.sweep()
        assert len(await bench.keys(made)) == 1, f"{period} {starts_on}: nothing is spent yet at {midnight}"
        await _spend(bench, user)
        assert await bench.keys(made) == [f"1:{before}:50", f"1:{after}:50"], f"{period} {starts_on} at {midnight}"


async def _spend(bench: Bench, user: int) -> None:
    """Six of a budget of ten, now; twice would be more than the whole."""
    now = bench.clock.now()
    id_ = int(now.timestamp())
    await bench.put(transaction(id_, "-6", now, now, user_id=user, account_id=user, merchant=f"{id_}"))


@dataclass(frozen=True)
class Window:
    """Some local days of a zone: the first one's beginning and the last one's end in UTC, and those there are."""

    zone: str
    first: str
    until: str
    days: tuple[str, ...]


WINDOWS = [
    # a day of 25 hours, then one of 23
    Window(NEW_YORK, "2025-11-01 04:00", "2025-11-04 05:00", ("2025-11-01", "2025-11-02", "2025-11-03")),
    Window(NEW_YORK, "2026-03-07 05:00", "2026-03-10 04:00", ("2026-03-07", "2026-03-08", "2026-03-09")),
    Window(LONDON, "2025-10-24 23:00", "2025-10-28 00:00", ("2025-10-25", "2025-10-26", "2025-10-27")),
    Window(LONDON, "2026-03-28 00:00", "2026-03-30 23:00", ("2026-03-28", "2026-03-29", "2026-03-30")),
    # six o'clock is a quarter past midnight
    Window(KATHMANDU, "2025-10-31 18:15", "2025-11-02 18:15", ("2025-11-01", "2025-11-02")),
    # a day that never was, and the end of the last summer
    Window(APIA, "2011-12-28 10:00", "2012-01-01 10:00", ("2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01")),
    Window(APIA, "2021-04-02 10:00", "2021-04-05 11:00", ("2021-04-03", "2021-04-04", "2021-04-05")),
    # half an hour less, half an hour more
    Window(LORD_HOWE, "2025-10-03 13:30", "2025-10-06 13:00", ("2025-10-04", "2025-10-05", "2025-10-06")),
    Window(LORD_HOWE, "2026-04-03 13:00", "2026-04-06 13:30", ("2026-04-04", "2026-04-05", "2026-04-06")),
]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: f"{window.zone} {window.days[1]}")
async def test_each_local_day_is_done_once_however_often_bills_are_run(
    bench: Bench, clock: SteppedClock, window: Window
) -> None:
    """A bill is due each day, also on a day that never was; runs every three hours do each day there is, once."""
    begin = date.fromisoformat(window.days[0])
    clock.move_to(utc(window.first) - timedelta(hours=3))
    await bench.put(
        profile(window.zone, clock.now()),
        *[bill(n, begin + n * DAY, clock.now(), recurrence=Recurrence.NONE) for n in range(5)],
    )
    for n in range(5):
        await bench.create(UpcomingBill(n, 0))
    clock.move_to(utc(window.first))
    while clock.now() < utc(window.until):
        await bench.bills()
        clock.advance(timedelta(hours=3))
    assert sorted(await bench.keys()) == [f"1:due:{day}" for day in window.days]
    done = await bench.rows("SELECT local_date FROM bill_days WHERE zone = :zone ORDER BY 1", zone=window.zone)
    assert [f"{row.local_date}" for row in done] == list(window.days)


async def test_a_bill_of_a_day_that_never_was_is_told_to_who_looks_ahead(bench: Bench, clock: SteppedClock) -> None:
    """Due on 30 December 2011 in Apia: on the 29th it is a day away, on the 31st it is over."""
    clock.move_to(utc("2011-12-28 20:00"))
    await bench.put(profile(APIA, clock.now()), bill(1, date(2011, 12, 30), clock.now(), recurrence=Recurrence.NONE))
    for days_before in (0, 1):
        await bench.create(UpcomingBill(1, days_before))
    told = []
    for instant in ("2011-12-29 16:00", "2011-12-30 16:00"):  # six in the morning of the 29th, and of the 31st
        clock.move_to(utc(instant))
        told.append(await bench.bills())
    assert told == [1, 0]
    assert [row.days_before for row in await _who_was_told(bench)] == [1]


async def _who_was_told(bench: Bench) -> Sequence[Any]:
    return await bench.rows("SELECT a.days_before FROM firings f JOIN alerts a ON a.id = f.alert_id")


async def test_no_bill_is_lost_where_the_program_and_the_database_disagree_on_the_hour(
    bench: Bench, clock: SteppedClock
) -> None:
    """To PostgreSQL "CET" is an abbreviation, always an hour ahead of UTC; to Python it is a zone with summer time. Any
    zone can be such a one while their collections of clock changes are of different years: Africa/Casablanca is, with
    those of 2025 here and those of 2026 there. The run takes the day for done at six by the one, and the condition says
    that it is five by the other.
    """
    clock.move_to(utc("2026-07-01 12:00"))
    await bench.put(profile("CET", clock.now()), bill(1, date(2026, 7, 2), clock.now(), recurrence=Recurrence.NONE))
    await bench.create(UpcomingBill(1, 0))
    while clock.now() < utc("2026-07-03 12:00"):
        await bench.bills()
        clock.advance(timedelta(minutes=15))
    assert await bench.keys() == ["1:due:2026-07-02"]
