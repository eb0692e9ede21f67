"""What is committed while an evaluation waits for an alert's lock: it fires on the newest facts or not at all.

Another transaction holds the alert; the evaluation has begun and waits for it; a replica commits a new fact meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from sqlalchemy import text

from tocsin_evaluator.evaluation.person import LEFT_BEHIND
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Alert,
    Condition,
    MerchantName,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.facts import Fact
from tocsin_evaluator.model.words import Direction, Frequency, MatchType, MoneyFlow, Recurrence, Repeat
from tocsin_kit.clock import SteppedClock

from .support import NO_TRACE, PARTNER, USER, Bench, account, bill, held, transaction, until_waiting

MakeBench = Callable[[], Awaitable[Bench]]
Evaluate = Callable[[Bench, Alert], Awaitable[object]]
DUE = date(2025, 11, 10)
SHOP = MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE)
OVER_5 = TransactionLimit(Decimal("5"), "USD", None, MoneyFlow.DEBIT)
#: A balance beyond 500, one further beyond, and one on the other side, of each direction.
BALANCES = {Direction.BELOW: ("100", "50", "900"), Direction.ABOVE: ("900", "950", "100")}


async def _sweep(bench: Bench, alert: Alert) -> object:
    return await bench.sweep()


async def _evaluate_alert(bench: Bench, alert: Alert) -> object:
    return await bench.evaluate(alert)


async def _evaluate_user(bench: Bench, alert: Alert) -> object:
    return await bench.person.of_user(PARTNER, USER, NO_TRACE)


async def _finish_edit(bench: Bench, alert: Alert) -> object:
    """Do what follows the commit of an edit."""
    await bench.person.after_edit(PARTNER, alert.id, alert.wish.kind, NO_TRACE)
    return None


async def _run_bills(bench: Bench, alert: Alert) -> object:
    return await bench.bills()


async def _edited(bench: Bench, alert: Alert) -> None:
    """Have the alert stand there as one whose edit is to be evaluated."""
    async with bench.engine.begin() as connection:
        await connection.execute(text("UPDATE alerts SET evaluate_after_edit = 1 WHERE id = :id"), {"id": alert.id})


async def _waits_while(bench: Bench, other: Bench, alert: Alert, evaluate: Evaluate, fact: Fact) -> None:
    """Let the evaluation begin, and the fact be committed while it waits for the alert: as history, for news that may
    change the alert waits for it as well.
    """
    async with held(other.engine, "alerts", alert.id):
        evaluation = asyncio.ensure_future(evaluate(bench, alert))
        await until_waiting(other.engine)
        async with asyncio.timeout(20):
            await other.put(fact, backfill=True)
        assert not evaluation.done()
    await evaluation


@pytest.mark.parametrize("evaluate", [_sweep, _evaluate_alert, _evaluate_user, _finish_edit])
async def test_a_threshold_fires_on_the_balance_of_after_the_wait(
    make_bench: MakeBench, clock: SteppedClock, evaluate: Evaluate
) -> None:
    """Not on one that is no longer beyond it; and where it is further beyond it by then, it says so."""
    bench, other = await make_bench(), await make_bench()
    for number, (direction, repeat) in enumerate(product(Direction, Repeat), start=1):
        beyond, further, back = BALANCES[direction]
        made = await bench.create(AccountThreshold(number, Decimal("500"), "USD", direction, repeat))
        for meanwhile, told in ((back, 0), (further, 1)):
            clock.advance(timedelta(seconds=1))
            await bench.put(account(number, beyond, clock.now()), backfill=True)
            await _edited(bench, made)
            clock.advance(timedelta(seconds=1))
            await _waits_while(bench, other, made, evaluate, account(number, meanwhile, clock.now()))
            assert len(await bench.keys(made)) == told, f"{direction} {repeat}, {meanwhile} meanwhile"
        assert (await bench.contexts())[-1]["balance"] == f"{further}.00", f"{direction} {repeat}"


@pytest.mark.parametrize("evaluate", [_sweep, _evaluate_alert, _evaluate_user, _finish_edit])
async def test_a_crossing_is_not_armed_again_by_a_balance_of_before_the_wait(
    make_bench: MakeBench, clock: SteppedClock, evaluate: Evaluate
) -> None:
    """It was told; it had come back when the evaluation began, and is beyond the threshold when that goes on."""
    bench, other = await make_bench(), await make_bench()
    for number, direction in enumerate(Direction, start=1):
        beyond, further, back = BALANCES[direction]
        made = await bench.create(AccountThreshold(number, Decimal("500"), "USD", direction, Repeat.ON_CROSSING))
        await bench.put(account(number, beyond, clock.now()))
        clock.advance(timedelta(seconds=1))
        await bench.put(account(number, back, clock.now()), backfill=True)
        await _edited(bench, made)
        clock.advance(timedelta(seconds=1))
        await _waits_while(bench, other, made, evaluate, account(number, further, clock.now()))
        clock.advance(timedelta(seconds=1))
        assert await bench.sweep() == 0, direction
        assert len(await bench.keys(made)) == 1, direction


@pytest.mark.parametrize(
    ("evaluate", "direction"), [(_sweep, Direction.BELOW), (_evaluate_alert, Direction.ABOVE)], ids=["sweep", "asked"]
)
async def test_a_crossing_that_comes_back_while_it_is_told_is_told_again_the_next_time(
    make_bench: MakeBench, clock: SteppedClock, evaluate: Evaluate, direction: Direction
) -> None:
    """The firing was begun before the balance came back and is committed after it: no crossing between them is lost.

    Whichever of the two is taken for the first, the alert is armed after both.
    """
    bench, other, third = await make_bench(), await make_bench(), await make_bench()
    beyond, _, back = BALANCES[direction]
    made = await bench.create(AccountThreshold(1, Decimal("500"), "USD", direction, Repeat.ON_CROSSING))
    await bench.put(account(1, beyond, clock.now()), backfill=True)
    occurrence = {"id": made.id, "key": f"1:at:{clock.now():%Y-%m-%dT%H:%M:%S.%fZ}", "at": clock.now()}
    async with third.engine.connect() as connection:
        await connection.execute(
            text("INSERT INTO occurrences (partner_id, alert_id, key, fired, at) VALUES (1, :id, :key, false, :at)"),
            occurrence,
        )
        evaluation = asyncio.ensure_future(evaluate(bench, made))
        await until_waiting(third.engine)
        clock.advance(timedelta(seconds=1))
        comes_back = asyncio.create_task(other.put(account(1, back, clock.now())))
        waiting = asyncio.create_task(until_waiting(third.engine, 2))
        await asyncio.wait({comes_back, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await connection.rollback()
    await asyncio.gather(evaluation, comes_back)
    waiting.cancel()
    before = len(await bench.keys())
    clock.advance(timedelta(seconds=1))
    await bench.put(account(1, beyond, clock.now()))
    assert len(await bench.keys()) == before + 1


@pytest.mark.parametrize("evaluate", [_run_bills, _evaluate_alert, _evaluate_user])
async def test_a_bill_that_is_paid_while_its_evaluation_waits_does_not_fire(
    make_bench: MakeBench, clock: SteppedClock, evaluate: Evaluate
) -> None:
    """Nor does one that is put off; the day that is told is the one of after the wait. An edit's evaluation keeps bills
    from coming in meanwhile."""
    bench, other = await make_bench(), await make_bench()
    await bench.put(bill(1, DUE, clock.now(), recurrence=Recurrence.NONE))
    made = await bench.create(UpcomingBill(1, 3))
    rounds: list[tuple[dict[str, Any], list[str]]] = [
        ({"due": DUE, "paid_through": DUE}, []),
        ({"due": DUE + timedelta(days=30)}, []),
        ({"due": DUE - timedelta(days=1)}, ["1:due:2025-11-09"]),
    ]
    clock.move_to(clock.now().replace(day=7, hour=7))
    for changed, told in rounds:
        await bench.put(bill(1, DUE, clock.now(), recurrence=Recurrence.NONE), backfill=True)
        await _edited(bench, made)
        clock.advance(timedelta(seconds=1))
        later = bill(1, as_of=clock.now(), recurrence=Recurrence.NONE, **changed)
        await _waits_while(bench, other, made, evaluate, later)
        assert await bench.keys() == told
        async with bench.engine.begin() as connection:
            await connection.execute(text("DELETE FROM bill_days"))


@pytest.mark.parametrize("condition", [SHOP, OVER_5], ids=["merchant", "limit"])
async def test_a_purchase_on_its_way_in_while_its_alert_is_created_is_told(
    make_bench: MakeBench, clock: SteppedClock, condition: Condition
) -> None:
    """It was received within the minute before the alert, so the alert looks back at it, or it sees the alert."""
    bench, other = await make_bench(), await make_bench()
    first = await bench.create(SHOP)
    async with held(bench.engine, "alerts", first.id):
        posting = asyncio.create_task(bench.put(transaction(1, "-5", clock.now(), clock.now())))
        await until_waiting(bench.engine)
        clock.advance(timedelta(seconds=1))
        creating = asyncio.create_task(other.create(condition))
        waiting = asyncio.create_task(until_waiting(bench.engine, 2))
        await asyncio.wait({creating, waiting}, return_when=asyncio.FIRST_COMPLETED)
    await posting
    second = await creating
    waiting.cancel()
    clock.advance(LEFT_BEHIND + timedelta(seconds=1))
    await other.person.finish_edits()
    assert await bench.keys(first) == ["1:purchase:1"]
    assert await bench.keys(second) == ["1:purchase:1"]


async def test_a_bill_on_its_way_in_while_its_alert_is_created_is_told(
    make_bench: MakeBench, clock: SteppedClock
) -> None:
    """No sweep looks at bills and the day's run has been: the new alert's evaluation waits for what comes in."""
    bench, other = await make_bench(), await make_bench()
    today = clock.now().date()
    first = await bench.create(UpcomingBill(1, 3))
    await bench.bills()
    async with held(bench.engine, "alerts", first.id):
        posting = asyncio.create_task(bench.put(bill(1, today, clock.now())))
        await until_waiting(bench.engine)
        creating = asyncio.create_task(other.create(UpcomingBill(1, 3)))
        waiting = asyncio.create_task(until_waiting(bench.engine, 2))
        await asyncio.wait({creating, waiting}, return_when=asyncio.FIRST_COMPLETED)
    await posting
    second = await creating
    waiting.cancel()
    await other.person.finish_edits()
    await bench.bills()
    assert await bench.keys(first) == [f"1:due:{today}"]
    assert await bench.keys(second) == [f"1:due:{today}"]
