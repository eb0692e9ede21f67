"""What was told is not told again when the firings that told it are gone: occurrences outlive what they guard.

`evaluate.retention` itself throws away; the clock goes on for years.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from tocsin_evaluator.alerts.desk import Owner
from tocsin_evaluator.facts.deletion import delete_facts
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Alert,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.words import (
    BudgetPeriod,
    Direction,
    Frequency,
    MatchType,
    MoneyFlow,
    Recurrence,
    Repeat,
)
from tocsin_evaluator.upkeep import Keep, retention
from tocsin_kit.clock import SteppedClock

from .support import NO_TRACE, PARTNER, USER, Bench, account, bill, budget, goal, transaction

#: As the settings have it.
KEEP = Keep(firings=timedelta(days=90), transactions=timedelta(days=731), ledger_minutes=timedelta(days=14))
OWNER = Owner(PARTNER, USER)
QUARTERS = GoalMilestones(1, (25, 50, 75, 100))
SHOP = MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE)
NEW_YEAR = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def _clean_up(bench: Bench) -> dict[str, int]:
    return await retention(bench.engine, bench.clock.now(), KEEP)


async def _save(bench: Bench, clock: SteppedClock, *amounts: str) -> None:
    """Bring what is saved, of 1,000, one amount after the other, and sweep after each."""
    for amount in amounts:
        clock.advance(timedelta(minutes=1))
        await bench.put(goal(1, amount, clock.now()))
        await bench.sweep()


async def _change_milestones(bench: Bench, alert: Alert, *milestones: int) -> None:
    condition = replace(QUARTERS, milestones=milestones)
    assert await bench.desk.change(OWNER, alert.id, lambda wish: replace(wish, condition=condition), NO_TRACE)


async def _occurrences(bench: Bench) -> set[str]:
    return {row.key for row in await bench.rows("SELECT key FROM occurrences")}


async def test_a_goals_milestones_are_told_once_in_all_its_years(bench: Bench, clock: SteppedClock) -> None:
    """Told, and passed without a word: neither comes again, in whichever way it is looked at; new ones do."""
    await _save(bench, clock, "0")
    made = await bench.create(QUARTERS)
    await _save(bench, clock, "600")
    assert await bench.keys() == ["1:milestone:50"]
    for days in (91, 310, 331, 400):  # 91, 401, 732 and 1,132 days after
        clock.advance(timedelta(days=days))
        await _clean_up(bench)
        assert await bench.keys() == [], "the firings are gone"
        await _save(bench, clock, "100", "600", "200", "740")
        await bench.evaluate(made)
        await bench.desk.change(OWNER, made.id, lambda wish: replace(wish, name=f"{wish.name}!"), NO_TRACE)
        assert await bench.keys() == [], f"at {clock.now()}"
    await _save(bench, clock, "760")
    assert await bench.keys() == ["1:milestone:75"]


async def test_an_edited_list_of_milestones_starts_fresh_after_years(bench: Bench, clock: SteppedClock) -> None:
    """What is reached at the edit is passed silently; what is not is told once it is, also where it was told before."""
    await _save(bench, clock, "0")
    made = await bench.create(replace(QUARTERS, milestones=(25, 50)))
    await _save(bench, clock, "600", "400")
    assert await bench.keys() == ["1:milestone:50"]
    clock.advance(timedelta(days=732))
    await _clean_up(bench)
    await _change_milestones(bench, made, 40, 50, 75)
    await _save(bench, clock, "300", "450", "550")
    assert await bench.keys() == ["2:milestone:50"], "40 was reached at the edit; 50 was not, though it was told before"
    clock.advance(timedelta(days=732))
    await _clean_up(bench)
    await _change_milestones(bench, made, 25, 50, 75)
    await _save(bench, clock, "200", "600")
    assert await bench.keys() == [], "25 and 50 were reached at the edit"
    await _save(bench, clock, "800")
    assert await bench.keys() == ["3:milestone:75"]


async def test_a_share_of_a_yearly_budget_is_told_once_a_year(bench: Bench, clock: SteppedClock) -> None:
    """Its firing is gone in April; it still holds in December."""
    clock.move_to(NEW_YEAR)
    yearly = budget(1, clock.now(), period=BudgetPeriod.YEARLY)
    await bench.put(yearly)
    await bench.create(SpendingTarget(1, (80,)))
    await bench.put(transaction(1, "-350", clock.now(), clock.now()))
    assert await bench.keys() == ["1:2026:80"]
    for month in range(4, 13):
        clock.move_to(NEW_YEAR.replace(month=month, day=28))
        await _clean_up(bench)
        await bench.sweep()
        await bench.put(transaction(month, "-1", clock.now(), clock.now()))
        assert await bench.keys() == [], f"on {clock.now():%F}"
    clock.move_to(NEW_YEAR.replace(year=2027))
    await bench.put(transaction(99, "-350", clock.now(), clock.now()))
    assert await bench.keys() == ["1:2027:80"]


@pytest.mark.parametrize("days", [91, 401, 732])
async def test_a_purchase_that_comes_again_after_its_firing_is_gone_is_not_told(
    bench: Bench, clock: SteppedClock, days: int
) -> None:
    """As it was, changed, or, when the purchase itself is gone, as if it were new."""
    made = await bench.create(SHOP)
    bought = transaction(1, "-5", clock.now(), clock.now())
    await bench.put(bought)
    assert await bench.keys() == ["1:purchase:1"]
    clock.advance(timedelta(days=days))
    counts = await _clean_up(bench)
    assert counts["transactions"] == (1 if days > 731 else 0)
    for again in (bought, replace(bought, description="Corrected", as_of=clock.now())):
        await bench.put(again)
        await bench.evaluate(made)
        assert await bench.keys() == []


async def test_occurrences_live_as_long_as_what_they_name(bench: Bench, clock: SteppedClock) -> None:
    """A threshold's as its firing, a bill's a year longer than the day it is due, a purchase's 400 days, a budget's to
    the end of the period after its own; milestones stay.
    """
    clock.move_to(NEW_YEAR)
    due = date(2026, 1, 22)
    await bench.put(goal(1, "0", clock.now()))
    await bench.create(QUARTERS)
    clock.advance(timedelta(minutes=1))
    await bench.put(goal(1, "300", clock.now()), account(1, "100", clock.now()))
    await bench.put(
        budget(1, clock.now(), period=BudgetPeriod.YEARLY), bill(1, due, clock.now(), recurrence=Recurrence.NONE)
    )
    await bench.put(transaction(1, "-350", clock.now(), clock.now()))
    await bench.create(AccountThreshold(1, Decimal("500"), "USD", Direction.BELOW, Repeat.ON_CROSSING))
    await bench.create(SpendingTarget(1, (80,)))
    await bench.create(UpcomingBill(1, 21))
    await bench.create(replace(SHOP, frequency=Frequency.FIRST_OF_DAY))
    await bench.create(TransactionLimit(Decimal("200"), "USD", None, MoneyFlow.ANY))
    milestone, threshold = "1:milestone:25", "1:at:2026-01-01T12:01:00.000000Z"
    a_bill, purchases, share = "1:due:2026-01-22", {"1:purchase:1", "1:day:2026-01-01"}, "1:2026:80"
    left = {milestone, threshold, a_bill, *purchases, share}
    assert set(await bench.keys()) == left
    for days, gone in (
        (89, set()),
        (91, {threshold}),
        (386, set()),  # 22 January 2027
        (389, {a_bill}),
        (399, set()),
        (401, purchases),
        (729, set()),  # 31 December 2027
        (733, {share}),
        (4_000, set()),
    ):
        clock.move_to(NEW_YEAR + timedelta(days=days))
        await _clean_up(bench)
        left -= gone
        assert await _occurrences(bench) == left, f"after {days} days"


async def test_milestones_of_a_deleted_alert_and_of_an_edited_condition_go(bench: Bench, clock: SteppedClock) -> None:
    """Nobody asks for them any more; those of another goal stay."""
    await bench.put(*[goal(number, "0", clock.now()) for number in (1, 2, 3)])
    deleted, edited, _ = [await bench.create(replace(QUARTERS, goal_id=number)) for number in (1, 2, 3)]
    clock.advance(timedelta(minutes=1))
    await bench.put(*[goal(number, "300", clock.now()) for number in (1, 2, 3)])
    assert await bench.desk.delete(OWNER, deleted.id)
    wanted = replace(QUARTERS, goal_id=2, milestones=(20, 90))
    await bench.desk.change(OWNER, edited.id, lambda wish: replace(wish, condition=wanted), NO_TRACE)
    clock.advance(timedelta(days=89))
    await _clean_up(bench)
    assert await _occurrences(bench) == {"1:milestone:25", "2:milestone:20"}
    assert len(await bench.rows("SELECT 1 FROM occurrences")) == 4
    clock.advance(timedelta(days=2))
    await _clean_up(bench)
    assert len(await bench.rows("SELECT 1 FROM occurrences")) == 2


async def test_a_goal_that_is_deleted_and_posted_again_is_not_told_twice(bench: Bench, clock: SteppedClock) -> None:
    """Its milestones stay: a bank that deletes by mistake posts it again."""
    await bench.put(goal(1, "0", clock.now()))
    await bench.create(QUARTERS)
    clock.advance(timedelta(minutes=1))
    await bench.put(goal(1, "300", clock.now()))
    await delete_facts(bench.engine, PARTNER, [("goals", 1)], clock.now())
    clock.advance(timedelta(days=732))
    await _clean_up(bench)
    await bench.put(goal(1, "300", clock.now()))
    await bench.sweep()
    assert await bench.keys() == []
