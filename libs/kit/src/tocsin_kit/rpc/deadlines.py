"""How much time the call being served has left, so that the calls it makes get no more."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from datetime import timedelta

_ends: ContextVar[float | None] = ContextVar("tocsin_deadline", default=None)


def set_time_left(left: timedelta) -> None:
    """Let the rest of this task know its limit; the chassis does it once per call."""
    _ends.set(asyncio.get_running_loop().time() + left.total_seconds())


def time_left() -> timedelta | None:
    """What is left of the current call's limit (never below zero); None outside of a call."""
    ends = _ends.get()
    if ends is None:
        return None
    return timedelta(seconds=max(ends - asyncio.get_running_loop().time(), 0.0))
