"""A background loop: do all the work that is due, then sleep until more is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from tocsin_kit.activity import Activity, LoopState
from tocsin_kit.clock import Clock, SystemClock, Wake
from tocsin_kit.transient import is_transient

_POLL = timedelta(milliseconds=200)
_PAUSE, _LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=30)
_log = structlog.get_logger(__name__)


class Bell(Wake):
    """A loop's wake that is counted from the moment it rings, so that nobody takes the loop for idle."""

    def __init__(self, activity: Activity) -> None:
        super().__init__()
        self._activity = activity
        self._states: list[LoopState] = []

    def belongs_to(self, state: LoopState) -> None:
        """Count ringing as work of `state`."""
        self._states.append(state)

    def set(self) -> None:
        """Ring."""
        super().set()
        for state in self._states:
            state.woken = True
        self._activity.noted()

    def clear(self) -> None:
        """Take note of the ringing."""
        super().clear()
        for state in self._states:
            state.woken = False


class Spaced:
    """Keeps the beginnings of what is done again and again `apart`; the first, and what is seldom, waits for nothing.

    On a stepped clock nothing waits: nobody moves that clock but the test.
    """

    def __init__(self, clock: Clock, apart: timedelta) -> None:
        self._apart = apart.total_seconds() if isinstance(clock, SystemClock) else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        """Until it may begin again, by a clock that nobody sets."""
        time = asyncio.get_running_loop().time
        if self._apart and time() < self._next:
            await asyncio.sleep(self._next - time())  # noqa: TID251 - an hour set back must not be an hour's silence
        self._next = time() + self._apart


class Loop:
    """Runs `round_` again and again.

    `round_` does everything due and answers when it next knows of work: an instant from its database, or None
    where it knows of none; an instant that has passed means at once. Between, the loop looks again every `poll`
    (other processes write rows too); on a stepped clock it does not, for nobody moves that clock but the test.

    An error of the infrastructure (database or broker away) pauses the loop, longer each time, and is logged when
    it changes. Any other error ends the process.
    """

    def __init__(
        self,
        name: str,
        round_: Callable[[], Awaitable[datetime | None]],
        *,
        clock: Clock,
        activity: Activity,
        wake: Bell | None = None,
        poll: timedelta | None = _POLL,
    ) -> None:
        self.name = name
        self.wake = wake or Bell(activity)
        self._round, self._clock, self._activity = round_, clock, activity
        self._poll = poll if isinstance(clock, SystemClock) else None

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set."""
        state = self._activity.add_loop(self.name)
        self.wake.belongs_to(state)
        stopper = asyncio.create_task(self._stop_wakes(stopping))
        failure, pause = "", _PAUSE
        try:
            while not stopping.is_set():
                self.wake.clear()
                state.working = True
                try:
                    due = await self._round()
                except Exception as error:
                    if not is_transient(error):
                        raise
                    failure = self._log_change(failure, f"{type(error).__name__}: {error}")
                    await self._pause(stopping, pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                failure, pause = self._log_change(failure, ""), _PAUSE
                if due is not None and due <= self._clock.now():
                    await asyncio.sleep(0)  # noqa: TID251 - let others have a turn
                    continue
                state.next_due, state.working = due, False
                self._activity.noted()
                await self._clock.sleep_until(self._until(due), or_woken_by=self.wake)
        finally:
            stopper.cancel()
            with suppress(asyncio.CancelledError):
                await stopper
            self._activity.remove_loop(state)

    def _until(self, due: datetime | None) -> datetime | None:
        if self._poll is None:
            return due
        look_again = self._clock.now() + self._poll
        return look_again if due is None else min(due, look_again)

    def _log_change(self, before: str, after: str) -> str:
        if after and after != before:
            _log.warning("loop_waits", loop=self.name, error=after)
        elif before and not after:
            _log.info("loop_goes_on", loop=self.name)
        return after

    async def _pause(self, stopping: asyncio.Event, pause: timedelta) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause.total_seconds())

    async def _stop_wakes(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.wake.set()
