"""Outcomes, written in batches: attempts, deliveries, suppressions, breakers and events in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

import structlog

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.announcing import Announcer, DeliveryChange
from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.changes import change_of
from tocsin_dispatcher.delivering.breaker_board import BoardChanges, BreakerBoard
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.reasons import Reason, SuppressionCause
from tocsin_dispatcher.receiving.applying import Applier
from tocsin_dispatcher.retries import NextStep, after_attempt, after_look_up
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.attempts import Settlement, settle
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction, reads
from tocsin_dispatcher.store.fates import lock_before_ending, release_members
from tocsin_dispatcher.store.look_ups import of_another_delivery
from tocsin_dispatcher.store.moving_on import bring_forward
from tocsin_dispatcher.store.own_addresses import AddressId, end_addresses
from tocsin_dispatcher.store.receipts import receipts_waiting
from tocsin_dispatcher.store.suppressions import AddressKey, suppress
from tocsin_dispatcher.values import Channel, Delivery, Outcome, OutcomeKind, SmsSize
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.halves import in_halves
from tocsin_kit.loops import Bell, Loop
from tocsin_kit.telemetry.metrics import Metrics
from tocsin_kit.transient import is_data_error

_AT_ONCE = 500
_NOT_STORABLE = "the provider's answer cannot be stored"
_log = structlog.get_logger(__name__)
_ENDED = frozenset({DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.EXPIRED})
_ENDED_UNTOLD = frozenset({DeliveryState.FAILED, DeliveryState.EXPIRED})


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
    answered: Sequence[tuple[Result, Settlement]]
    """Of attempts that count still, also where a receipt was faster and led the delivery on."""
    segments: int
    """SMS segments that are sent by it."""


class Recorder:
    """Writes a channel's results. `after` is called with their deliveries when they are committed.

    `chain` are the channel's providers: while one is left alone, what it failed to take goes to the next one at once.
    """

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
        after: Callable[[Sequence[Delivery]], None],
        chain: Sequence[BreakerKey] = (),
    ) -> None:
        self._channel, self._engine, self._board = channel, engine, board
        self._reads = reads(engine)
        self._announcer, self._applier = announcer, applier
        self._clock, self._random, self._metrics = clock, random, metrics
        self._address_key, self._after, self._chain = address_key, after, chain
        self._passed_over: frozenset[str] = frozenset()
        self._waiting: list[Result] = []
        self._bell = Bell(activity)
        self.loop = Loop(f"recorder.{channel}", self._round, clock=clock, activity=activity, wake=self._bell)

    def add(self, result: Result) -> None:
        """Have a result written soon."""
        self._waiting.append(result)
        self._bell.set()

    @property
    def in_hand(self) -> frozenset[tuple[DeliveryKey, int]]:
        """The attempts, by delivery and number, whose results wait to be written."""
        return frozenset(_attempt(result) for result in self._waiting)

    async def _round(self) -> datetime | None:
        while self._waiting:
            # They stay in the list until they are committed: a database that is away loses none.
            batch = self._waiting[:_AT_ONCE]
            settled = [(result, self._settlement(result)) for result in _one_per_attempt(batch)]
            refused = await in_halves(settled, self._write, is_data_error)
            for (result, _), error in refused:
                await self._write_without_answer(result, error)
            unnamed = [pair for pair, _ in refused]
            await self._apply_waiting([pair for pair in settled if pair not in unnamed])
            del self._waiting[: len(batch)]
            self._after([result.delivery for result in batch])
        return None

    async def _write_without_answer(self, result: Result, error: Exception) -> None:
        """What the provider said cannot be stored: what came of it is."""
        _log.error("answer_not_storable", delivery_id=str(result.delivery.id), error=type(error).__name__)
        plain = replace(result.outcome, provider_id=None, code=None, answer=_NOT_STORABLE)
        unsaid = replace(result, outcome=plain)
        await self._write([(unsaid, self._settlement(unsaid))])

    async def _write(self, settled_as: Sequence[tuple[Result, Settlement]]) -> None:
        now = self._clock.now()
        passed_over = self._board.passed_over(self._chain)

        async def work(connection: Connection) -> tuple[_Written, BoardChanges]:
            settled = await self._rightful(connection, settled_as)
            await lock_before_ending(connection, [one.key for _, one in settled if one.status in _ENDED_UNTOLD])
            written = await settle(connection, [settlement for _, settlement in settled], now)
            answered = [pair for pair in settled if pair[1].key.id in written]
            moved = [pair for pair in answered if written[pair[1].key.id].moves]
            for provider in sorted(passed_over - self._passed_over):
                await bring_forward(connection, self._channel, provider, now)
            await suppress(connection, self._suppressions(settled), "provider", now)
            await end_addresses(connection, self._channel, _gone(settled), now)
            failed = [one.key for _, one in moved if one.status in _ENDED_UNTOLD]
            released = await release_members(connection, failed, now)
            changes = [change_of(result.delivery, one.status, _reason(one), now) for result, one in moved]
            changes += [change_of(delivery, DeliveryState.PENDING, None, now) for delivery in released]
            await self._announcer.add(connection, changes, now)
            segments = sum(one.segments_sent or 0 for one in written.values())
            return _Written(changes, answered, segments), await self._board.write(connection)

        written, breakers = await in_transaction(self._engine, work)
        self._board.wrote(breakers)
        self._passed_over = passed_over
        self._announcer.wrote(written.changes)
        if written.segments:
            self._metrics.sms_segments.inc(written.segments)
        for result, settlement in written.answered:
            self._count(result, settlement)

    async def _apply_waiting(self, settled: Sequence[tuple[Result, Settlement]]) -> None:
        """Receipts that overtook these outcomes; mostly there is none. In a transaction of its own, which locks as a
        callback's does."""
        messages = _messages(settled)
        if not messages:
            return
        async with self._reads.connect() as connection:
            overtook = await receipts_waiting(connection, messages)
        if overtook:
            now = self._clock.now()
            self._applier.wrote(
                await in_transaction(
                    self._engine, lambda connection: self._applier.apply_waiting(connection, messages, now)
                )
            )

    async def _rightful(
        self, connection: Connection, settled: Sequence[tuple[Result, Settlement]]
    ) -> Sequence[tuple[Result, Settlement]]:
        """A message that look-ups found for two, here or in another replica, is the first one's: the other asks on."""
        found = [
            (one.key, result.delivery.provider, one.provider_id)
            for result, one in settled
            if result.looked_up and one.provider_id is not None and result.delivery.provider is not None
        ]
        others = await of_another_delivery(connection, found)
        return [
            self._asked_again(result) if result.looked_up and one.key in others else (result, one)
            for result, one in settled
        ]

    def _asked_again(self, result: Result) -> tuple[Result, Settlement]:
        unsaid = replace(result, outcome=Outcome(OutcomeKind.UNKNOWN, answer="another delivery's message was found"))
        return unsaid, self._settlement(unsaid)

    def _settlement(self, result: Result) -> Settlement:
        step = self._next(result)
        outcome = result.outcome
        # What nobody answered for weighs what it weighs, should a callback or a look-up find that it was sent.
        size = result.size if outcome.kind in (OutcomeKind.ACCEPTED, OutcomeKind.UNKNOWN) else None
        return Settlement(
            key=_key(result),
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
            segments=size.segments if size else None,
            cost=size.cost if size else None,
        )

    def _next(self, result: Result) -> NextStep:
        if not result.looked_up:
            step = after_attempt(result.delivery, result.outcome, result.at, self._random)
            passed_over = result.delivery.provider in self._board.passed_over(self._chain)
            moves_on = step.status is DeliveryState.RETRYING and passed_over
            return replace(step, due_at=min(result.at, result.delivery.expires_at)) if moves_on else step
        step = after_look_up(result.delivery, result.outcome, result.at, self._random)
        if step.status is DeliveryState.UNKNOWN and result.at >= result.delivery.expires_at:
            # Nobody knows whether it arrived: should a person try it again, that attempt is marked.
            return NextStep(DeliveryState.EXPIRED, None, step.failures, possible_duplicate=True)
        return step

    def _suppressions(self, settled: Sequence[tuple[Result, Settlement]]) -> list[tuple[AddressKey, SuppressionCause]]:
        """Addresses that a provider found at fault."""
        found = []
        for result, _ in settled:
            delivery, cause = result.delivery, result.outcome.suppress
            if cause is not None and delivery.destination is not None and delivery.destination_id is None:
                named = address_hash(self._address_key, delivery.partner_id, delivery.channel, delivery.destination)
                found.append((AddressKey(delivery.partner_id, delivery.channel, named), cause))
        return found

    def _count(self, result: Result, settlement: Settlement) -> None:
        if result.delivery.provider is not None and not result.looked_up:
            self._metrics.provider_attempts.labels(result.delivery.provider, result.outcome.kind).inc()
        if settlement.status in _ENDED:
            took = (result.at - result.delivery.due_at).total_seconds()
            self._metrics.delivery_duration.labels(result.delivery.channel).observe(max(took, 0.0))


def _gone(settled: Sequence[tuple[Result, Settlement]]) -> list[AddressId]:
    """Addresses of their own where nothing will be taken any more."""
    return [
        AddressId(result.delivery.partner_id, result.delivery.destination_id)
        for result, _ in settled
        if result.delivery.destination_id is not None and result.outcome.suppress is SuppressionCause.DISABLED
    ]


def _reason(settlement: Settlement) -> Reason | None:
    return Reason.EXPIRED if settlement.status is DeliveryState.EXPIRED else None


def _key(result: Result) -> DeliveryKey:
    return DeliveryKey(result.delivery.partner_id, result.delivery.id)


def _attempt(result: Result) -> tuple[DeliveryKey, int]:
    return _key(result), result.delivery.attempt


def _one_per_attempt(results: Sequence[Result]) -> list[Result]:
    """In key order, of each attempt what is known before what is not: one that lasted longer than its lease (the
    database was away, say) was taken for lost too."""
    known_first = sorted(results, key=lambda result: result.outcome.kind is OutcomeKind.UNKNOWN)
    kept: dict[tuple[DeliveryKey, int], Result] = {}
    for result in known_first:
        kept.setdefault(_attempt(result), result)
    return [kept[attempt] for attempt in sorted(kept)]


def _messages(settled: Sequence[tuple[Result, Settlement]]) -> list[tuple[str, str]]:
    """The messages that a provider has named now: the provider, and its id."""
    return [
        (result.delivery.provider, one.provider_id)
        for result, one in settled
        if one.provider_id is not None and result.delivery.provider is not None
    ]
