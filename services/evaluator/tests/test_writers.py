"""Eight writers on the same users, with sweeps all the time: no firing is lost or doubled, and no deadlock surfaces.

It lasts some seconds, and a minute with `pytest services/evaluator/tests/test_writers.py --long`.
"""

import asyncio
import itertools
from bisect import bisect
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from tocsin_devstack.fixtures import NOON
from tocsin_evaluator.upkeep import audit
from tocsin_kit.clock import SteppedClock

from .committed import THRESHOLD, miscounted
from .support import Bench, deadlocks
from .writing import COOLDOWN, LIMIT, PERCENTS, TARGET, TICK, Conductor, Household, RunningClock, Writer

MakeBench = Callable[[], Awaitable[Bench]]
SHORT, LONG = timedelta(seconds=12), timedelta(seconds=60)
WRITERS = 8
#: However slow the machine: so many rounds of each writer, and ticks enough for two cooldowns to end.
FEWEST_ROUNDS, FEWEST_TICKS = 6, 2 * (COOLDOWN // TICK) + 1


@pytest.fixture
def clock() -> SteppedClock:
    """The replicas' clock."""
    return RunningClock(NOON)


@pytest.fixture
def lasting(pytestconfig: pytest.Config) -> timedelta:
    """How long the writers write, in real time."""
    return LONG if pytestconfig.getoption("long", default=False) else SHORT


@pytest.mark.timeout(300)
async def test_what_eight_writers_commit_fires_exactly_once_while_sweeps_run(
    make_bench: MakeBench, clock: SteppedClock, lasting: timedelta
) -> None:
    """In both modes of repetition and in every kind, counted over what each writer knows to be committed."""
    benches = [await make_bench() for _ in range(WRITERS + 1)]
    *replicas, last = benches
    begun, households, numbers = clock.now(), [Household(user) for user in range(1, WRITERS + 1)], itertools.count(1)
    for each in households:
        await each.move_in(last, begun)
    conductor = Conductor(last, replicas, clock, households, Random(0), [THRESHOLD] * WRITERS)
    writers = [
        Writer(bench, neighbour, clock, own, households, numbers, Random(own.user), begun)
        for bench, neighbour, own in zip(replicas, [*replicas[1:], replicas[0]], households, strict=True)
    ]
    time = asyncio.get_running_loop().time
    until = time() + lasting.total_seconds()

    async def write(writer: Writer) -> None:
        for number in itertools.count(1):
            if number > FEWEST_ROUNDS and time() >= until:
                return
            await writer.round(number)

    async def conduct() -> None:
        while len(conductor.ticks) < FEWEST_TICKS or time() < until:
            await conductor.tick()

    await asyncio.gather(*map(write, writers), conduct())
    await last.sweep()

    for each in households:
        await _must_have_fired(last, each, conductor.ticks)
    for name in households[0].crossings:
        assert any(each.crossings[name].fired for each in households), f"{name} was never crossed, which proves nothing"
    await _must_add_up(last, benches, clock.now())
    assert await deadlocks(benches, await make_bench()) == 0


async def _must_have_fired(bench: Bench, household: Household, ticks: Sequence[datetime]) -> None:
    """Fail where an alert of the household's fired more or less than it must."""
    found = await bench.rows(
        "SELECT alert_id, occurrence_key, fired_at FROM firings WHERE user_id = :user ORDER BY fired_at, id",
        user=household.user,
    )
    keys = {
        name: [row.occurrence_key for row in found if row.alert_id == id_] for name, id_ in household.alerts.items()
    }
    for name, crossings in household.crossings.items():
        assert len(keys[name]) == crossings.fired, f"user {household.user}: crossings {name}"
    for name, cooldowns in household.cooldowns.items():
        fired_in = [bisect(ticks, row.fired_at) for row in found if row.alert_id == household.alerts[name]]
        assert fired_in == cooldowns.fired_in, f"user {household.user}: cooldowns {name}"
    milestones = [f"1:milestone:{percent}" for percent in household.milestones.told]
    assert keys["goal"] == milestones, f"user {household.user}: goal"
    assert keys["bill"] == ["1:due:2025-11-05"], f"user {household.user}: bill"
    assert keys["first"] == [f"1:day:{day}" for day in sorted(household.purchases.days)]
    for name, limit in (("each", Decimal(0)), ("limit", LIMIT)):
        purchases = [int(key.removeprefix("1:purchase:")) for key in keys[name]]
        assert miscounted(purchases, household.purchases.at_least(limit)) == {}, f"user {household.user}: {name}"
    await _must_have_spent(bench, household, keys["budget"])


async def _must_have_spent(bench: Bench, household: Household, told: Sequence[str]) -> None:
    """Every purchase counts once, and every share that was reached is told or passed by a higher one."""
    [row] = await bench.rows("SELECT spent FROM budgets WHERE id = :id", id=household.user)
    assert row.spent == household.purchases.spent
    reached = [f"1:2025:{percent}" for percent in PERCENTS if row.spent * 100 >= percent * TARGET]
    occurrences = await bench.rows("SELECT key FROM occurrences WHERE alert_id = :id", id=household.alerts["budget"])
    assert {row.key for row in occurrences} == set(reached)
    assert len(told) == len(set(told))
    assert set(told) >= set(reached[-1:]), "the highest is told"


async def _must_add_up(bench: Bench, benches: Sequence[Bench], now: datetime) -> None:
    """The alerts' counters, the outbox and the ledger tell of the same firings."""
    for each in benches:
        await each.ledger.flush()
    [row] = await bench.rows("""
        SELECT (SELECT count(*) FROM firings) AS firings, (SELECT sum(trigger_count) FROM alerts) AS counted,
               (SELECT count(DISTINCT firing_id) FROM outbox) AS announced, (SELECT count(*) FROM outbox) AS messages,
               (SELECT sum(fired) FROM evaluation_ledger) AS in_the_ledger
    """)
    assert {row.counted, row.announced, row.messages, row.in_the_ledger} == {row.firings}
    found = await audit(bench.engine, now)
    assert (found.unbalanced, found.without_firing) == (0, 0)
