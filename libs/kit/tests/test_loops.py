"""A loop finds work that nobody rang for: another process wrote it, or a wake-up was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock, SteppedClock, SystemClock, Wake
from tocsin_kit.loops import Loop

#: On a machine that others use too.
PATIENCE = timedelta(seconds=20)
NOON = datetime(2025, 11, 3, 12, tzinfo=UTC)


class Watched(SystemClock):
    """The machine's clock, and how far ahead whoever slept by it looked again."""

    def __init__(self) -> None:
        self.spans: list[timedelta] = []

    async def sleep_until(self, instant: datetime | None, *, or_woken_by: Wake | None = None) -> None:
        self.spans.append(timedelta.max if instant is None else instant - self.now())
        await super().sleep_until(instant, or_woken_by=or_woken_by)


class Table:
    """Rows to be worked on, and what was done. `due` is what a round answers."""

    def __init__(self, due: Callable[[], datetime | None] = lambda: None) -> None:
        self.rows: list[str] = []
        self.done: list[str] = []
        self.rounds = 0
        self._due = due
        self._looked = asyncio.Condition()

    async def round(self) -> datetime | None:
        """Do all that is there."""
        self.done += self.rows
        self.rows.clear()
        self.rounds += 1
        async with self._looked:
            self._looked.notify_all()
        return self._due()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for what rounds bring about."""
        async with asyncio.timeout(PATIENCE.total_seconds()), self._looked:
            await self._looked.wait_for(reached)


@asynccontextmanager
async def working(round_: Callable[[], Awaitable[datetime | None]], clock: Clock) -> AsyncIterator[Loop]:
    """A loop as most are made, with no word of how often it looks."""
    loop, stopping = Loop("test", round_, clock=clock, activity=Activity()), asyncio.Event()
    running = asyncio.create_task(loop.run(stopping))
    try:
        yield loop
    finally:
        stopping.set()
        await asyncio.wait_for(running, PATIENCE.total_seconds())


@pytest.mark.parametrize("known", [None, timedelta(hours=1)], ids=["nothing is due", "something is due much later"])
async def test_a_row_that_nobody_rang_for_is_worked_on(known: timedelta | None) -> None:
    clock = SystemClock()
    table = Table(lambda: None if known is None else clock.now() + known)
    async with working(table.round, clock):
        await table.until(lambda: table.rounds == 1)
        for row in ("first", "second"):
            table.rows.append(row)
            await table.until(lambda: not table.rows)
    assert table.done == ["first", "second"]


@pytest.mark.parametrize("known", [None, timedelta(hours=1)], ids=["nothing is due", "something is due much later"])
async def test_a_loop_looks_again_after_two_hundred_milliseconds_at_most(known: timedelta | None) -> None:
    clock = Watched()
    table = Table(lambda: None if known is None else clock.now() + known)
    async with working(table.round, clock):
        await table.until(lambda: table.rounds >= 4)
    assert len(clock.spans) >= 3
    assert max(clock.spans) <= timedelta(milliseconds=200)


async def test_what_is_due_sooner_is_not_waited_for_longer() -> None:
    clock = Watched()
    table = Table(lambda: clock.now() + timedelta(milliseconds=20))
    async with working(table.round, clock):
        await table.until(lambda: table.rounds >= 3)
    assert max(clock.spans) <= timedelta(milliseconds=20)


async def test_on_a_stepped_clock_nobody_looks_until_it_is_due_or_rung_for() -> None:
    clock = SteppedClock(NOON)
    table = Table(lambda: clock.now() + timedelta(hours=1))
    async with working(table.round, clock) as loop:
        await table.until(lambda: table.rounds == 1)
        table.rows.append("unrung")
        clock.advance(timedelta(minutes=59))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(table.until(lambda: table.rounds > 1), 0.5)
        clock.advance(timedelta(minutes=1))
        await table.until(lambda: table.rounds == 2)
        table.rows.append("rung")
        loop.wake.set()
        await table.until(lambda: table.rounds == 3)
    assert table.done == ["unrung", "rung"]
