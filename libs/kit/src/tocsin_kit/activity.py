"""Counts work under way, so that a simulation can wait until all is quiet and knows what is due next.

One `Activity` is shared by all services of a process. In production it costs an addition here and there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass
class LoopState:
    """What a loop is doing, as it says itself."""

    name: str
    working: bool = True
    woken: bool = False
    next_due: datetime | None = None


class NotQuiet(TimeoutError):
    """Work was still under way when the time was up; the message names it."""


class Activity:
    """Work begun and not ended, by name, and the loops' own words."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._loops: list[LoopState] = []
        self._changed = asyncio.Event()

    def begun(self, what: str, n: int = 1) -> None:
        """`n` pieces of work named `what` are handed on to somebody."""
        self._open[what] += n
        self._changed.set()

    def ended(self, what: str, n: int = 1) -> None:
        """`n` pieces of work named `what` are done."""
        self._open[what] -= n
        self._changed.set()

    def add_loop(self, name: str) -> LoopState:
        """A state for a loop to keep; call `noted` after changing it."""
        state = LoopState(name)
        self._loops.append(state)
        return state

    def remove_loop(self, state: LoopState) -> None:
        """Forget a loop that has ended."""
        self._loops.remove(state)
        self._changed.set()

    def noted(self) -> None:
        """A loop's state changed."""
        self._changed.set()

    def busy(self) -> dict[str, int]:
        """What is under way, by name; negative where an end was seen before its beginning."""
        loops = Counter(state.name for state in self._loops if state.working or state.woken)
        under_way = self._open.copy()
        under_way.update(loops)
        return {what: n for what, n in under_way.items() if n}

    def is_quiet(self, now: datetime | None = None) -> bool:
        """Whether nothing is under way (and, given `now`, no loop has work due)."""
        if any(self._open.values()) or any(state.working or state.woken for state in self._loops):
            return False
        due = self.next_due()
        return now is None or due is None or due > now

    def next_due(self) -> datetime | None:
        """The earliest instant at which a loop knows of work."""
        return min((state.next_due for state in self._loops if state.next_due is not None), default=None)

    async def until_quiet(self, limit: timedelta, now: datetime | None = None) -> None:
        """Return when all is quiet and stays so for a few turns of the event loop.

        Raises NotQuiet, naming what is under way, after `limit` of real time.
        """
        try:
            async with asyncio.timeout(limit.total_seconds()):
                while not await self._settled(now):
                    self._changed.clear()
                    if not self.is_quiet(now):
                        await self._changed.wait()
        except TimeoutError:
            late = [f"{state.name} due {state.next_due}" for state in self._loops if state.next_due]
            raise NotQuiet(f"still under way after {limit}: {self.busy()}; {late}") from None

    async def _settled(self, now: datetime | None) -> bool:
        for _ in range(5):
            if not self.is_quiet(now):
                return False
            await asyncio.sleep(0)  # noqa: TID251 - a turn of the event loop, not a wait
        return True
