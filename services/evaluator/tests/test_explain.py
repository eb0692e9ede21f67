"""Why an alert fires or does not: the clauses with their values, the reasons against, and what was told before."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from tocsin_evaluator.alerts.desk import Owner
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Alert,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.explanation import Crossing, Explanation, Quiet
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
from tocsin_kit.clock import SteppedClock

from .support import NO_TRACE, PARTNER, USER, Bench, account, bill, budget, goal, profile, transaction

LOW = AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.WHILE_TRUE)
CROSSING = replace(LOW, repeat=Repeat.ON_CROSSING)
LARGE = TransactionLimit(Decimal(100), "USD", None, MoneyFlow.ANY)
SHOP = MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE)


def clauses(explained: Explanation) -> Mapping[str, bool]:
    """Whether each clause of the first fact holds."""
    return {each.name: each.holds for each in explained.facts[0].clauses}


def values(explained: Explanation, clause: str) -> Mapping[str, str]:
    """What decides a clause of the first fact."""
    (found,) = (each.values for each in explained.facts[0].clauses if each.name == clause)
    return found


async def explained_and_evaluated(bench: Bench, alert: Alert) -> Explanation:
    """The explanation, which must be what evaluating the alert then comes to."""
    explained = await bench.explain(alert)
    outcome = await bench.evaluate(alert)
    if outcome.firing_ids:
        assert explained.why_not is None, explained
    elif outcome.reason is not None:
        assert explained.why_not is outcome.reason, explained
    else:
        assert explained.why_not is not None, explained
    return explained


async def change(bench: Bench, alert: Alert, **changes: Any) -> None:
    """Edit an alert."""
    owner = Owner(alert.partner_id, alert.user_id)
    await bench.desk.change(owner, alert.id, lambda wish: replace(wish, **changes), NO_TRACE)


async def test_a_threshold_shows_its_balance_and_when_it_may_fire_again(bench: Bench, clock: SteppedClock) -> None:
    """True, fired, cooling down, over, false, closed."""
    await bench.put(profile("America/Chicago", clock.now()))
    made = await bench.create(LOW)
    nothing = await explained_and_evaluated(bench, made)
    assert (nothing.why_not, nothing.facts) == (Quiet.NO_FACT, [])
    assert nothing.summary == "It does not fire: the bank has posted no such account."
    await bench.put(account(1, "500", clock.now()))
    equal = await explained_and_evaluated(bench, made)
    assert equal.why_not is Quiet.NOT_TRUE
    assert clauses(equal) == {"open": True, "beyond": False}
    assert values(equal, "beyond") == {"balance": "500.00", "threshold": "500.00", "direction": "below"}
    assert equal.summary == (
        'It does not fire: "beyond" does not hold (balance 500.00, threshold 500.00, direction below).'
    )
    await bench.put(account(1, "480.5", clock.now()))  # fires at 12:00 UTC, 06:00 in Chicago
    clock.advance(timedelta(minutes=10))
    cooling = await explained_and_evaluated(bench, made)
    assert (cooling.why_not, cooling.next_possible_at) == (
        Reason.COOLDOWN,
        clock.now() + timedelta(hours=5, minutes=50),
    )
    assert dict(cooling.facts[0].reasons)[Reason.COOLDOWN]
    assert not dict(cooling.facts[0].reasons)[Reason.STALE]
    assert cooling.summary == (
        "It is true and does not fire: its cooldown is not over; next possible at 2025-11-03 12:00 (America/Chicago)."
    )
    clock.advance(timedelta(hours=6))
    again = await explained_and_evaluated(bench, made)
    assert (again.why_not, again.next_possible_at, again.summary) == (None, None, "It would fire now.")
    assert again.facts[0].why_not is None
    clock.advance(timedelta(hours=43))
    stale = await explained_and_evaluated(bench, made)
    assert stale.why_not is Reason.STALE
    assert stale.facts[0].as_of == clock.now() - timedelta(hours=49, minutes=10)
    assert "2025-11-03 06:00 (America/Chicago), which is older than 48 hours" in stale.summary
    await bench.put(account(1, "480.5", clock.now(), closed=True))
    closed = await explained_and_evaluated(bench, made)
    assert clauses(closed) == {"open": False, "beyond": True}
    assert values(closed, "open") == {"closed_at": "2025-11-05T13:10:00.000000Z"}


async def test_a_crossing_shows_whether_it_is_armed(bench: Bench, clock: SteppedClock) -> None:
    """Armed when new, not after it fired, again when it came back."""
    await bench.put(account(1, "900", clock.now()))
    made = await bench.create(CROSSING)
    assert (await bench.explain(made)).crossing == Crossing(armed=True, seen_version=0, account_version=1)
    await bench.put(account(1, "100", clock.now() + timedelta(seconds=1)))
    await bench.put(account(1, "90", clock.now() + timedelta(seconds=2)))
    fired = await explained_and_evaluated(bench, made)
    assert fired.why_not is Reason.NOT_REARMED
    assert fired.crossing == Crossing(armed=False, seen_version=2, account_version=3)
    assert fired.next_possible_at is None
    assert "has not come back since it fired" in fired.summary
    await bench.put(account(1, "700", clock.now() + timedelta(seconds=3)))
    back = await explained_and_evaluated(bench, made)
    assert back.why_not is Quiet.NOT_TRUE
    assert back.crossing == Crossing(armed=True, seen_version=4, account_version=4)
    assert (await bench.explain(await bench.create(LOW))).crossing is None


async def test_currency_snooze_and_switch_are_told_before_all(bench: Bench, clock: SteppedClock) -> None:
    """In the order in which an evaluation looks at them."""
    await bench.put(account(1, "100", clock.now(), currency="EUR"))
    made = await bench.create(LOW)
    euros = await explained_and_evaluated(bench, made)
    assert euros.why_not is Reason.CURRENCY
    assert (euros.currency, euros.facts[0].currency) == ("USD", "EUR")
    assert euros.summary == "It is true and does not fire: the fact is in EUR, the alert in USD."
    until = clock.now() + timedelta(hours=2)
    await change(bench, made, snoozed_until=until)
    asleep = await explained_and_evaluated(bench, made)
    assert (asleep.why_not, asleep.snoozed_until) == (Reason.SNOOZED, until)
    assert dict(asleep.facts[0].reasons)[Reason.CURRENCY]
    await change(bench, made, active=False)
    off = await bench.explain(made)
    assert (off.why_not, off.active) == (Quiet.INACTIVE, False)
    assert off.summary == "It does not fire: it is switched off."
    assert clauses(off) == {"open": True, "beyond": True}
    clock.advance(timedelta(hours=3))
    assert (await bench.explain(made)).snoozed_until is None


async def test_each_milestone_shows_whether_it_was_told_or_passed_silently(bench: Bench, clock: SteppedClock) -> None:
    """25 was reached before the alert was made, 75 told at a jump, 50 passed with it."""
    await bench.put(goal(1, "300", clock.now()))
    made = await bench.create(GoalMilestones(1, (25, 50, 75, 100)))
    clock.advance(timedelta(minutes=1))
    await bench.put(goal(1, "800", clock.now()))
    explained = await explained_and_evaluated(bench, made)
    shown = {each.percent: (each.reached, each.fired, each.at) for each in explained.facts[0].occurrences}
    assert shown == {
        25: (True, False, clock.now() - timedelta(minutes=1)),
        50: (True, False, clock.now()),
        75: (True, True, clock.now()),
        100: (False, None, None),
    }
    assert explained.facts[0].occurrences[2].key == "1:milestone:75"
    assert explained.why_not is Reason.ALREADY_SENT
    assert explained.summary == "It is true and does not fire: 75 % was told on 2025-11-03 12:01 (UTC)."
    assert clauses(explained) == {"has_target": True, "reached": True}
    empty = await bench.create(GoalMilestones(2, (50,)))
    await bench.put(goal(2, "10", clock.now(), target="0"))
    zero = await explained_and_evaluated(bench, empty)
    assert clauses(zero) == {"has_target": False, "reached": True}
    assert zero.summary == 'It does not fire: "has target" does not hold (target amount 0.00).'


async def test_a_budget_shows_its_period_and_each_share(bench: Bench, clock: SteppedClock) -> None:
    """A period that is over does not count."""
    made = await bench.create(SpendingTarget(1, (50, 80)))
    spent = budget(1, clock.now(), spent_source=SpentSource.REPORTED, spent=Decimal(210))
    await bench.put(spent)
    explained = await explained_and_evaluated(bench, made)
    occurrences = [(each.key, each.reached, each.is_recorded) for each in explained.facts[0].occurrences]
    assert occurrences == [("1:2025-11:50", True, True), ("1:2025-11:80", False, False)]
    assert values(explained, "runs_now") == {"today": "2025-11-03", "from": "2025-11-01", "until": "2025-12-01"}
    clock.advance(timedelta(days=30))
    turned = await explained_and_evaluated(bench, made)
    assert clauses(turned) == {"has_amount": True, "reached": True, "runs_now": False}


async def test_a_bill_shows_its_day_and_the_hour(bench: Bench, clock: SteppedClock) -> None:
    """Before six in the morning it waits; paid, it is due a month later."""
    await bench.put(profile("America/Los_Angeles", clock.now()))  # 04:00
    made = await bench.create(UpcomingBill(1, 3))
    await bench.put(bill(1, date(2025, 11, 5), clock.now()))
    early = await explained_and_evaluated(bench, made)
    assert clauses(early) == {"due_soon": True, "morning": False}
    assert values(early, "morning") == {"local_time": "04:00", "time_zone": "America/Los_Angeles"}
    assert values(early, "due_soon") == {"due_on": "2025-11-05", "today": "2025-11-03", "days_before": "3"}
    clock.advance(timedelta(hours=2))
    assert (await explained_and_evaluated(bench, made)).why_not is None
    told = await explained_and_evaluated(bench, made)
    assert told.why_not is Reason.ALREADY_SENT
    assert [(each.key, each.fired) for each in told.facts[0].occurrences] == [("1:due:2025-11-05", True)]
    assert told.summary == "It is true and does not fire: this was told on 2025-11-03 06:00 (America/Los_Angeles)."
    await bench.put(bill(1, date(2025, 11, 5), clock.now(), paid_through=date(2025, 11, 5)))
    paid = await explained_and_evaluated(bench, made)
    assert values(paid, "due_soon")["due_on"] == "2025-12-05"
    once = await bench.create(UpcomingBill(2, 3))
    await bench.put(bill(2, date(2025, 10, 1), clock.now(), recurrence=Recurrence.NONE))
    assert clauses(await explained_and_evaluated(bench, once)) == {"due_soon": False, "morning": True}


async def test_the_newest_ten_purchases_are_judged_one_by_one(bench: Bench, clock: SteppedClock) -> None:
    """Told, taken back, too small, history, before the alert."""
    now = clock.now()
    made = await bench.create(LARGE)
    none = await explained_and_evaluated(bench, made)
    assert none.summary == "It does not fire: the bank has posted no transaction."
    old = [transaction(n, "-500", now - timedelta(days=n), now) for n in range(50, 61)]
    await bench.put(*old, backfill=True)
    history = await explained_and_evaluated(bench, made)
    assert [fact.id for fact in history.facts] == list(range(50, 60))
    assert {fact.why_not for fact in history.facts} == {Reason.BACKFILL}
    assert (history.why_not, history.currency) == (Reason.BACKFILL, "USD")
    await bench.put(
        transaction(1, "-500", now, now),
        transaction(2, "-50", now - timedelta(minutes=1), now),
        transaction(3, "-500", now - timedelta(minutes=2), now, status=TransactionStatus.REVERSED),
        transaction(4, "-500", now - timedelta(minutes=3), now, currency="EUR"),
    )
    explained = await explained_and_evaluated(bench, made)
    why = {fact.id: fact.why_not for fact in explained.facts[:5]}
    assert why == {
        1: Reason.ALREADY_SENT,
        2: Quiet.NOT_TRUE,
        3: Quiet.NOT_TRUE,
        4: Reason.CURRENCY,
        50: Reason.BACKFILL,
    }
    assert [(each.key, each.fired) for each in explained.facts[0].occurrences] == [("1:purchase:1", True)]
    assert {each.name: each.holds for each in explained.facts[1].clauses} == {
        "not_reversed": True,
        "large_enough": False,
        "account": True,
        "direction": True,
    }
    assert explained.facts[1].clauses[1].values == {"amount": "-50.00", "limit": "100.00"}


async def test_what_came_before_the_alert_or_while_it_slept_is_said(bench: Bench, clock: SteppedClock) -> None:
    """It matches, and an evaluation does not look at it."""
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    clock.advance(timedelta(minutes=2))
    made = await bench.create(SHOP)
    before = await explained_and_evaluated(bench, made)
    assert (before.why_not, before.facts[0].why_not) == (Quiet.BEFORE_ALERT, Quiet.BEFORE_ALERT)
    assert "before the alert was made" in before.summary
    await change(bench, made, snoozed_until=clock.now() + timedelta(hours=1))
    await bench.put(transaction(2, "-5", clock.now(), clock.now()))
    assert (await explained_and_evaluated(bench, made)).why_not is Reason.SNOOZED
    clock.advance(timedelta(hours=2))
    assert (await explained_and_evaluated(bench, made)).why_not is Quiet.BEFORE_ALERT


async def test_a_pattern_that_does_not_match_shows_both_sides(bench: Bench, clock: SteppedClock) -> None:
    """As they are compared: case-folded, white space squeezed."""
    made = await bench.create(MerchantName("Corner  STORE", MatchType.EXACT, Frequency.IMMEDIATE))
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    explained = await explained_and_evaluated(bench, made)
    assert values(explained, "matches") == {
        "merchant": "corner shop",
        "pattern": "corner store",
        "match_type": "exact",
    }


async def test_nothing_is_written_and_another_users_alert_is_not_there(bench: Bench, clock: SteppedClock) -> None:
    """Nor a deleted one."""
    conditions: list[tuple[Condition, Fact]] = [
        (LOW, account(1, "1", clock.now(), currency="EUR")),
        (GoalMilestones(1, (50,)), goal(1, "1", clock.now())),
        (SHOP, transaction(1, "-5", clock.now(), clock.now())),
        (SpendingTarget(1, (50,)), budget(1, clock.now())),
        (LARGE, transaction(2, "-500", clock.now(), clock.now())),
        (UpcomingBill(1, 3), bill(1, date(2025, 11, 5), clock.now())),
    ]
    made = [await bench.create(condition) for condition, _ in conditions]
    await bench.put(*[fact for _, fact in conditions])
    count = "SELECT count(*), sum(xmin::text::bigint) FROM "
    tables = ("alerts", "occurrences", "firings", "outbox", "evaluation_ledger")
    before = [await bench.rows(count + table) for table in tables]
    for alert in made:
        assert (await bench.explain(alert)).facts
        for partner, user in ((PARTNER, USER + 1), (PARTNER + 1, USER)):
            assert await bench.explaining.explain(partner, user, alert.id) is None
    assert [await bench.rows(count + table) for table in tables] == before
    await bench.desk.delete(Owner(PARTNER, USER), made[0].id)
    assert await bench.explaining.explain(PARTNER, USER, made[0].id) is None
