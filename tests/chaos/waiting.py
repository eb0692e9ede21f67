"""Waiting for a condition on the real clock."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from tocsin_kit.clock import SystemClock

LIMIT = timedelta(seconds=100)
AT_ONCE = timedelta(milliseconds=5)
_LOOK_EVERY = timedelta(milliseconds=200)
#: True, or what is the matter.
Check = Callable[[], Awaitable[object]]


async def until(what: str, check: Check, *, every: timedelta = _LOOK_EVERY, limit: timedelta = LIMIT) -> None:
    """Return when `check` answers True; fails after `limit`, naming what was waited for and what it answered."""
    clock = SystemClock()
    ends = clock.now() + limit
    while (said := await check()) is not True:
        if clock.now() > ends:
            raise AssertionError(f"waited {limit} for {what}: {said}")
        await clock.sleep_until(clock.now() + every)
