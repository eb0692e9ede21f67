"""What two transactions write at the same time: locked in one order, and seen by the one that comes second."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest

from tocsin_evaluator.facts.deletion import delete_facts
from tocsin_evaluator.model.alerts import MerchantName
from tocsin_evaluator.model.words import Frequency, MatchType, SpentSource, TransactionStatus
from tocsin_kit.clock import SteppedClock

from .support import PARTNER, Bench, bill, budget, held, is_free, profile, transaction, until_waiting

MakeBench = Callable[[], Awaitable[Bench]]
SHOP = MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE)


async def _waits_for(bench: Bench, table: str, id_: int, work: Awaitable[object], *, free: int) -> None:
    """Let `work` meet the row held by somebody else, and look whether it holds another by then."""
    async with held(bench.engine, table, id_):
        writer = asyncio.ensure_future(work)
        await until_waiting(bench.engine)
        assert await is_free(bench.engine, table, free), f"{table} {free} is held while {id_} is waited for"
    await writer


async def test_budgets_are_locked_in_order_before_the_first_is_written(
    make_bench: MakeBench, clock: SteppedClock
) -> None:
    """The one that is posted has the higher id; the one whose spending a purchase changes the lower."""
    bench, other = await make_bench(), await make_bench()
    await bench.put(*[budget(id_, clock.now()) for id_ in (1, 8)])
    clock.advance(timedelta(minutes=1))
    now = clock.now()
    both = bench.put(transaction(1, "-5", now, now), budget(8, now, amount=Decimal("500")))
    await _waits_for(other, "budgets", 1, both, free=8)
    rows = await bench.rows("SELECT id, amount, spent FROM budgets ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, 400, 5), (8, 500, 5)]


async def test_bills_are_locked_in_order_before_the_first_is_written(
    make_bench: MakeBench, clock: SteppedClock
) -> None:
    """The one that is posted has the lower id; the one of a person who moves the higher."""
    bench, other = await make_bench(), await make_bench()
    now = clock.now()
    await bench.put(profile("UTC", now), bill(8, date(2025, 12, 24), now), bill(1, date(2025, 12, 24), now, user_id=2))
    clock.advance(timedelta(minutes=1))
    now = clock.now()
    both = bench.put(profile("Asia/Tokyo", now), bill(1, date(2025, 12, 25), now, user_id=2))
    await _waits_for(other, "bills", 1, both, free=8)
    rows = await bench.rows("SELECT id, next_due_on FROM bills ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, date(2025, 12, 25)), (8, date(2025, 12, 24))]


async def test_budgets_are_locked_in_order_before_the_first_is_deleted(
    make_bench: MakeBench, clock: SteppedClock
) -> None:
    """The one that is deleted has the lower id; the one whose spending falls with a purchase the higher."""
    bench, other = await make_bench(), await make_bench()
    now = clock.now()
    await bench.put(
        budget(1, now, spent_source=SpentSource.REPORTED),
        budget(8, now),
        transaction(1, "-5", now, now),
        transaction(2, "-7", now, now, merchant="Other"),
    )
    both = delete_facts(bench.engine, PARTNER, [("transactions", 1), ("budgets", 1)], now)
    await _waits_for(other, "budgets", 1, both, free=8)
    assert [tuple(row) for row in await bench.rows("SELECT id, spent FROM budgets")] == [(8, 7)]


@pytest.mark.parametrize(
    "posted",
    [
        # alike, on an account of which no row is known
        {},
        # linked by the bank, on another account
        {"pending_transaction_id": 1, "account_id": 2, "merchant": "The Shop"},
    ],
)
async def test_both_forms_of_a_purchase_may_come_at_the_same_moment(
    make_bench: MakeBench, clock: SteppedClock, posted: dict[str, object]
) -> None:
    """The second to come waits for the first, so it sees it: one alert, and the money once."""
    bench, other = await make_bench(), await make_bench()
    now = clock.now()
    await bench.put(budget(1, now))
    await bench.create(SHOP)
    async with held(bench.engine, "budgets", 1):
        first = asyncio.create_task(bench.put(transaction(1, "-5", now, now, status=TransactionStatus.PENDING)))
        await until_waiting(bench.engine)
        second = asyncio.create_task(other.put(transaction(2, "-5", now, now, **posted)))
        await until_waiting(bench.engine, 2)
    await asyncio.gather(first, second)
    assert await bench.keys() == ["1:purchase:1"]
    assert (await bench.rows("SELECT spent FROM budgets"))[0].spent == 5


async def test_a_new_budget_misses_no_purchase_that_comes_at_the_same_moment(
    make_bench: MakeBench, clock: SteppedClock
) -> None:
    """Whichever is second sees the other."""
    bench, other = await make_bench(), await make_bench()
    now = clock.now()
    await bench.put(budget(1, now))
    async with held(bench.engine, "budgets", 1):
        first = asyncio.create_task(bench.put(transaction(1, "-5", now, now)))
        await until_waiting(bench.engine)
        second = asyncio.create_task(other.put(budget(2, now)))
        waiting = asyncio.create_task(until_waiting(bench.engine, 2))
        await asyncio.wait({second, waiting}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(first, second)
    waiting.cancel()
    assert [row.spent for row in await bench.rows("SELECT spent FROM budgets ORDER BY id")] == [5, 5]
