"""The sweep and the bills run where something stands in their way."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import text

from tocsin_evaluator.model.alerts import AccountThreshold, SpendingTarget, UpcomingBill
from tocsin_evaluator.model.words import Direction, KindName, Repeat
from tocsin_evaluator.store import slices
from tocsin_kit.clock import SteppedClock

from .support import NO_TRACE, Bench, account, bill, budget, held, profile, transaction, unheard, until_waiting

MakeBench = Callable[[], Awaitable[Bench]]
BELOW_500 = AccountThreshold(1, Decimal("500"), "USD", Direction.BELOW, Repeat.WHILE_TRUE)


async def test_sums_may_be_larger_than_any_amount(bench: Bench, clock: SteppedClock) -> None:
    """Two of the largest amounts there are."""
    next_month = clock.now() + timedelta(days=30)
    await bench.put(budget(1, clock.now()))
    await bench.create(SpendingTarget(1, (50,)))
    most = "-99999999999999.9999"
    await bench.put(*[transaction(n, most, next_month, clock.now(), merchant=str(n)) for n in (1, 2)])
    clock.move_to(next_month)
    assert await bench.sweep() == 1
    assert (await bench.contexts())[0]["spent"] == "199999999999999.9998"


async def test_one_budget_that_cannot_be_summed_stops_nobodys_sweep(bench: Bench, clock: SteppedClock) -> None:
    """The other budgets turn, and all alerts are swept."""
    next_month = clock.now() + timedelta(days=30)
    await bench.put(*[budget(n, clock.now(), user_id=n % 2) for n in range(1, 6)])
    await bench.put(*[transaction(n, "-9", next_month, clock.now(), user_id=n) for n in (0, 1)])
    await bench.create(BELOW_500)
    async with bench.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE budgets ADD CHECK (id <> 3 OR spent < 9)"))
    clock.move_to(next_month)
    await bench.put(account(1, "100", clock.now()), backfill=True)
    assert await bench.sweep() == 1
    assert [tuple(row) for row in await bench.rows("SELECT id, spent FROM budgets ORDER BY id")] == [
        (1, 9),
        (2, 9),
        (3, 0),
        (4, 9),
        (5, 9),
    ]


async def _cut(bench: Bench) -> None:
    async with bench.engine.begin() as connection:
        run = bench.new_id()
        await slices.cut(connection, run, KindName.ACCOUNT_THRESHOLD, 10, bench.clock.now(), None)


async def _counted(*benches: Bench) -> list[tuple[int, int]]:
    for bench in benches:
        await bench.ledger.flush()
    rows = await benches[0].rows("SELECT evaluated, fired FROM evaluation_ledger WHERE way = 'sweep'")
    return [tuple(row) for row in rows]


async def test_a_slice_that_is_worked_on_is_not_taken_over(make_bench: MakeBench, clock: SteppedClock) -> None:
    """However long it takes: the lease is for those who have gone."""
    first, second = await make_bench(), await make_bench()
    made = await first.create(BELOW_500)
    await first.put(account(1, "100", clock.now()), backfill=True)
    await _cut(first)
    async with held(first.engine, "alerts", made.id):
        slow = asyncio.create_task(first.sweep_.one_slice())
        await until_waiting(first.engine)
        clock.advance(timedelta(minutes=2))
        other = asyncio.create_task(second.sweep_.one_slice())
        waiting = asyncio.create_task(until_waiting(first.engine, 2))
        await asyncio.wait({other, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert await slow
    assert not await other, "there is no other slice"
    waiting.cancel()
    assert await _counted(first, second) == [(1, 1)]


async def test_a_replica_that_lost_its_lease_leaves_the_slice_alone(make_bench: MakeBench, clock: SteppedClock) -> None:
    """It was away between its claim and its work; the other's numbers are the slice's."""
    first, second = await make_bench(), await make_bench()
    await first.create(BELOW_500)
    await first.put(account(1, "100", clock.now()), backfill=True)
    await _cut(first)
    async with first.engine.begin() as connection:
        lease = clock.now() + timedelta(minutes=1)
        taken = await slices.claim(connection, first.sweep_.replica, clock.now(), lease)
    assert taken is not None
    clock.advance(timedelta(minutes=1))
    assert await second.sweep_.one_slice()
    clock.advance(timedelta(hours=6))
    await first.sweep_.work_on(taken)
    assert len(await first.keys()) == 1, "the cooldown is over, but the slice is done"
    assert await _counted(first, second) == [(1, 1)]


async def test_a_bill_alert_that_slept_through_the_last_morning_is_told_after_its_snooze(
    bench: Bench, clock: SteppedClock
) -> None:
    """Its zone's day was done at six; the bill is due today, and tomorrow is too late. Once, and not before six."""
    clock.move_to(clock.now().replace(hour=4))
    now = clock.now()
    await bench.put(profile("UTC", now), *[bill(n, now.date(), now) for n in (1, 2)])
    await bench.create(UpcomingBill(1, 0), snoozed_until=now.replace(hour=10))
    await bench.create(UpcomingBill(2, 0), snoozed_until=now.replace(hour=5))
    clock.move_to(now.replace(hour=5, minute=30))
    assert await bench.bills() == 0, "it is not six"
    clock.move_to(now.replace(hour=6))
    assert await bench.bills() == 1
    clock.move_to(now.replace(hour=10))
    assert await bench.bills() == 1
    clock.advance(timedelta(hours=1))
    assert await bench.bills() == 0
    context = await bench.contexts()
    assert [(each["bill_id"], each["due_on"]) for each in context] == [(2, f"{now:%F}"), (1, f"{now:%F}")]


async def test_a_run_that_is_late_finds_who_woke_before_it(bench: Bench, clock: SteppedClock) -> None:
    """The evaluator was away for most of the day."""
    clock.move_to(clock.now().replace(hour=7))
    now = clock.now()
    await bench.put(profile("UTC", now), bill(1, date(2025, 11, 3), now))
    await bench.bills_.run(bench.new_id(), trace=NO_TRACE, report=unheard)
    await bench.create(UpcomingBill(1, 0), snoozed_until=now.replace(hour=8))
    clock.move_to(now.replace(hour=23))
    assert await bench.bills() == 1
