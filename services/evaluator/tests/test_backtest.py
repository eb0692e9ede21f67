"""What an alert would have told in the past: the kinds' own expressions over history, deduplicated as live ones are."""

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.backtest import Backtested, Window
from tocsin_evaluator.model.facts import Fact
from tocsin_evaluator.model.words import (
    Direction,
    Frequency,
    MatchType,
    MoneyFlow,
    Reason,
    Recurrence,
    Repeat,
    SpentSource,
    TransactionStatus,
)
from tocsin_evaluator.store.reading import TookTooLong, read_only
from tocsin_kit.clock import SteppedClock

from .support import PARTNER, USER, Bench, account, bill, budget, goal, profile, transaction, until_waiting, wish

LOW = AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.WHILE_TRUE)
CROSSING = AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.ON_CROSSING)
LARGE = TransactionLimit(Decimal(100), "USD", None, MoneyFlow.ANY)
LONG_AGO = datetime(2010, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """An instant in UTC: `11-02 09:00` of 2025."""
    return datetime.fromisoformat(f"2025-{text}+00:00")


async def history(bench: Bench, *facts: Fact) -> None:
    """Facts that came as history, and an account of long ago."""
    await bench.put(account(1, "9999", LONG_AGO), *facts, backfill=True)


def told(result: Backtested) -> list[tuple[str, int]]:
    """When it would have fired, oldest first, and how often it would have told that again."""
    return [(f"{each.at:%m-%d %H:%M}", each.repeats) for each in reversed(result.firings)]


def withheld(result: Backtested) -> list[tuple[str, Reason]]:
    """What would not have fired, oldest first."""
    return [(f"{each.at:%m-%d %H:%M}", each.reason) for each in reversed(result.withheld)]


def keys(result: Backtested) -> list[str]:
    """The occurrences, oldest first."""
    return [each.key for each in reversed(result.firings)]


def balances(as_of: datetime, *steps: tuple[str, str]) -> list[Fact]:
    """A transaction for each (instant, balance after it)."""
    return [
        transaction(number, "-1", at(when), as_of, balance_after=Decimal(after))
        for number, (when, after) in enumerate(steps, start=1)
    ]


def adds_up(result: Backtested) -> bool:
    """Whether what was true fired or has a reason."""
    return result.true == result.fired + result.reasons.total()


async def test_a_balance_is_told_again_after_each_cooldown_until_it_changes_or_is_old(
    bench: Bench, clock: SteppedClock
) -> None:
    """The clock stands at 2025-11-03 12:00."""
    rows = balances(
        clock.now(),
        ("10-28 12:00", "500"),  # equality is not below
        ("10-28 13:00", "499"),  # fires; stands for 11 h: told again at 19:00
        ("10-29 00:00", "480"),  # 5 h after that: cooling down until 01:00, then told
        ("10-29 02:00", "490"),  # cooling down until 07:00, and gone by then
        ("10-29 03:00", "900"),
        ("10-29 07:00", "499.99"),  # the cooldown is over at this very instant; stands until it is 48 h old: 8 times
    )
    await history(bench, *rows)
    result = await bench.backtest(LOW, at("10-20 00:00"))
    assert told(result) == [("10-28 13:00", 2), ("10-29 07:00", 8)]
    assert withheld(result) == [("10-29 00:00", Reason.COOLDOWN), ("10-29 02:00", Reason.COOLDOWN)]
    assert (result.true, result.fired, result.repeats, result.sms_segments) == (4, 2, 10, 12)
    assert result.firings[0].context == {
        "account_id": 1,
        "account": "Checking",
        "balance": "499.99",
        "threshold": "500.00",
        "currency": "USD",
        "direction": "below",
        "as_of": "2025-10-29T07:00:00.000000Z",
    }
    assert keys(result)[0] == "1:at:2025-10-28T13:00:00.000000Z"
    assert adds_up(result)


async def test_a_balance_stands_until_the_windows_end_and_no_longer(bench: Bench, clock: SteppedClock) -> None:
    """Three times in the 18 h and a bit before now."""
    await history(bench, *balances(clock.now(), ("11-02 17:59", "10")))
    assert told(await bench.backtest(LOW, at("10-20 00:00"))) == [("11-02 17:59", 3)]
    assert told(await bench.backtest(LOW, at("10-20 00:00"), cooldown=timedelta(hours=20))) == [("11-02 17:59", 0)]


async def test_a_crossing_is_told_once_until_it_comes_back(bench: Bench, clock: SteppedClock) -> None:
    """Also where it was beyond before the window began: then there is no crossing in it."""
    rows = balances(
        clock.now(),
        ("10-20 12:00", "100"),
        ("10-21 12:00", "90"),
        ("10-22 12:00", "500"),  # back: equality is not below
        ("10-23 12:00", "80"),
        ("10-23 12:00", "70"),  # of the same instant, by its id
        ("10-23 13:00", "600"),
        ("10-23 13:00", "60"),
    )
    await history(bench, *rows)
    result = await bench.backtest(CROSSING, at("10-01 00:00"))
    assert told(result) == [("10-20 12:00", 0), ("10-23 12:00", 0), ("10-23 13:00", 0)]
    assert withheld(result) == [("10-21 12:00", Reason.NOT_REARMED), ("10-23 12:00", Reason.NOT_REARMED)]
    later = await bench.backtest(CROSSING, at("10-21 00:00"))
    assert told(later) == [("10-23 12:00", 0), ("10-23 13:00", 0)]
    assert withheld(later)[0] == ("10-21 12:00", Reason.NOT_REARMED)


async def test_the_present_balance_is_the_last_where_it_is_newer(bench: Bench, clock: SteppedClock) -> None:
    """Put by the bank at 11:00; a closed account is not told of."""
    await history(bench, *balances(clock.now(), ("11-01 09:00", "700")))
    await bench.put(account(1, "20", at("11-03 11:00")))
    assert told(await bench.backtest(LOW, at("10-01 00:00"))) == [("11-03 11:00", 0)]
    assert told(await bench.backtest(CROSSING, at("10-01 00:00"))) == [("11-03 11:00", 0)]
    await bench.put(account(1, "20", at("11-03 11:30"), closed=True))
    assert told(await bench.backtest(LOW, at("10-01 00:00"))) == []


async def test_another_currency_is_named_and_fires_nothing(bench: Bench, clock: SteppedClock) -> None:
    """As live: a threshold looks at balances in its own, a limit at transactions in its own."""
    await history(
        bench,
        *balances(clock.now(), ("11-01 09:00", "7")),
        transaction(9, "-200", at("11-01 10:00"), clock.now(), currency="EUR"),
    )
    euros = AccountThreshold(1, Decimal(500), "EUR", Direction.BELOW, Repeat.WHILE_TRUE)
    assert withheld(await bench.backtest(euros, at("10-01 00:00"))) == [("11-01 09:00", Reason.CURRENCY)]
    assert withheld(await bench.backtest(LARGE, at("10-01 00:00"))) == [("11-01 10:00", Reason.CURRENCY)]


async def test_a_purchase_is_told_once_whatever_its_forms(bench: Bench, clock: SteppedClock) -> None:
    """The earlier form tells it; what was taken back never does; two equal purchases are two."""
    await history(
        bench,
        transaction(1, "-150", at("10-20 10:00"), clock.now(), status=TransactionStatus.PENDING),
        transaction(2, "-150", at("10-22 10:00"), clock.now(), pending_transaction_id=1),
        transaction(3, "-150", at("10-23 10:00"), clock.now(), status=TransactionStatus.REVERSED),
        transaction(4, "-100", at("10-24 10:00"), clock.now()),
        transaction(5, "-100", at("10-24 10:00"), clock.now()),
        transaction(6, "-99.99", at("10-25 10:00"), clock.now()),
        transaction(7, "250", at("10-26 10:00"), clock.now()),
    )
    result = await bench.backtest(LARGE, at("10-01 00:00"))
    assert keys(result) == ["1:purchase:1", "1:purchase:4", "1:purchase:5", "1:purchase:7"]
    assert withheld(result) == [("10-22 10:00", Reason.ALREADY_SENT)]
    debits = TransactionLimit(Decimal(100), "USD", None, MoneyFlow.DEBIT)
    assert keys(await bench.backtest(debits, at("10-01 00:00"))) == keys(result)[:3]
    assert keys(await bench.backtest(TransactionLimit(Decimal(1), "USD", 2, MoneyFlow.ANY), at("10-01 00:00"))) == []
    since_between = await bench.backtest(LARGE, at("10-21 00:00"))
    assert keys(since_between) == keys(result)[1:], "its pending form told it before the window"
    assert withheld(since_between) == [("10-22 10:00", Reason.ALREADY_SENT)]


async def test_a_merchant_is_told_each_time_once_a_day_or_together(bench: Bench, clock: SteppedClock) -> None:
    """A digest costs one text a local day: in Chicago 03:00 UTC is the day before."""
    await bench.put(profile("America/Chicago", LONG_AGO))
    times = ("10-20 15:00", "10-20 16:00", "10-21 03:00", "10-21 15:00")
    await history(bench, *[transaction(n, "-5", at(when), clock.now()) for n, when in enumerate(times, start=1)])

    async def tried(frequency: Frequency) -> Backtested:
        return await bench.backtest(MerchantName("CORNER  shop", MatchType.EXACT, frequency), at("10-01 00:00"))

    immediate, first, digest = [await tried(each) for each in Frequency]
    assert (immediate.fired, immediate.sms_segments) == (4, 4)
    assert keys(first) == ["1:day:2025-10-20", "1:day:2025-10-21"]
    assert (first.sms_segments, first.reasons) == (2, {Reason.ALREADY_SENT: 2})
    assert (digest.fired, digest.sms_segments) == (4, 2)
    assert immediate.firings[0].context["merchant"] == "Corner Shop"


async def test_a_budgets_shares_are_told_once_a_period_the_highest_only(bench: Bench, clock: SteppedClock) -> None:
    """Refunds subtract, other currencies and categories do not count, a period starts clean."""
    await bench.put(profile("America/Chicago", LONG_AGO), budget(1, clock.now()))
    spent: list[tuple[str, str, dict[str, object]]] = [
        ("09-05 12:00", "-190", {}),  # of 400: 47.5 %
        ("09-10 12:00", "-10", {}),  # 50 %
        ("09-11 12:00", "-100", {"category": "rent"}),
        ("09-12 12:00", "-100", {"currency": "EUR"}),
        ("09-13 12:00", "-100", {"status": TransactionStatus.REVERSED}),
        ("09-20 12:00", "100", {}),  # a refund
        ("09-21 12:00", "-110", {}),  # 52.5 % again: told before
        ("09-25 12:00", "-190", {}),  # 100 %: 80 and 90 go with it
        ("09-26 12:00", "60", {}),  # 85 %: so that 80 is not told
        ("10-01 04:59", "-40", {}),  # still September in Chicago: 95 %, and 90 is not told
        ("10-01 05:00", "-360", {}),  # October: 90 %
    ]
    await history(
        bench,
        *[transaction(n, amount, at(when), clock.now(), **more) for n, (when, amount, more) in enumerate(spent, 1)],
    )
    target = SpendingTarget(1, (50, 80, 90, 100))
    result = await bench.backtest(target, at("09-01 12:00"))
    assert keys(result) == ["1:2025-09:50", "1:2025-09:100", "1:2025-10:90"]
    assert [each.context["percent"] for each in result.firings] == [90, 100, 50]
    assert [when for when, _ in withheld(result)] == ["09-21 12:00", "09-26 12:00", "10-01 04:59"]
    assert result.reasons == {Reason.ALREADY_SENT: 3}
    assert result.firings[1].context["spent"] == "400.00"
    middle = await bench.backtest(target, at("09-15 00:00"))
    assert keys(middle) == keys(result)[1:], "the sum is whole, and what was told before the window stays told"
    assert adds_up(result)


async def test_a_bill_is_told_once_per_due_date_at_six_in_the_morning(bench: Bench, clock: SteppedClock) -> None:
    """A 31st falls on the month's last day. Daylight saving begins in New York on 9 March, and ends on 2 November."""
    await bench.put(profile("America/New_York", LONG_AGO), bill(1, date(2025, 1, 31), clock.now()))
    result = await bench.backtest(UpcomingBill(1, 3), at("01-29 00:00"))
    assert keys(result)[:3] == ["1:due:2025-02-28", "1:due:2025-03-31", "1:due:2025-04-30"]
    assert told(result)[0] == ("02-25 11:00", 0), "January's was told on the 28th, before the window"
    assert told(result)[1] == ("03-28 10:00", 0)
    assert keys(result)[-1] == "1:due:2025-10-31"
    assert result.reasons == {Reason.ALREADY_SENT: result.true - result.fired}
    before_six = await bench.backtest(UpcomingBill(1, 3), at("01-30 10:00"))
    assert keys(before_six) == keys(result), "told two days before, of which no morning is in the window"
    assert keys(await bench.backtest(UpcomingBill(1, 3), at("01-28 00:00")))[0] == "1:due:2025-01-31"
    paid = bill(1, date(2025, 1, 31), clock.now(), paid_through=date(2025, 12, 31))
    await bench.put(paid)
    assert keys(await bench.backtest(UpcomingBill(1, 3), at("01-29 00:00"))) == keys(result)
    await bench.put(bill(2, date(2025, 11, 6), clock.now(), recurrence=Recurrence.NONE))
    assert told(await bench.backtest(UpcomingBill(2, 3), at("10-01 00:00"))) == [("11-03 11:00", 0)]
    assert told(await bench.backtest(UpcomingBill(2, 2), at("10-01 00:00"))) == []
    early = Window(at("10-01 00:00"), at("11-03 10:59"))
    assert told(await bench.backtest_.of_wish(PARTNER, USER, wish(UpcomingBill(2, 3)), early)) == []


async def test_what_is_not_stored_is_said(bench: Bench, clock: SteppedClock) -> None:
    """Goals, reported budgets, and what the bank never posted."""
    reported = budget(1, clock.now(), spent_source=SpentSource.REPORTED, spent=Decimal(390))
    await bench.put(goal(1, "900", clock.now()), reported)
    tried: dict[Condition, str] = {
        GoalMilestones(1, (25,)): "what a goal held in the past is not stored",
        SpendingTarget(1, (50,)): "what the bank reported as spent in the past is not stored",
        GoalMilestones(2, (25,)): "the bank has posted no such goal",
        LOW: "the bank has posted no such account",
        UpcomingBill(7, 3): "the bank has posted no such bill",
    }
    for condition, why in tried.items():
        result = await bench.backtest(condition, at("10-01 00:00"))
        assert why in result.missing_history
        assert (result.true, result.fired, result.sms_segments) == (0, 0, 0)
    await history(bench)
    assert (await bench.backtest(LOW, at("10-01 00:00"))).missing_history == ""
    assert (await bench.backtest(LARGE, at("10-01 00:00"))).notes != ()


async def test_a_saved_alert_is_tried_as_though_it_were_new_and_nothing_is_written(
    bench: Bench, clock: SteppedClock
) -> None:
    """Snoozed, inactive, cooling down and edited as it is."""
    await history(bench, *balances(clock.now(), ("11-01 09:00", "7")))
    made = await bench.create(LOW, active=False, snoozed_until=clock.now() + timedelta(days=1))
    await bench.rows("SELECT 1")
    window = Window(at("10-01 00:00"), clock.now())
    async with bench.engine.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE alerts SET condition_version = 4, armed = false, quiet_until = '2030-01-01', seen_version = 99"
        )
    before = await bench.rows("SELECT xmin, a.* FROM alerts a")
    saved = await bench.backtest_.of_alert(PARTNER, USER, made.id, window)
    unsaved = await bench.backtest(LOW, window.since)
    assert saved == unsaved
    assert told(unsaved) == [("11-01 09:00", 8)]
    assert await bench.rows("SELECT xmin, a.* FROM alerts a") == before
    assert await bench.rows("SELECT 1 FROM firings UNION ALL SELECT 1 FROM occurrences") == []
    assert await bench.backtest_.of_alert(PARTNER, USER + 1, made.id, window) is None
    assert await bench.backtest_.of_alert(PARTNER + 1, USER, made.id, window) is None


async def test_another_users_facts_are_not_there(bench: Bench, clock: SteppedClock) -> None:
    """Neither an account nor a purchase of somebody else's, nor what they book to it."""
    await history(
        bench, *balances(clock.now(), ("11-01 09:00", "7")), transaction(9, "-200", at("11-01 10:00"), clock.now())
    )
    await bench.put(
        transaction(10, "-1", at("11-02 10:00"), clock.now(), user_id=2, balance_after=Decimal(900)), backfill=True
    )
    assert (await bench.backtest(LOW, at("10-01 00:00"), user=2)).missing_history
    assert (await bench.backtest(LARGE, at("10-01 00:00"), user=2)).true == 0
    assert told(await bench.backtest(LOW, at("10-01 00:00"))) == [("11-01 09:00", 8)]


async def test_lists_hold_the_newest_thousand_and_counts_are_whole(bench: Bench, clock: SteppedClock) -> None:
    """Of 1,200 purchases."""
    first = at("10-01 00:00")
    made = [transaction(n, "-150", first + timedelta(minutes=n), clock.now()) for n in range(1, 1201)]
    for start in range(0, len(made), 400):
        await bench.put(*made[start : start + 400], backfill=True)
    result = await bench.backtest(LARGE, first)
    assert (result.true, result.fired, len(result.firings), result.is_truncated) == (1200, 1200, 1000, True)
    assert result.firings[0].key == "1:purchase:1200"
    assert result.firings[-1].key == "1:purchase:201"


async def test_a_backtest_that_takes_too_long_is_given_up(bench: Bench, clock: SteppedClock) -> None:
    """By the database as by us; the connection is good for the next."""
    await history(bench, *balances(clock.now(), ("11-01 09:00", "7")))
    hurried = replace(bench, backtest_=replace(bench.backtest_, longest=timedelta(0)))
    with pytest.raises(TookTooLong):
        await hurried.backtest(LOW, at("10-01 00:00"))
    async with bench.engine.begin() as connection:
        await connection.exec_driver_sql("LOCK TABLE transactions")
        patient = replace(bench, backtest_=replace(bench.backtest_, longest=timedelta(milliseconds=300)))
        with pytest.raises(TookTooLong):
            await patient.backtest(LOW, at("10-01 00:00"))
        with pytest.raises(TookTooLong):
            async with read_only(bench.engine, timedelta(milliseconds=300)) as reading:
                await reading.exec_driver_sql("SELECT count(*) FROM transactions")
    assert (await bench.backtest(LOW, at("10-01 00:00"))).fired == 1


# What the real account of a hackerspace shows: every day in the two years before 31 August 2015 on which a booking left
# less than 500.00 on it.
DAYS_BELOW = (
    "2013-12-04",
    "2013-12-05",
    "2013-12-12",
    "2014-04-09",
    "2014-04-10",
    "2015-06-01",
    "2015-06-30",
    "2015-07-28",
    "2015-07-29",
    "2015-07-31",
    "2015-08-03",
)


async def test_a_real_account_would_have_been_told_on_the_days_its_file_shows(
    bench: Bench, clock: SteppedClock, pytestconfig: pytest.Config
) -> None:
    """sshc_checking, brought as history."""
    file = pytestconfig.rootpath.parent / "shared" / "data" / "sshc_checking" / "transactions.csv"
    if not file.is_file():
        pytest.skip("the real account's file is not there (../shared/data)")
    rows = _until(file, "2015-08-31")
    window = Window(datetime(2013, 8, 31, tzinfo=UTC), datetime(2015, 8, 31, 12, tzinfo=UTC))
    below = {row["date"] for row in rows if row["date"] >= "2013-08-31" and Decimal(row["balance_after"]) < 500}
    assert sorted(below) == list(DAYS_BELOW)
    facts = [
        transaction(
            int(row["seq"]),
            row["amount"],
            date.fromisoformat(row["date"]),
            clock.now(),
            description=row["description"][:500],
            balance_after=Decimal(row["balance_after"]),
        )
        for row in rows
    ]
    await bench.put(account(1, "0", LONG_AGO), profile("America/Chicago", LONG_AGO))
    for start in range(0, len(facts), 500):
        await bench.put(*facts[start : start + 500], backfill=True)
    result = await bench.backtest_.of_wish(PARTNER, USER, wish(LOW), window)
    chicago = ZoneInfo("America/Chicago")
    assert [f"{each.at.astimezone(chicago):%Y-%m-%d}" for each in reversed(result.firings)] == list(DAYS_BELOW)
    assert all(each.at.astimezone(chicago).time() == time(12) for each in result.firings)
    assert result.reasons == {Reason.COOLDOWN: result.true - 11}
    assert adds_up(result)


def _until(file: Path, last: str) -> Sequence[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return [row for row in csv.DictReader(opened) if row["date"] <= last]


async def test_no_more_than_two_run_at_once(bench: Bench, clock: SteppedClock) -> None:
    """A third waits for its turn: facts and sweeps need the other connections."""
    await bench.put(account(1, "100", clock.now()))
    async with bench.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE"))
        asked = [asyncio.create_task(bench.backtest(LOW, clock.now() - timedelta(days=9))) for _ in range(5)]
        await until_waiting(bench.engine, 2)
        pool = cast(QueuePool, bench.engine.pool)
        assert pool.checkedout() == 3, "the lock's own, and two that wait for it"
    assert all(each.true == 1 for each in await asyncio.gather(*asked))


async def test_a_hold_of_long_ago_was_told_then(bench: Bench, clock: SteppedClock) -> None:
    """The bank's link has no limit of days: a car hire's hold is booked after weeks."""
    now = clock.now()
    hold = transaction(1, "-500", now - timedelta(days=32), now, status=TransactionStatus.PENDING)
    await bench.put(hold, backfill=True)
    booked = transaction(2, "-480", now - timedelta(days=15), now, pending_transaction_id=1)
    await bench.put(booked, backfill=True)
    over = TransactionLimit(Decimal("100"), "USD", None, MoneyFlow.ANY)
    for days, told in ((20, 0), (40, 1)):
        found = await bench.backtest(over, now - timedelta(days=days))
        assert found.fired == told, days
        assert found.reasons == {Reason.ALREADY_SENT: 1}, days
