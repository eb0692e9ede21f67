"""What is checked, what is thrown away, and that the schema is what the code thinks."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import text

from tocsin_evaluator.alerts.desk import Owner
from tocsin_evaluator.model.alerts import AccountThreshold, GoalMilestones, MerchantName
from tocsin_evaluator.model.words import Direction, Frequency, MatchType, Repeat
from tocsin_evaluator.upkeep import Keep, audit, retention
from tocsin_kit.clock import SteppedClock

from .support import Bench, account, goal, transaction

BELOW_500 = AccountThreshold(1, Decimal("500"), "USD", Direction.BELOW, Repeat.WHILE_TRUE)
KEEP = Keep(timedelta(days=90), timedelta(days=731), timedelta(days=14))


async def test_an_audit_finds_an_occurrence_without_its_firing(bench: Bench, clock: SteppedClock) -> None:
    """And says how many lines of the ledger it looked at."""
    await bench.put(account(1, "100", clock.now()))
    await bench.create(BELOW_500)
    await bench.ledger.flush()
    found = await audit(bench.engine, clock.now())
    assert (found.ledger_lines, found.unbalanced, found.occurrences, found.without_firing) == (1, 0, 1, 0)
    async with bench.engine.begin() as connection:
        await connection.execute(text("DELETE FROM firings"))
    assert (await audit(bench.engine, clock.now())).without_firing == 1


async def test_milestones_stay_passed_after_their_firings_are_gone(bench: Bench, clock: SteppedClock) -> None:
    """Firings live 90 days, a goal's milestones as long as the goal; other occurrences as long as they guard."""
    now = clock.now()
    await bench.put(goal(1, "0", now))
    await bench.create(GoalMilestones(1, (50,)))
    await bench.create(MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE))
    clock.advance(timedelta(minutes=1))
    await bench.put(goal(1, "600", clock.now()), transaction(1, "-5", now, now))
    await bench.ledger.flush()
    assert len(await bench.keys()) == 2
    clock.advance(timedelta(days=91))
    assert (await retention(bench.engine, clock.now(), KEEP))["firings"] == 2
    clock.advance(timedelta(minutes=1))
    await bench.put(goal(1, "700", clock.now()))
    assert await bench.keys() == []
    hours = await bench.rows(
        "SELECT DISTINCT minute, replica FROM evaluation_ledger WHERE minute < :now", now=clock.now()
    )
    assert [tuple(row) for row in hours] == [(now.replace(minute=0, second=0), "hourly")]
    assert (await retention(bench.engine, clock.now(), KEEP))["ledger"] == 0, "hours are folded once"
    clock.advance(timedelta(days=700))
    counts = await retention(bench.engine, clock.now(), KEEP)
    assert (counts["occurrences"], counts["transactions"]) == (1, 1)
    rows = await bench.rows("SELECT key FROM occurrences")
    assert [row.key for row in rows] == ["1:milestone:50"]


async def test_how_often_an_alert_was_evaluated_is_computed(bench: Bench, clock: SteppedClock) -> None:
    """Finished sweeps of its kind and accepted versions of its fact, since its creation."""
    await bench.put(account(1, "900", clock.now()))
    await bench.sweep()
    made = await bench.create(replace(BELOW_500))
    assert made.evaluation_count == 0
    await bench.sweep()
    clock.advance(timedelta(minutes=1))
    await bench.put(account(1, "901", clock.now()))
    await bench.put(account(1, "901", clock.now()))
    await bench.sweep()
    after = await bench.desk.get(Owner(1, 1), made.id)
    assert after is not None
    assert (after.evaluation_count, after.last_evaluated_at) == (3, clock.now())
