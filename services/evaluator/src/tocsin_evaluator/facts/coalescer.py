"""Concurrent calls share transactions, without a timer: a call starts at once when none is in flight; those that come
meanwhile are collected and go together in the next, at most 500 facts. A larger call is a transaction of its own.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tocsin_evaluator.facts.intake import Taken
from tocsin_evaluator.model.facts import Arrival, Refused
from tocsin_evaluator.model.words import Refusal
from tocsin_kit.activity import Activity
from tocsin_kit.halves import in_halves
from tocsin_kit.transient import is_data_error

MOST_FACTS = 500
_ACTIVITY = "evaluator.ingest"
UNSTORABLE = Refused(Refusal.INVALID_FIELD, "", "a value cannot be stored")


@dataclass(frozen=True)
class Answer:
    """What one call is told: refusals by position, and users without a profile as (partner, user)."""

    refused: dict[int, Refused]
    unknown_people: frozenset[tuple[int, int]]


@dataclass(eq=False)
class _Call:
    arrivals: Sequence[Arrival]
    answered: asyncio.Future[Answer]


@dataclass(frozen=True)
class _Item:
    """One fact of one call."""

    call: _Call
    position: int

    @property
    def arrival(self) -> Arrival:
        return self.call.arrivals[self.position]


@dataclass
class _Outcome:
    refused: dict[_Item, Refused] = field(default_factory=dict)
    unknown: set[tuple[int, int]] = field(default_factory=set)


class Coalescer:
    """Gathers calls into batches for `take_in`, which writes one batch in one transaction, whole or not at all."""

    def __init__(self, take_in: Callable[[Sequence[Arrival]], Awaitable[Taken]], activity: Activity) -> None:
        self._take_in, self._activity = take_in, activity
        self._waiting: deque[_Call] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def bring(self, arrivals: Sequence[Arrival]) -> Answer:
        """Take in one call's facts. A caller that goes away while its batch is in flight cancels nobody's."""
        call = _Call(arrivals, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._worker is None or self._worker.done():
            self._activity.begun(_ACTIVITY)
            self._worker = asyncio.create_task(self._work())
        return await asyncio.shield(call.answered)

    async def finish(self) -> None:
        """Return when nothing is in flight."""
        while self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._batch(self._next())
        finally:
            self._activity.ended(_ACTIVITY)

    def _next(self) -> list[_Call]:
        calls, facts = [self._waiting.popleft()], 0
        facts = len(calls[0].arrivals)
        while self._waiting and facts + len(self._waiting[0].arrivals) <= MOST_FACTS:
            calls.append(self._waiting.popleft())
            facts += len(calls[-1].arrivals)
        return calls

    async def _batch(self, calls: Sequence[_Call]) -> None:
        items = [_Item(call, position) for call in calls for position in range(len(call.arrivals))]
        outcome = _Outcome()

        async def work(part: Sequence[_Item]) -> None:
            taken = await self._take_in([item.arrival for item in part])
            outcome.refused |= {part[position]: why for position, why in taken.refused.items()}
            outcome.unknown |= taken.unknown_people

        try:
            bad = await in_halves(items, work, is_data_error)
        except Exception as error:
            # The callers are told; what is wrong with the infrastructure is theirs to hear, not the worker's end.
            for call in calls:
                _fail(call, error)
            return
        outcome.refused |= {item: UNSTORABLE for item, _ in bad}
        for call in calls:
            _answer(call, outcome)


def _fail(call: _Call, error: Exception) -> None:
    if not call.answered.done():
        call.answered.set_exception(error)
        call.answered.exception()  # a caller that went away does not read it


def _answer(call: _Call, outcome: _Outcome) -> None:
    refused = {item.position: why for item, why in outcome.refused.items() if item.call is call}
    users = {(each.fact.partner_id, each.fact.user_id) for each in call.arrivals}
    if not call.answered.done():
        call.answered.set_result(Answer(refused, frozenset(outcome.unknown & users)))
