"""The one source of time. Loops wait by `sleep_until`, so that a stepped clock moves everything."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Wake:
    """A bell in this process: who writes work for a loop rings it, and the loop stops sleeping."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._listeners: list[asyncio.Event] = []

    def set(self) -> None:
        """Ring."""
        self._event.set()
        for listener in self._listeners:
            listener.set()

    @contextlib.contextmanager
    def rings(self, listener: asyncio.Event) -> Iterator[None]:
        """Have this bell set `listener` too while inside, at once where it has rung already."""
        if self.is_set():
            listener.set()
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def clear(self) -> None:
        """Take note of the ringing, before looking for work (after would lose one)."""
        self._event.clear()

    def is_set(self) -> bool:
        """Whether it rang since the last `clear`."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return when it rings."""
        await self._event.wait()


class Clock(Protocol):
    """Tells the time and waits for an instant."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        ...

    async def sleep_until(self, instant: datetime | None, *, or_woken_by: Wake | None = None) -> None:
        """Return at `instant` or when the bell rings, whichever is first; None means only the bell."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place that reads the machine's clock

    async def sleep_until(self, instant: datetime | None, *, or_woken_by: Wake | None = None) -> None:
        """Return at `instant` or when the bell rings; a machine that was suspended wakes within a minute."""
        bell = or_woken_by or Wake()
        while instant is None or (left := (instant - self.now()).total_seconds()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), None if instant is None else min(left, 60.0))
                return


class SteppedClock:
    """A clock that stands still until it is moved. For tests and simulations.

    Everything that sleeps wakes, in order of its instant, when the clock passes it.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock starts at an aware instant")
        self._now = start.astimezone(UTC)
        self._sleepers: list[tuple[datetime, int, asyncio.Event]] = []
        self._order = itertools.count()
        self._followers: list[Callable[[], None]] = []

    def now(self) -> datetime:
        """The instant it was last moved to."""
        return self._now

    def advance(self, span: timedelta) -> None:
        """Move forward by `span`."""
        self.move_to(self._now + span)

    def move_to(self, instant: datetime) -> None:
        """Move to `instant` (backwards too: clocks are set back in life) and wake whom it passes."""
        self._now = instant.astimezone(UTC)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            heapq.heappop(self._sleepers)[2].set()
        for follower in self._followers:
            follower()

    def when_moved(self, follower: Callable[[], None]) -> None:
        """Have `follower` called after each move."""
        self._followers.append(follower)

    async def sleep_until(self, instant: datetime | None, *, or_woken_by: Wake | None = None) -> None:
        """Return when the clock has passed `instant` or the bell rings."""
        if instant is not None and instant <= self._now:
            return
        passed = asyncio.Event()
        if instant is not None:
            heapq.heappush(self._sleepers, (instant, next(self._order), passed))
        try:
            # one event for both: a task for each would cost a simulation more than what it waits for
            with or_woken_by.rings(passed) if or_woken_by is not None else contextlib.nullcontext():
                await passed.wait()
        finally:
            passed.set()
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[2] is not passed]
            heapq.heapify(self._sleepers)
