"""What owners do with their alerts, and what that means for evaluation."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from tocsin_evaluator.alerts.desk import Owner
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Alert,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    UpcomingBill,
    Wish,
)
from tocsin_evaluator.model.words import Direction, Frequency, MatchType, Reason, Repeat, SpentSource
from tocsin_kit.clock import SteppedClock

from .support import NO_TRACE, Bench, account, bill, budget, goal, profile, transaction

BELOW_500 = AccountThreshold(1, Decimal("500"), "USD", Direction.BELOW, Repeat.WHILE_TRUE)
SHOP = MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE)


async def _change(bench: Bench, alert: Alert, changed: Callable[[Wish], Wish]) -> Alert:
    after = await bench.desk.change(Owner(alert.partner_id, alert.user_id), alert.id, changed, NO_TRACE)
    assert after is not None
    return after


async def test_a_changed_condition_starts_fresh_and_a_changed_name_does_not(bench: Bench, clock: SteppedClock) -> None:
    """The cooldown is cleared with the condition it belonged to."""
    await bench.put(account(1, "100", clock.now()))
    made = await bench.create(BELOW_500)
    clock.advance(timedelta(minutes=1))
    after = await _change(bench, made, lambda wish: replace(wish, name="Low", cooldown=timedelta(hours=1)))
    assert (after.condition_version, after.trigger_count) == (1, 1)
    after = await _change(bench, made, lambda wish: replace(wish, condition=replace(BELOW_500, threshold=Decimal(400))))
    assert (after.condition_version, after.trigger_count) == (2, 2)
    assert [key[0] for key in await bench.keys()] == ["1", "2"]


async def test_a_snoozed_threshold_fires_with_the_first_sweep_after_it(bench: Bench, clock: SteppedClock) -> None:
    """A state kind is left untouched while it sleeps."""
    made = await bench.create(BELOW_500, snoozed_until=clock.now() + timedelta(hours=1))
    await bench.put(account(1, "100", clock.now()))
    assert (await bench.evaluate(made)).reason is Reason.SNOOZED
    assert await bench.sweep() == 0
    clock.advance(timedelta(hours=1))
    assert await bench.sweep() == 1


async def test_what_a_snoozed_merchant_alert_sees_is_gone(bench: Bench, clock: SteppedClock) -> None:
    """Neither the end of the snooze nor ending it early brings it back."""
    made = await bench.create(SHOP, snoozed_until=clock.now() + timedelta(hours=1))
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    clock.advance(timedelta(minutes=30))
    after = await _change(bench, made, lambda wish: replace(wish, snoozed_until=None))
    assert after.trigger_count == 0
    await bench.evaluate(made)
    assert await bench.keys() == []
    clock.advance(timedelta(seconds=1))
    await bench.put(transaction(2, "-5", clock.now(), clock.now()))
    assert await bench.keys() == ["1:purchase:2"]


async def test_inactive_and_deleted_alerts_do_not_fire(bench: Bench, clock: SteppedClock) -> None:
    """Neither in real time nor in a sweep; a purchase made meanwhile stays unheard."""
    quiet, gone = await bench.create(SHOP, active=False), await bench.create(SHOP)
    assert await bench.desk.delete(Owner(1, 1), gone.id)
    assert not await bench.desk.delete(Owner(1, 1), gone.id)
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    clock.advance(timedelta(hours=1))
    after = await _change(bench, quiet, lambda wish: replace(wish, active=True))
    assert after.trigger_count == 0
    assert await bench.keys() == []


async def test_a_new_merchant_alert_looks_at_the_last_minute_only(bench: Bench, clock: SteppedClock) -> None:
    """A purchase that came in just before the alert is the one that made its owner ask."""
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    clock.advance(timedelta(seconds=61))
    await bench.put(transaction(2, "-5", clock.now(), clock.now()), backfill=True)
    await bench.put(transaction(3, "-5", clock.now(), clock.now()))
    clock.advance(timedelta(seconds=30))
    await bench.create(SHOP)
    assert await bench.keys() == ["1:purchase:3"]


async def test_a_new_budget_alert_fires_its_highest_and_a_new_bill_alert_does_not_wait_for_six(
    bench: Bench, clock: SteppedClock
) -> None:
    """Creating evaluates once: goals silently, everything else aloud."""
    clock.move_to(clock.now().replace(hour=2))
    await bench.put(
        budget(1, clock.now(), spent_source=SpentSource.REPORTED, spent=Decimal("330")),
        bill(1, date(2025, 11, 5), clock.now()),
        goal(1, "600", clock.now()),
    )
    await bench.create(SpendingTarget(1, (50, 80, 90)))
    await bench.create(UpcomingBill(1, 3))
    await bench.create(GoalMilestones(1, (25, 50, 75)))
    assert await bench.keys() == ["1:2025-11:80", "1:due:2025-11-05"]


async def test_a_person_who_moves_has_their_bills_evaluated(bench: Bench, clock: SteppedClock) -> None:
    """In Kathmandu the morning has come, and the day may be another."""
    clock.move_to(clock.now().replace(hour=2))
    await bench.put(profile("America/Chicago", clock.now()), bill(1, date(2025, 11, 6), clock.now()))
    made = await bench.create(UpcomingBill(1, 3))
    assert made.trigger_count == 0, "it is the 2nd in Chicago: four days before"
    clock.advance(timedelta(minutes=1))
    await bench.put(profile("Asia/Kathmandu", clock.now()))
    assert await bench.keys() == ["1:due:2025-11-06"]


async def test_an_older_fact_never_overwrites_a_newer_one(bench: Bench, clock: SteppedClock) -> None:
    """By as_of; within a batch too; a repeat raises no version."""
    now = clock.now()
    await bench.put(account(1, "10", now), account(1, "20", now - timedelta(hours=1)))
    await bench.put(account(1, "30", now - timedelta(minutes=1)))
    await bench.put(account(1, "10", now))
    rows = await bench.rows("SELECT balance, version FROM accounts")
    assert [tuple(row) for row in rows] == [(Decimal("10"), 1)]


async def test_the_newest_balance_after_moves_the_owners_account(bench: Bench, clock: SteppedClock) -> None:
    """By time of posting, then by order; another user's transaction moves nothing."""
    early = clock.now() - timedelta(hours=2)
    await bench.create(BELOW_500)
    await bench.put(account(1, "1000", early))
    at = clock.now() - timedelta(hours=1)
    await bench.put(
        transaction(1, "-1", at, clock.now(), balance_after=Decimal("480"), merchant="A"),
        transaction(2, "-1", at, clock.now(), balance_after=Decimal("470"), merchant="B"),
        transaction(3, "-1", early, clock.now(), balance_after=Decimal("900"), merchant="C"),
        transaction(4, "-1", clock.now(), clock.now(), balance_after=Decimal("1"), user_id=2),
    )
    rows = await bench.rows("SELECT balance, as_of FROM accounts")
    assert [tuple(row) for row in rows] == [(Decimal("470"), at)]
    assert [context["balance"] for context in await bench.contexts()] == ["470.00"]
