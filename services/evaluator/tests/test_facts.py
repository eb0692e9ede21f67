"""Facts as they are stored: which version counts, as of when, and when it came."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tocsin_evaluator.alerts.desk import Owner
from tocsin_evaluator.model.alerts import AccountThreshold, SpendingTarget
from tocsin_evaluator.model.words import BudgetPeriod, Direction, Repeat, SpentSource
from tocsin_kit.clock import SteppedClock

from .support import PARTNER, USER, Bench, account, bill, budget, goal, profile, transaction

BELOW_500 = AccountThreshold(1, Decimal("500"), "USD", Direction.BELOW, Repeat.WHILE_TRUE)


@pytest.mark.parametrize("how", ["post-dated", "by its day only"])
async def test_a_balance_of_the_days_to_come_does_not_shut_the_accounts_own_out(
    bench: Bench, clock: SteppedClock, how: str
) -> None:
    """A day without a time stands at noon, which at eight in the morning is to come."""
    clock.move_to(clock.now().replace(hour=8))
    now = clock.now()
    await bench.create(BELOW_500)
    await bench.put(account(1, "1000", now))
    when = now + timedelta(days=30) if how == "post-dated" else now.date()
    await bench.put(transaction(1, "-1", when, now, balance_after=Decimal("999")))
    rows = await bench.rows("SELECT balance, as_of FROM accounts")
    assert [tuple(row) for row in rows] == [(Decimal("999"), now)]
    clock.advance(timedelta(hours=1))
    await bench.put(account(1, "100", clock.now()))
    assert len(await bench.keys()) == 1


async def test_the_last_of_several_balances_counts_by_its_own_time(bench: Bench, clock: SteppedClock) -> None:
    """Both are to come; the later one is the account's."""
    now = clock.now()
    await bench.put(account(1, "1000", now - timedelta(days=1)))
    await bench.put(
        transaction(1, "-1", now + timedelta(days=2), now, balance_after=Decimal("998"), merchant="A"),
        transaction(2, "-1", now + timedelta(days=1), now, balance_after=Decimal("999"), merchant="B"),
    )
    assert (await bench.rows("SELECT balance FROM accounts"))[0].balance == 998


async def test_a_repeat_is_newer_than_a_version_between(bench: Bench, clock: SteppedClock) -> None:
    """The bank said the same at two o'clock as at noon: what it said at one is over. A repeat is no version."""
    noon = clock.now()
    one, two = noon + timedelta(hours=1), noon + timedelta(hours=2)
    clock.move_to(two)
    await bench.put(transaction(1, "-20", noon, noon), profile("UTC", noon))
    await bench.put(transaction(1, "-20", noon, two), profile("UTC", two))
    await bench.put(transaction(1, "-20", noon, one, category="old"), profile("Asia/Tokyo", one))
    [row] = await bench.rows("SELECT category, as_of, version FROM transactions")
    assert tuple(row) == ("groceries", two, 1)
    [row] = await bench.rows("SELECT time_zone, as_of, version FROM people")
    assert tuple(row) == ("UTC", two, 1)


async def test_a_repeat_among_history_makes_no_history(bench: Bench, clock: SteppedClock) -> None:
    """How a fact came goes with its version."""
    await bench.put(transaction(1, "-20", clock.now(), clock.now()))
    clock.advance(timedelta(minutes=1))
    await bench.put(transaction(1, "-20", clock.now() - timedelta(minutes=1), clock.now()), backfill=True)
    assert not (await bench.rows("SELECT backfill FROM transactions"))[0].backfill


async def test_an_alert_was_last_evaluated_when_its_fact_came(bench: Bench, clock: SteppedClock) -> None:
    """Not as of when the bank knew it. By an upsert, by a balance that came with a purchase, by a sum."""
    early = clock.now() - timedelta(hours=3)
    await bench.put(account(1, "1000", early), budget(1, early))
    low, target = await bench.create(BELOW_500), await bench.create(SpendingTarget(1, (50,)))

    async def last(alert_id: int) -> object:
        found = await bench.desk.get(Owner(PARTNER, USER), alert_id)
        assert found is not None
        return found.last_evaluated_at

    clock.advance(timedelta(minutes=1))
    await bench.put(account(1, "999", early + timedelta(minutes=1)))
    assert await last(low.id) == clock.now()
    clock.advance(timedelta(minutes=1))
    at = clock.now() - timedelta(hours=1)
    await bench.put(transaction(1, "-1", at, at, balance_after=Decimal("998")))
    assert await last(low.id) == clock.now()
    assert await last(target.id) == clock.now()


async def test_every_fact_says_when_its_version_came(bench: Bench, clock: SteppedClock) -> None:
    """Also those that no purchase moves."""
    early = clock.now() - timedelta(hours=3)
    await bench.put(
        goal(1, "1", early), bill(1, early.date(), early), budget(1, early, spent_source=SpentSource.REPORTED)
    )
    clock.advance(timedelta(minutes=1))
    await bench.put(goal(1, "1", early), goal(2, "2", early))
    came = {
        table: [row.received_at for row in await bench.rows(f"SELECT received_at FROM {table} ORDER BY id")]  # noqa: S608
        for table in ("goals", "bills", "budgets")
    }
    before = clock.now() - timedelta(minutes=1)
    assert came == {"goals": [before, clock.now()], "bills": [before], "budgets": [before]}


async def test_a_derived_budget_that_is_posted_again_is_one_version(bench: Bench, clock: SteppedClock) -> None:
    """What was summed stays; only a change of its terms sums anew."""
    await bench.put(budget(1, clock.now()))
    await bench.put(transaction(1, "-100", clock.now(), clock.now()))
    [before] = await bench.rows("SELECT version, spent FROM budgets")
    clock.advance(timedelta(hours=1))
    await bench.put(budget(1, clock.now()))
    [after] = await bench.rows("SELECT version, spent FROM budgets")
    assert (after.version, after.spent) == (before.version + 1, 100)
    await bench.put(budget(1, clock.now(), category="rent"))
    await bench.put(budget(1, clock.now(), category="groceries", period=BudgetPeriod.WEEKLY))
    [row] = await bench.rows("SELECT spent, spent_from, spent_until FROM budgets")
    assert (row.spent, row.spent_until - row.spent_from) == (100, timedelta(days=7))
    await bench.put(budget(1, clock.now(), spent_source=SpentSource.REPORTED, spent=Decimal(7)))
    assert (await bench.rows("SELECT spent FROM budgets"))[0].spent == 7
    await bench.put(budget(1, clock.now()))
    assert (await bench.rows("SELECT spent FROM budgets"))[0].spent == 100
