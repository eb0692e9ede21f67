"""An alert is evaluated once after its creation or edit, whatever goes away between the two transactions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.alerts.desk import Desk, Owner
from tocsin_evaluator.evaluation.person import LEFT_BEHIND, PersonEvaluation
from tocsin_evaluator.model.alerts import Alert, Condition, GoalMilestones, MerchantName
from tocsin_evaluator.model.facts import Trace
from tocsin_evaluator.model.words import Frequency, KindName, MatchType, Reason
from tocsin_kit.clock import SteppedClock

from .support import NO_TRACE, PARTNER, USER, Bench, goal, transaction, wish

SHOP = MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE)
QUARTERS = GoalMilestones(1, (25, 50, 75, 100))
OWNER = Owner(PARTNER, USER)


class Gone(BaseException):
    """The process ended here."""


@dataclass(frozen=True)
class EndsBefore:
    """A person's evaluation that never comes, because the process ended."""

    async def after_edit(self, partner_id: int, alert_id: int, kind: KindName, trace: Trace) -> None:
        """End."""
        raise Gone


def _desk(bench: Bench, evaluation: object) -> Desk:
    return Desk(bench.engine, bench.clock, cast(PersonEvaluation, evaluation))


async def _create_and_end(bench: Bench, condition: Condition, **more: Any) -> int:
    """Create an alert in a process that ends right after the commit; the alert's id."""
    with pytest.raises(Gone):
        await _desk(bench, EndsBefore()).create(OWNER, wish(condition, **more), bench.once(), NO_TRACE)
    [row] = await bench.rows("SELECT max(id) AS id FROM alerts")
    return int(row.id)


async def _left(bench: Bench) -> int:
    return len(await bench.rows("SELECT 1 FROM alerts WHERE evaluate_after_edit IS NOT NULL"))


async def _change(bench: Bench, alert_id: int, **more: Any) -> Alert:
    after = await bench.desk.change(OWNER, alert_id, lambda before: replace(before, **more), NO_TRACE)
    assert after is not None
    return after


async def test_a_look_back_that_was_lost_is_made_up_for(bench: Bench, clock: SteppedClock) -> None:
    """After a few seconds, by any replica, once; whoever made the edit has time to do it."""
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    await _create_and_end(bench, SHOP)
    clock.advance(LEFT_BEHIND)
    await bench.person.finish_edits()
    assert await bench.keys() == [], "it may be on its way"
    clock.advance(timedelta(seconds=1))
    await bench.person.finish_edits()
    assert await bench.keys() == ["1:purchase:1"]
    assert await _left(bench) == 0


async def test_the_request_that_is_sent_again_is_evaluated_at_once(bench: Bench, clock: SteppedClock) -> None:
    """Its caller saw it fail after the commit."""
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    once = bench.once()
    with pytest.raises(Gone):
        await _desk(bench, EndsBefore()).create(OWNER, wish(SHOP), once, NO_TRACE)
    made = await bench.desk.create(OWNER, wish(SHOP), once, NO_TRACE)
    assert made.trigger_count == 1


async def test_old_milestones_stay_silent_when_a_sweep_comes_before_the_evaluation(
    bench: Bench, clock: SteppedClock
) -> None:
    """Real time too; what is reached after the evaluation is told."""
    await bench.put(goal(1, "300", clock.now()))
    await _create_and_end(bench, QUARTERS)
    await bench.sweep()
    clock.advance(timedelta(seconds=1))
    await bench.put(goal(1, "600", clock.now()))
    assert await bench.keys() == []
    clock.advance(LEFT_BEHIND)
    await bench.person.finish_edits()
    assert await bench.keys() == []
    await bench.put(goal(1, "800", clock.now()))
    assert await bench.keys() == ["1:milestone:75"]
    await bench.ledger.flush()
    rows = await bench.rows("SELECT way, passed, fired FROM evaluation_ledger ORDER BY way")
    assert [tuple(row) for row in rows] == [("realtime", 1, 1), ("sweep", 1, 0), ("user", 0, 0)]


async def test_a_new_name_does_not_make_a_new_condition_loud(bench: Bench, clock: SteppedClock) -> None:
    """An edit that would be evaluated aloud comes before the silent evaluation."""
    await bench.put(goal(1, "600", clock.now()))
    made = await _create_and_end(bench, QUARTERS)
    await _change(bench, made, name="Holiday")
    assert await bench.keys() == []
    assert await _left(bench) == 0


@pytest.mark.parametrize(("before", "told"), [("600", []), ("300", ["1:milestone:50"])])
async def test_a_goals_milestones_are_passed_silently_also_while_it_sleeps(
    bench: Bench, clock: SteppedClock, before: str, told: list[str]
) -> None:
    """The end of the snooze tells what was reached during it, not what was reached before the alert."""
    await bench.put(goal(1, before, clock.now()))
    made = await bench.create(QUARTERS, snoozed_until=clock.now() + timedelta(hours=1))
    assert (await bench.evaluate(made)).reason is Reason.SNOOZED
    clock.advance(timedelta(minutes=30))
    await bench.put(goal(1, "600", clock.now()))
    clock.advance(timedelta(minutes=30))
    await bench.sweep()
    assert await bench.keys() == told


async def test_inactive_and_deleted_alerts_are_not_left_to_evaluate(bench: Bench, clock: SteppedClock) -> None:
    """Or they would be looked at every second for ever."""
    await bench.create(SHOP, active=False)
    assert await _left(bench) == 0
    switched_off, deleted = await _create_and_end(bench, SHOP), await _create_and_end(bench, SHOP)
    assert await _left(bench) == 2
    await _change(bench, switched_off, active=False)
    await bench.desk.delete(OWNER, deleted)
    assert await _left(bench) == 0


async def test_an_edit_that_cannot_be_evaluated_keeps_no_other_from_it(bench: Bench, clock: SteppedClock) -> None:
    """It is given up; before, it would have ended the process each second."""
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    bad, good = await _create_and_end(bench, SHOP), await _create_and_end(bench, SHOP)
    async with bench.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE firings ADD CHECK (alert_id <> {bad})"))
    clock.advance(LEFT_BEHIND + timedelta(seconds=1))
    await bench.person.finish_edits()
    assert [row.alert_id for row in await bench.rows("SELECT alert_id FROM firings")] == [good]
    assert await _left(bench) == 0


@dataclass(frozen=True)
class Waits:
    """A person's evaluation that begins when it is let."""

    begin: asyncio.Event
    real: PersonEvaluation

    async def after_edit(self, partner_id: int, alert_id: int, kind: KindName, trace: Trace) -> None:
        """Wait, then evaluate."""
        await self.begin.wait()
        await self.real.after_edit(partner_id, alert_id, kind, trace)


async def test_a_caller_that_goes_away_does_not_end_the_evaluation(bench: Bench, clock: SteppedClock) -> None:
    """It is evaluated at once, not when it is found left behind."""
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    waits = Waits(asyncio.Event(), bench.person)
    call = asyncio.create_task(_desk(bench, waits).create(OWNER, wish(SHOP), bench.once(), NO_TRACE))
    async with asyncio.timeout(20):
        while not await _left(bench):
            pass
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        waits.begin.set()
        while await _left(bench):
            pass
    assert await bench.keys() == ["1:purchase:1"]


class LosesAnAnswer:
    """A database whose first commit goes through unseen."""

    def __init__(self, real: AsyncEngine) -> None:
        self._real, self._lost = real, False
        self.connect: Callable[[], object] = real.connect

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction."""
        async with self._real.begin() as connection:
            yield connection
        if not self._lost:
            self._lost = True
            raise ConnectionResetError


async def test_a_commit_that_goes_through_unseen_makes_one_alert(bench: Bench) -> None:
    """The transaction is run again, and finds its own request."""
    desk = Desk(cast(AsyncEngine, LosesAnAnswer(bench.engine)), bench.clock, bench.person)
    made = await desk.create(OWNER, wish(SHOP), bench.once(), NO_TRACE)
    assert [row.id for row in await bench.rows("SELECT id FROM alerts")] == [made.id]


async def test_a_look_back_sees_what_a_snoozed_alert_does_not_tell(bench: Bench, clock: SteppedClock) -> None:
    """EvaluateAlert names the snooze as the reason, not that nothing was bought."""
    made = await bench.create(SHOP, snoozed_until=clock.now() + timedelta(hours=1))
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    assert (await bench.evaluate(made)).reason is Reason.SNOOZED
    clock.advance(timedelta(hours=1))
    assert (await bench.evaluate(made)).reason is None, "what it slept through is gone"


async def test_a_snooze_that_is_over_is_not_moved_back(bench: Bench, clock: SteppedClock) -> None:
    """What it slept through stays gone."""
    begun = clock.now()
    made = await bench.create(SHOP, snoozed_until=begun + timedelta(hours=1))
    await bench.put(transaction(1, "-5", clock.now(), clock.now()))
    clock.advance(timedelta(hours=2))
    after = await _change(bench, made.id, snoozed_until=begun - timedelta(hours=1))
    assert after.wish.snoozed_until == begun + timedelta(hours=1)
    assert await bench.keys() == []


async def test_an_edited_goals_milestones_are_passed_silently_also_while_it_sleeps(
    bench: Bench, clock: SteppedClock
) -> None:
    """A changed condition starts as fresh as a new one."""
    await bench.put(goal(1, "600", clock.now()))
    made = await bench.create(replace(QUARTERS, milestones=(75,)))
    await _change(bench, made.id, condition=QUARTERS, snoozed_until=clock.now() + timedelta(hours=1))
    clock.advance(timedelta(hours=1))
    await bench.sweep()
    assert await bench.keys() == []
    assert [row.key for row in await bench.rows("SELECT key FROM occurrences ORDER BY key")] == [
        "2:milestone:25",
        "2:milestone:50",
    ]
