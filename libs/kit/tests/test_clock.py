"""Time is passed in, and a stepped clock wakes whom it passes."""

import asyncio
from datetime import UTC, datetime, timedelta

from tocsin_kit.clock import SteppedClock, SystemClock, Wake

START = datetime(2025, 3, 9, 7, 59, tzinfo=UTC)


async def test_a_stepped_clock_wakes_sleepers_only_when_it_passes_their_instant() -> None:
    clock = SteppedClock(START)
    sleeper = asyncio.create_task(clock.sleep_until(START + timedelta(minutes=2)))
    await asyncio.sleep(0)  # noqa: TID251 - let the task begin
    clock.advance(timedelta(minutes=1))
    done, _ = await asyncio.wait([sleeper], timeout=0.02)
    assert not done
    clock.advance(timedelta(minutes=1))
    await asyncio.wait_for(sleeper, 1)


async def test_a_bell_wakes_a_sleeper_long_before_its_instant() -> None:
    for clock in (SteppedClock(START), SystemClock()):
        bell = Wake()
        sleeper = asyncio.create_task(clock.sleep_until(clock.now() + timedelta(hours=1), or_woken_by=bell))
        await asyncio.sleep(0)  # noqa: TID251 - let the task begin
        bell.set()
        await asyncio.wait_for(sleeper, 1)


async def test_an_instant_that_has_passed_is_not_waited_for() -> None:
    await asyncio.wait_for(SystemClock().sleep_until(START), 1)
    await asyncio.wait_for(SteppedClock(START).sleep_until(START), 1)
