"""One subscription per user and replica, shared by that user's sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tocsin_kit.clock import Wake

#: Ends a subscription.
Unsubscribe = Callable[[], Awaitable[None]]
#: Subscribes to (partner, user) and tells each version it hears of; ConnectionError when the broker is away.
Subscribe = Callable[[int, int, Callable[[int], Awaitable[None]]], Awaitable[Unsubscribe]]


class Ear:
    """What one socket hears of its user's inbox: that there is a version it may not have."""

    def __init__(self) -> None:
        self.bell = Wake()

    def tell(self) -> None:
        """Something changed, or may have."""
        self.bell.set()


@dataclass
class _Feed:
    ears: set[Ear] = field(default_factory=set)
    subscribing: asyncio.Lock = field(default_factory=asyncio.Lock)
    unsubscribe: Unsubscribe | None = None

    async def heard(self, _version: int) -> None:
        for ear in self.ears:
            ear.tell()


class Feeds:
    """The feeds of all users who are connected to this replica."""

    def __init__(self, subscribe: Subscribe) -> None:
        self._subscribe = subscribe
        self._feeds: dict[tuple[int, int], _Feed] = {}

    @asynccontextmanager
    async def listening(self, partner_id: int, user_id: int) -> AsyncIterator[Ear]:
        """Hear of a user's changes from here on. ConnectionError when the broker is away."""
        key = partner_id, user_id
        feed = self._feeds.setdefault(key, _Feed())
        ear = Ear()
        feed.ears.add(ear)
        try:
            async with feed.subscribing:
                if feed.unsubscribe is None:
                    feed.unsubscribe = await self._subscribe(partner_id, user_id, feed.heard)
            yield ear
        finally:
            feed.ears.discard(ear)
            if not feed.ears and self._feeds.get(key) is feed:
                del self._feeds[key]
                if feed.unsubscribe is not None:
                    with suppress(ConnectionError):
                        await feed.unsubscribe()

    def tell_all(self) -> None:
        """The broker was away: anything may have changed meanwhile."""
        for feed in self._feeds.values():
            for ear in feed.ears:
                ear.tell()
