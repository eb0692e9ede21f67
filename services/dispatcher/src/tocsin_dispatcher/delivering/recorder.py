"""Outcomes, written in batches: attempts, deliveries, suppressions, breakers and events in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from uuid import UUID

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.announcing import Announcer, DeliveryChange
from tocsin_dispatcher.breakers import Breaker, BreakerKey
from tocsin_dispatcher.changes import change_of
from tocsin_dispatcher.delivering.breaker_board import BreakerBoard
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.receiving.applying import Applier
from tocsin_dispatcher.retries import NextStep, after_attempt, after_look_up
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.attempts import Settlement, settle
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.fates import release_members
from tocsin_dispatcher.store.suppressions import AddressKey, suppress
from tocsin_dispatcher.values import Channel, Delivery, Outcome, OutcomeKind, SmsSize
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Bell, Loop
from tocsin_kit.telemetry.metrics import Metrics

_AT_ONCE = 500
_ENDED = frozenset({DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.EXPIRED})


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attempt, or of a look-up after one. `delivery` is as it was when the attempt had begun."""

    delivery: Delivery
    outcome: Outcome
    at: datetime
    size: SmsSize | None = None
    looked_up: bool = False


@dataclass(frozen=True)
class _Written:
    changes: Sequence[DeliveryChange]
    moved: Sequence[tuple[Result, Settlement]]


class Recorder:
    """Writes a channel's results. `after` is called for each when it is committed."""

    def __init__(
        self,
        channel: Channel,
        engine: Engine,
        board: BreakerBoard,
        announcer: Announcer,
        applier: Applier,
        *,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        activity: Activity,
        address_key: bytes,
        after: Callable[[int], None],
    ) -> None:
        self._engine, self._board, self._announcer, self._applier = engine, board, announcer, applier
        self._clock, self._random, self._metrics = clock, random, metrics
        self._address_key, self._after = address_key, after
        self._waiting: list[Result] = []
        self._bell = Bell(activity)
        self.loop = Loop(f"recorder.{channel}", self._round, clock=clock, activity=activity, wake=self._bell)

    def add(self, result: Result) -> None:
        """Have a result written soon."""
        self._waiting.append(result)
        self._bell.set()

    async def _round(self) -> datetime | None:
        while self._waiting:
            # They stay in the list until they are committed: a database that is away loses none.
            batch = sorted(self._waiting[:_AT_ONCE], key=lambda result: DeliveryKey(*_key(result)))
            settled = [(result, self._settlement(result)) for result in batch]
            await self._write(settled)
            del self._waiting[: len(batch)]
            self._after(len(batch))
        return None

    async def _write(self, settled: Sequence[tuple[Result, Settlement]]) -> None:
        now = self._clock.now()

        async def work(connection: Connection) -> tuple[_Written, dict[BreakerKey, Breaker]]:
            moves = await settle(connection, [settlement for _, settlement in settled], now)
            moved = [pair for pair in settled if moves.get(pair[1].key.id)]
            await suppress(connection, self._suppressions(settled), "provider", now)
            failed = [one.key for _, one in moved if one.status in (DeliveryState.FAILED, DeliveryState.EXPIRED)]
            released = await release_members(connection, failed, now)
            changes = [change_of(result.delivery, one.status, None, now) for result, one in moved]
            changes += [change_of(delivery, DeliveryState.PENDING, None, now) for delivery in released]
            await self._announcer.add(connection, changes, now)
            changes += await self._applier.apply_waiting(connection, _messages(settled), now)
            return _Written(changes, moved), await self._board.write(connection)

        written, breakers = await in_transaction(self._engine, work)
        self._board.wrote(breakers)
        self._announcer.wrote(written.changes)
        for result, settlement in written.moved:
            self._count(result, settlement, now)

    def _settlement(self, result: Result) -> Settlement:
        step = self._next(result)
        outcome = result.outcome
        accepted = outcome.kind is OutcomeKind.ACCEPTED
        return Settlement(
            key=DeliveryKey(*_key(result)),
            attempt=result.delivery.attempt,
            status=step.status,
            due_at=step.due_at,
            failures=step.failures,
            possible_duplicate=step.possible_duplicate,
            repeated_after_unknown=step.repeated_after_unknown,
            outcome=None if result.looked_up else outcome.kind,
            provider_id=outcome.provider_id,
            status_code=outcome.status,
            code=outcome.code,
            answer=outcome.answer,
            segments=result.size.segments if result.size and accepted else None,
            cost=result.size.cost if result.size and accepted else None,
        )

    def _next(self, result: Result) -> NextStep:
        if not result.looked_up:
            return after_attempt(result.delivery, result.outcome, result.at, self._random)
        step = after_look_up(result.delivery, result.outcome, result.at, self._random)
        if step.status is DeliveryState.UNKNOWN and result.at >= result.delivery.expires_at:
            return NextStep(DeliveryState.EXPIRED, None, step.failures)
        return step

    def _suppressions(self, settled: Sequence[tuple[Result, Settlement]]) -> list[tuple[AddressKey, SuppressionCause]]:
        """Addresses that a provider found at fault."""
        found = []
        for result, _ in settled:
            delivery, cause = result.delivery, result.outcome.suppress
            if cause is not None and delivery.destination is not None:
                named = address_hash(self._address_key, delivery.partner_id, delivery.channel, delivery.destination)
                found.append((AddressKey(delivery.partner_id, delivery.channel, named), cause))
        return found

    def _count(self, result: Result, settlement: Settlement, now: datetime) -> None:
        channel = result.delivery.channel
        if result.delivery.provider is not None and not result.looked_up:
            self._metrics.provider_attempts.labels(result.delivery.provider, result.outcome.kind).inc()
        if settlement.status in _ENDED:
            self._metrics.notifications_delivered.labels(channel, settlement.status).inc()
            took = (now - result.delivery.created_at).total_seconds()
            self._metrics.delivery_duration.labels(channel).observe(max(took, 0.0))
        if settlement.segments:
            self._metrics.sms_segments.inc(settlement.segments)


def _key(result: Result) -> tuple[int, UUID]:
    return result.delivery.partner_id, result.delivery.id


def _messages(settled: Sequence[tuple[Result, Settlement]]) -> list[tuple[DeliveryKey, str, str]]:
    """The messages that a provider has named now."""
    return [
        (one.key, result.delivery.provider, one.provider_id)
        for result, one in settled
        if one.provider_id is not None and result.delivery.provider is not None
    ]
