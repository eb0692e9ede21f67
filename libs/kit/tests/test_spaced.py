"""What is done again and again, at least so far apart."""

import asyncio
from datetime import UTC, datetime, timedelta

from tocsin_kit.clock import SteppedClock, SystemClock
from tocsin_kit.loops import Spaced

APART = timedelta(milliseconds=50)


class SetBack(SystemClock):
    """An hour slower with each look."""

    def __init__(self) -> None:
        self._behind = timedelta()

    def now(self) -> datetime:
        self._behind += timedelta(hours=1)
        return super().now() - self._behind


async def took(spaced: Spaced) -> float:
    """Seconds."""
    time = asyncio.get_running_loop().time
    before = time()
    async with asyncio.timeout(20):
        await spaced.wait()
    return time() - before


async def test_the_first_begins_at_once_and_the_next_when_it_is_time() -> None:
    spaced, began = Spaced(SystemClock(), APART), asyncio.get_running_loop().time()
    for _ in range(4):
        await took(spaced)
    assert asyncio.get_running_loop().time() - began >= 3 * APART.total_seconds()


async def test_what_is_seldom_waits_for_nothing() -> None:
    spaced = Spaced(SystemClock(), timedelta(seconds=30))
    assert await took(spaced) < 10
    spaced._next -= 30
    assert await took(spaced) < 10


async def test_a_clock_that_is_set_back_keeps_nothing_waiting() -> None:
    spaced = Spaced(SetBack(), APART)
    await took(spaced)
    assert await took(spaced) < 10


async def test_on_a_stepped_clock_nothing_waits() -> None:
    spaced = Spaced(SteppedClock(datetime(2025, 11, 3, 12, tzinfo=UTC)), timedelta(seconds=30))
    assert await took(spaced) + await took(spaced) < 10
