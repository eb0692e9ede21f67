"""Many writers on the same users: nothing fires twice, no deadlock surfaces, and nothing fires on a stale fact."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

from sqlalchemy import text

from tocsin_evaluator.evaluation.run import Moment, fire_in
from tocsin_evaluator.evaluation.scope import Scope
from tocsin_evaluator.kinds import account_threshold
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
)
from tocsin_evaluator.model.facts import Arrival, Fact
from tocsin_evaluator.model.words import Direction, Frequency, KindName, MatchType, MoneyFlow, Repeat, Way
from tocsin_evaluator.store import slices
from tocsin_kit.clock import SteppedClock
from tocsin_kit.postgres.engine import in_transaction

from .support import MAX_AGE, NO_TRACE, PARTNER, Bench, account, budget, goal, transaction, unheard, until_waiting

MakeBench = Callable[[], Awaitable[Bench]]
BELOW_500 = AccountThreshold(1, Decimal("500"), "USD", Direction.BELOW, Repeat.WHILE_TRUE)


async def test_eight_writers_on_the_same_users_double_nothing(make_bench: MakeBench, clock: SteppedClock) -> None:
    """Facts of every kind and sweeps against each other, over eight replicas; and none has to be run again."""
    benches = [await make_bench() for _ in range(8)]
    first = benches[0]
    users = range(1, 6)
    for user in users:
        await first.put(
            account(user, "1000", clock.now(), user_id=user),
            goal(user, "0", clock.now(), user_id=user),
            *[budget(number * 10 + user, clock.now(), user_id=user) for number in range(3)],
        )
        threshold = replace(BELOW_500, account_id=user)
        await first.create(threshold, user=user)
        await first.create(replace(threshold, repeat=Repeat.ON_CROSSING), user=user)
        await first.create(GoalMilestones(user, tuple(range(5, 101, 5))), user=user)
        await first.create(SpendingTarget(user, tuple(range(10, 201, 10))), user=user)
        await first.create(MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE), user=user)
        await first.create(TransactionLimit(Decimal("50"), "USD", None, MoneyFlow.ANY), user=user)

    async def write(bench: Bench, number: int) -> None:
        random = Random(number)
        for round_ in range(25):
            clock.advance(timedelta(milliseconds=1))
            now, chosen = clock.now(), random.sample(list(users), 3)
            facts: list[Fact] = [
                *[account(user, str(random.choice([100, 900])), now, user_id=user) for user in chosen],
                *[goal(user, str(round_ * 40), now, user_id=user) for user in chosen],
                *[
                    transaction(number * 1000 + round_ * 10 + user, "-60", now, now, user_id=user, account_id=user)
                    for user in chosen
                ],
            ]
            random.shuffle(facts)
            await bench.put(*facts)
            amount = Decimal(100 * number + round_ + 1)
            await bench.put(
                *[budget(random.randrange(3) * 10 + user, now, user_id=user, amount=amount) for user in chosen]
            )
            if round_ % 5 == 0:
                await bench.sweep()

    async with asyncio.timeout(100):
        await asyncio.gather(*[write(bench, number) for number, bench in enumerate(benches)])
    keys = Counter(tuple(row) for row in await first.rows("SELECT alert_id, occurrence_key FROM firings"))
    assert max(keys.values()) == 1
    by_kind = dict(tuple(row) for row in await first.rows("SELECT kind, count(*) FROM firings GROUP BY kind"))
    purchases = 8 * 25 * 3
    assert by_kind["transaction_limit"] == purchases
    assert by_kind["merchant_name"] == purchases
    while_true = await first.rows(
        "SELECT count(*) FROM firings f JOIN alerts a ON a.id = f.alert_id WHERE a.repeat = 'while_true'"
    )
    assert while_true[0][0] == len(users), "the cooldown lets one through"
    counted = await first.rows(
        "SELECT count(*) FROM alerts a WHERE trigger_count <> (SELECT count(*) FROM firings f WHERE f.alert_id = a.id)"
    )
    assert counted[0][0] == 0
    unannounced = await first.rows(
        "SELECT count(*) FROM firings f WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.firing_id = f.id)"
    )
    assert unannounced[0][0] == 0
    assert await _deadlocks(benches, await make_bench()) == 0


async def _deadlocks(benches: Sequence[Bench], reader: Bench) -> int:
    """How many there were in the database: its connections tell when they are closed."""
    for bench in benches:
        await bench.engine.dispose()
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with asyncio.timeout(20):
        while await reader.rows(others):
            pass
    [row] = await reader.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(row.deadlocks)


async def test_a_balance_that_changes_while_a_sweep_waits_does_not_fire_on_the_old_one(
    make_bench: MakeBench, clock: SteppedClock
) -> None:
    """The scan saw 100; while the sweep waits for the alert's lock the balance becomes 900."""
    bench, other = await make_bench(), await make_bench()
    made = await bench.create(BELOW_500)
    await bench.put(account(1, "100", clock.now()), backfill=True)
    holds, release = asyncio.Event(), asyncio.Event()

    async def hold_the_alert_and_change_the_balance() -> None:
        async with other.engine.begin() as connection:
            await connection.execute(text("SELECT 1 FROM alerts WHERE id = :id FOR UPDATE"), {"id": made.id})
            holds.set()
            await release.wait()
            await connection.execute(text("UPDATE accounts SET balance = 900, version = version + 1"))

    async def sweep() -> int:
        moment = Moment(clock.now(), Way.SWEEP, MAX_AGE)
        where = {"of_partner": PARTNER, "user_from": 1, "user_to": 1}
        kind = account_threshold.KIND
        tally = await in_transaction(
            bench.engine, lambda connection: fire_in(connection, kind, Scope.RANGE, moment, where, evaluated=1)
        )
        return tally.fired

    holder = asyncio.create_task(hold_the_alert_and_change_the_balance())
    await holds.wait()
    sweeper = asyncio.create_task(sweep())
    await until_waiting(other.engine)
    release.set()
    await holder
    assert await sweeper == 0
    assert await bench.keys() == []


async def test_a_lost_replicas_slice_is_taken_over_when_its_lease_ends(
    make_bench: MakeBench, clock: SteppedClock
) -> None:
    """And the run ends only when every slice is done; a retried run cuts nothing again."""
    lost, bench = await make_bench(), await make_bench()
    await bench.create(BELOW_500)
    await bench.put(account(1, "100", clock.now()), backfill=True)
    run = bench.new_id()
    async with lost.engine.begin() as connection:
        await slices.cut(connection, run, KindName.ACCOUNT_THRESHOLD, 10, clock.now(), None)
        taken = await slices.claim(connection, "lost", clock.now(), clock.now() + timedelta(minutes=1))
    assert taken is not None
    assert taken.alerts == 1
    running = asyncio.create_task(bench.sweep_.run(run, NO_TRACE, unheard))
    assert not await bench.sweep_.one_slice(), "the lease holds"
    assert await bench.keys() == []
    clock.advance(timedelta(minutes=1))
    assert (await running).fired == 1
    assert (await bench.sweep_.run(run, NO_TRACE, unheard)).total == 1
    assert len(await bench.keys()) == 1


async def test_two_replicas_share_a_sweep_and_fire_each_alert_once(make_bench: MakeBench, clock: SteppedClock) -> None:
    """Slices by user range; both join in."""
    first, second = await make_bench(), await make_bench()
    for n in range(1, 101):
        await first.create(replace(BELOW_500, account_id=n), user=n)
    await first.put(*[account(n, "100", clock.now(), user_id=n) for n in range(1, 101)], backfill=True)
    run = first.new_id()
    async with first.engine.begin() as connection:
        await slices.cut(connection, run, KindName.ACCOUNT_THRESHOLD, 10, clock.now(), None)
    await asyncio.gather(first.sweep_.run(run, NO_TRACE, unheard), second.sweep_.round())
    await first.sweep_.run(run, NO_TRACE, unheard)
    assert len(await first.keys()) == 100
    rows = await first.rows(
        "SELECT count(*), sum(alerts), sum(fired) FROM sweep_slices WHERE kind = 'account_threshold'"
    )
    assert tuple(int(n) for n in rows[0]) == (10, 100, 100)


async def test_a_caller_that_goes_away_cancels_nobody(bench: Bench, clock: SteppedClock) -> None:
    """Calls share transactions; one caller's cancellation is not the others'."""
    await bench.create(MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE))
    calls = [asyncio.create_task(bench.put(transaction(n, f"-{n}", clock.now(), clock.now()))) for n in range(1, 11)]
    await asyncio.wait({asyncio.ensure_future(asyncio.shield(calls[0]))}, timeout=0)
    calls[0].cancel()
    calls[5].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 2
    await bench.coalescer.finish()
    assert len(await bench.keys()) == 10


async def test_calls_that_come_together_share_one_transaction(bench: Bench, clock: SteppedClock) -> None:
    """Ten calls of one turn of the event loop, one transaction."""
    await asyncio.gather(*[bench.put(transaction(n, "-1", clock.now(), clock.now())) for n in range(1, 11)])
    rows = await bench.rows("SELECT count(DISTINCT CAST(xmin AS text)), count(*) FROM transactions")
    assert tuple(rows[0]) == (1, 10)


async def test_a_fact_that_cannot_be_stored_is_refused_alone(bench: Bench, clock: SteppedClock) -> None:
    """The batch is halved down to it."""
    good = [transaction(n, "-1", clock.now(), clock.now()) for n in range(1, 8)]
    bad = transaction(8, "-1", clock.now(), clock.now(), merchant="nul \0 byte")
    answer = await bench.coalescer.bring(
        [Arrival(fact, False, NO_TRACE, clock.now()) for fact in [*good[:3], bad, *good[3:]]]
    )
    assert list(answer.refused) == [3]
    rows = await bench.rows("SELECT count(*) FROM transactions")
    assert rows[0][0] == 7
