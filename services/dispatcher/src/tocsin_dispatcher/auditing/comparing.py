"""Firings, as the evaluator counts them, against notifications: minute by minute, and which of a minute are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.ledger import NAMED, notification_minutes
from tocsin_dispatcher.values.minutes import Compared, Minute, compared

#: What fired later may still be on its way.
SETTLED_AFTER = timedelta(minutes=2)
#: The longest span that the evaluator is asked about at once.
DAY = timedelta(days=1)
#: No two instants of firing are nearer.
_INSTANT = timedelta(microseconds=1)
#: Enough for `NAMED` firings that are each alone in a minute, which is halved 26 times until an instant is left.
_MOST_QUESTIONS = 27 * NAMED
_64_BITS = (1 << 64) - 1


class Books(Protocol):
    """The evaluator's side."""

    async def summarise(self, partner_id: int, since: datetime, until: datetime) -> list[Minute]:
        """The firings of each minute that had some, of a day at most; of one partner, or (0) of all. Raises
        TocsinError."""
        ...

    async def republish(self, since: datetime, until: datetime) -> int:
        """Have the firings of a span sent again. Raises TocsinError."""
        ...


@dataclass(frozen=True, slots=True)
class _Difference:
    """A span's firings less its notifications: how many, and the exclusive or over the ids of what only one has."""

    since: datetime
    until: datetime
    count: int
    ids: int

    @property
    def is_one(self) -> bool:
        """Whether the ids are one id: a firing's, or that of a notification of nothing."""
        return abs(self.count) == 1

    @property
    def can_be_halved(self) -> bool:
        """Whether something differs, and more than one instant."""
        return (self.count, self.ids) != (0, 0) and self.until - self.since > _INSTANT


@dataclass(frozen=True)
class Comparison:
    """The two books, of one partner or (0) of all. What it does raises TocsinError when the evaluator does not
    answer."""

    engine: Engine
    evaluator: Books
    partner_id: int = 0

    async def minutes(self, since: datetime, until: datetime) -> list[Compared]:
        """The minutes of a span of a day at most that either book has."""
        return compared(*await self._both(since, until))

    async def missing_firings(self, spans: Sequence[tuple[datetime, datetime]]) -> list[UUID]:
        """The first firings of some spans that have no notification, up to `NAMED`, as far as counts and checksums
        tell: where the two sides differ by one, the checksums differ by its id, so spans are halved until they do.

        Several that fired at the same instant stay unnamed, and what is after the last question. Where a span is short
        of two and has a notification of nothing, as after an old backup of the evaluator, the id is nobody's.
        """
        left = iter(spans)
        halves: list[_Difference] = []
        found: list[UUID] = []
        for _ in range(_MOST_QUESTIONS):
            if len(found) == NAMED:
                break
            if halves:
                halves += await self._halved(halves.pop())
            elif (span := next(left, None)) is not None:
                halves = [await self._difference(*span)]
            else:
                break
            while halves and (halves[-1].is_one or not halves[-1].can_be_halved):
                one = halves.pop()
                found += [UUID(int=one.ids)] if one.count == 1 else []
        return found[:NAMED]

    async def _halved(self, whole: _Difference) -> tuple[_Difference, _Difference]:
        """The later half, and the earlier one, which is asked for."""
        first = await self._difference(whole.since, whole.since + (whole.until - whole.since) / 2)
        return _Difference(first.until, whole.until, whole.count - first.count, whole.ids ^ first.ids), first

    async def _difference(self, since: datetime, until: datetime) -> _Difference:
        firings, notifications = await self._both(since, until)
        count = sum(one.count for one in firings) - sum(one.count for one in notifications)
        ids = 0
        for one in (*firings, *notifications):
            ids ^= (one.xor_high & _64_BITS) << 64 | one.xor_low & _64_BITS
        return _Difference(since, until, count, ids)

    async def _both(self, since: datetime, until: datetime) -> tuple[list[Minute], list[Minute]]:
        """The evaluator's first: what is taken in meanwhile is in both."""
        firings = await self.evaluator.summarise(self.partner_id, since, until)
        async with self.engine.connect() as connection:
            return firings, await notification_minutes(connection, since, until, self.partner_id)
