"""A claimed batch: what was lost with a worker, what nobody knows, and what may leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from tocsin_dispatcher.delivering.breaker_board import BreakerBoard
from tocsin_dispatcher.delivering.gatekeeper import Admitted, Gatekeeper
from tocsin_dispatcher.delivering.look_ups import LookUps
from tocsin_dispatcher.delivering.recorder import Recorder, Result
from tocsin_dispatcher.delivering.way import Sent, Way
from tocsin_dispatcher.planning.recheck import needs_recheck
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.values import AlertStanding, Attempt, Delivery, Outcome, OutcomeKind
from tocsin_kit.clock import Clock
from tocsin_kit.transient import is_transient

#: Asks the evaluator how the alerts of these firings stand, by (partner, firing id); answers what it heard in time.
Recheck = Callable[[Sequence[tuple[int, UUID]]], Awaitable[Mapping[UUID, AlertStanding]]]

#: A call to be made, in a task of its own.
Call = Callable[[], Coroutine[None, None, None]]
#: A piece of a batch; answers the calls that follow from it.
Piece = Callable[[], Awaitable[Sequence[Call]]]
Item = TypeVar("Item")

_log = structlog.get_logger(__name__)
#: So long others wait for those at the gate: what is held up there, by a lock say, does not keep them longer.
_GATHERS_FOR = timedelta(milliseconds=200)
#: So many transactions at the gate of a channel have a connection each: others need some too.
_GATES = 3
_LOST = Outcome(OutcomeKind.UNKNOWN, answer="the worker was lost during the call")
_TOO_LATE = Outcome(OutcomeKind.UNKNOWN, answer="the worker stood still until its claim had lapsed")


class Batches:
    """Works on a channel's claims. `done` is called with those that were set aside, for what leaves no result."""

    def __init__(
        self,
        look_ups: LookUps,
        way: Way,
        gatekeeper: Gatekeeper,
        recorder: Recorder,
        board: BreakerBoard,
        recheck: Recheck,
        clock: Clock,
        done: Callable[[Sequence[Delivery]], None],
    ) -> None:
        self._look_ups, self._way, self._gatekeeper, self._recorder = look_ups, way, gatekeeper, recorder
        self._board, self._recheck, self._clock, self._done = board, recheck, clock, done
        self._gates, self._gating = asyncio.Semaphore(_GATES), 0
        self._gating_since: datetime | None = None

    @property
    def is_gating(self) -> bool:
        """Whether some have come to the gate just now. Others had better come together after them: a transaction
        costs as much for one as for a few. Also whether as many are there as may be."""
        if self._gating_since is None:
            return False
        come_just_now = timedelta() <= self._clock.now() - self._gating_since < _GATHERS_FOR
        return come_just_now or self._gating >= _GATES

    def split(self, claims: Sequence[Claimed]) -> list[tuple[Piece, Sequence[Claimed]]]:
        """The batch as pieces of work that do not wait for each other, each with its claims."""
        self._take_for_lost([claimed for claimed in claims if claimed.delivery.status is DeliveryState.SENDING])
        unknown = [claimed for claimed in claims if claimed.delivery.status is DeliveryState.UNKNOWN]
        ready = [
            claimed
            for claimed in claims
            if claimed.delivery.status not in (DeliveryState.SENDING, DeliveryState.UNKNOWN)
        ]
        now = self._clock.now()
        asked = {claimed.key for claimed in ready if needs_recheck(claimed.delivery, claimed.notification, now)}
        old = [claimed for claimed in ready if claimed.key in asked]
        fresh = [claimed for claimed in ready if claimed.key not in asked]
        pieces: list[tuple[Piece, Sequence[Claimed]]] = [
            (lambda: self._leave(fresh, {}), fresh),
            (lambda: self._leave_if_true(old), old),
            (lambda: self._look_up(unknown), unknown),
        ]
        return [(piece, members) for piece, members in pieces if members]

    def _take_for_lost(self, claims: Sequence[Claimed]) -> None:
        """Their leases are over, so their worker is lost, unless it is this one and the result waits to be written."""
        in_hand = self._recorder.in_hand
        lost = [claimed for claimed in claims if (claimed.key, claimed.delivery.attempt) not in in_hand]
        for claimed in lost:
            self._recorder.add(Result(claimed.delivery, _LOST, self._clock.now()))
        self._done([one.delivery for one in claims if (one.key, one.delivery.attempt) in in_hand])

    async def _leave_if_true(self, claims: Sequence[Claimed]) -> Sequence[Call]:
        asked = [one for claimed in claims for one in (claimed.members or [claimed])]
        firings = [(one.delivery.partner_id, one.notification.id) for one in asked]
        return await self._leave(claims, await self._recheck(firings))

    async def _leave(self, claims: Sequence[Claimed], standings: Mapping[UUID, AlertStanding]) -> Sequence[Call]:
        self._gating += 1
        self._gating_since = self._clock.now()
        try:
            async with self._gates:
                await self._board.refresh()
                admitted = await self._gatekeeper.admit(claims, standings)
        finally:
            self._gating -= 1
            if self._gating == 0:
                self._gating_since = None
        in_hand = {one.claimed.key for one in admitted}
        # a digest that was formed now has the slot of its first member
        in_hand |= {one.claimed.members[0].key for one in admitted if one.claimed.members}
        self._done([claimed.delivery for claimed in claims if claimed.key not in in_hand])
        return [_call(self._send, one) for one in admitted]

    async def _look_up(self, claims: Sequence[Claimed]) -> Sequence[Call]:
        return [_call(self._ask, group) for group in self._look_ups.groups(claims)]

    async def _ask(self, group: Sequence[Claimed]) -> None:
        try:
            found = await self._look_ups.ask(group)
        except Exception as error:
            if not is_transient(error):
                _log.exception("look_up_broke", delivery_ids=[str(claimed.delivery.id) for claimed in group])
            found = [Sent(_unknown(error)) for _ in group]
        for claimed, sent in zip(group, found, strict=True):
            self._recorder.add(Result(claimed.delivery, sent.outcome, self._clock.now(), sent.size, looked_up=True))

    async def _send(self, admitted: Admitted) -> None:
        claimed, now = admitted.claimed, self._clock.now()
        delivery = claimed.delivery
        if now >= claimed.leased_until:
            # Another worker may have it by now, and takes this attempt for lost: it is not made after the next one.
            self._board.release([admitted.provider])
            self._recorder.add(Result(delivery, _TOO_LATE, now))
            return
        attempt = Attempt(
            partner_id=delivery.partner_id,
            delivery_id=delivery.id,
            number=delivery.attempt,
            provider=admitted.provider.provider,
            credential=admitted.provider.credential,
            started_at=now,
            possible_duplicate=claimed.possible_duplicate,
            traceparent=delivery.traceparent,
            tracestate=delivery.tracestate,
            expires_at=delivery.expires_at,
        )
        try:
            sent = await self._way.send(admitted.provider, attempt, claimed.notification, admitted.recipient, now)
        except Exception as error:
            if not is_transient(error):
                self._broke(admitted, error)
                return
            # The local mailbox is a provider whose network is our own database.
            sent = Sent(_unknown(error))
        ended = self._clock.now()
        outcome = sent.outcome.dated(ended)
        self._board.record(admitted.provider, outcome, begun=now)
        if outcome.kind is OutcomeKind.THROTTLED and not outcome.ours:
            # The pause ends at the reset, or after its longest: a reset that is far off costs no message its life.
            outcome = replace(outcome, not_before=self._board.put_off(admitted.provider, claimed.notification.critical))
        self._recorder.add(Result(delivery, outcome, ended, sent.size))

    def _broke(self, admitted: Admitted, error: Exception) -> None:
        """What a message breaks before its call is a fault of ours: it counts against no provider, and the others
        leave. That it did not leave is likely and not known: its next attempt is marked."""
        delivery = admitted.claimed.delivery
        _log.error("message_broke_its_call", delivery_id=str(delivery.id), channel=delivery.channel, exc_info=error)
        self._board.release([admitted.provider])
        self._recorder.add(Result(delivery, _unknown(error), self._clock.now()))


def _unknown(error: Exception) -> Outcome:
    return Outcome(OutcomeKind.UNKNOWN, answer=type(error).__name__)


def _call(work: Callable[[Item], Coroutine[None, None, None]], item: Item) -> Call:
    return lambda: work(item)
