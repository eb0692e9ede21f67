"""Sends the simulators' callbacks when their time has come, and again as the provider would when nobody took them."""

import heapq
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import aiohttp

from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Loop

_ANSWER_LIMIT = aiohttp.ClientTimeout(total=15)  # Twilio's tt, and a fair guess for SendGrid
NO_ANSWER = 0  # stands for a status where the connection failed

Item = TypeVar("Item")


@dataclass(frozen=True)
class CallbackAnswer:
    """What somebody said to a callback: an HTTP status, or NO_ANSWER."""

    url: str
    events: tuple[str, ...]
    status: int
    at: datetime


class CallbackQueue(Generic[Item]):
    """Items with the instant they are due. `post` sends those that are due and answers which again, and when."""

    def __init__(
        self,
        name: str,
        post: Callable[[Sequence[Item]], Awaitable[Sequence[tuple[datetime, Item]]]],
        *,
        clock: Clock,
        activity: Activity,
    ) -> None:
        self._post, self._clock = post, clock
        self._waiting: list[tuple[datetime, int, Item]] = []
        self._order = itertools.count()
        self.loop = Loop(name, self._round, clock=clock, activity=activity)

    def add(self, due: datetime, item: Item) -> None:
        """Send `item` at `due`, after whatever is due at the same instant already."""
        heapq.heappush(self._waiting, (due, next(self._order), item))
        self.loop.wake.set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def _round(self) -> datetime | None:
        due: list[Item] = []
        while self._waiting and self._waiting[0][0] <= self._clock.now():
            due.append(heapq.heappop(self._waiting)[2])
        if due:
            for again, item in await self._post(due):
                self.add(again, item)
        return self._waiting[0][0] if self._waiting else None


class Poster:
    """Posts callbacks over one pooled client and keeps the answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self.answers: list[CallbackAnswer] = []

    async def post(self, url: str, body: bytes, headers: dict[str, str], events: Sequence[str]) -> int:
        """The HTTP status of the answer, or NO_ANSWER when there was none in time."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_ANSWER_LIMIT)
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            status = NO_ANSWER
        self.answers.append(CallbackAnswer(url, tuple(events), status, self._clock.now()))
        return status

    async def close(self) -> None:
        """Close the client's connections."""
        if self._session is not None:
            await self._session.close()


def again_after(failures: int) -> timedelta:
    """How long until an untaken callback is sent again: 1 s doubled up to 5 min."""
    return min(timedelta(seconds=2.0 ** min(failures - 1, 20)), timedelta(minutes=5))
