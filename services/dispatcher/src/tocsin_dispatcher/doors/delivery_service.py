"""DeliveryService: deliveries, dead letters, breakers, books and the mailbox, for operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import grpc

from tocsin.notifications.v1 import delivery_pb2, delivery_pb2_grpc
from tocsin_dispatcher.auditing.comparing import Books
from tocsin_dispatcher.breakers import Breaker, BreakerKey
from tocsin_dispatcher.doors.dead_letters import DeadLetterRpcs
from tocsin_dispatcher.doors.ledger import LedgerRpc
from tocsin_dispatcher.doors.masking import masked
from tocsin_dispatcher.doors.notification_service import timestamp
from tocsin_dispatcher.doors.paging import place_of, size_of, token_of
from tocsin_dispatcher.doors.retrying import RetryRpcs
from tocsin_dispatcher.doors.vocabulary import (
    channel_of,
    channel_to_proto,
    class_to_proto,
    purpose_to_proto,
    reason_of,
    reason_to_proto,
    state_of,
    state_to_proto,
)
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store import deliveries as store
from tocsin_dispatcher.store.breaker_rows import read_breakers, reset_breaker
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.mailbox import Kept, list_mailbox
from tocsin_dispatcher.store.receipts import known_callbacks
from tocsin_dispatcher.values import Channel
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.loops import Bell
from tocsin_kit.money import amount_text
from tocsin_kit.rpc.caller import current_caller
from tocsin_kit.rpc.errors import invalid_field, not_found

Context = grpc.aio.ServicerContext[Any, Any]
#: Channels on which a destination is a person's address; on others it is a host.
_PRIVATE = frozenset({Channel.EMAIL, Channel.SMS})


class DeliveryServicer(delivery_pb2_grpc.DeliveryServiceServicer):
    """What operators ask and may do. `bells` wakes a channel's lane. Retrying is in `retrying.py`, dead letters in
    `dead_letters.py`, the books in `ledger.py`."""

    def __init__(
        self,
        engine: Engine,
        books: Books,
        bells: Mapping[Channel, Bell],
        clock: Clock,
        ids: Ids,
        dead_letters: DeadLetterRpcs,
    ) -> None:
        self._engine, self._bells, self._clock, self._ids = engine, bells, clock, ids
        self._retries, self._dead_letters = RetryRpcs(engine, bells, clock, ids), dead_letters
        self._ledger = LedgerRpc(engine, books, clock)

    async def ListDeliveries(
        self, request: delivery_pb2.ListDeliveriesRequest, context: Context
    ) -> delivery_pb2.ListDeliveriesResponse:
        """A page, newest first. Raises invalid_field for a user without a bank."""
        _user_goes_with_bank(request.user_id, request.partner_id)
        size = size_of(request.page_size)
        wanted = store.Wanted(
            partner_id=request.partner_id or None,
            user_id=request.user_id or None,
            notification_id=UUID(request.notification_id) if request.notification_id else None,
            channel=channel_of(request.channel) if request.channel else None,
            status=state_of(request.status),
            reason=reason_of(request.reason),
        )
        async with self._engine.connect() as connection:
            rows = await store.list_deliveries(connection, wanted, size + 1, place_of(request.page_token))
        more = token_of(rows[size - 1].created_at, rows[size - 1].id) if len(rows) > size else ""
        return delivery_pb2.ListDeliveriesResponse(
            deliveries=[_delivery(row) for row in rows[:size]], next_page_token=more
        )

    async def GetDelivery(
        self, request: delivery_pb2.GetDeliveryRequest, context: Context
    ) -> delivery_pb2.GetDeliveryResponse:
        """One with its attempts. Raises not_found."""
        async with self._engine.connect() as connection:
            found = await store.get_delivery(connection, DeliveryKey(request.partner_id, UUID(request.id)))
        if found is None:
            raise not_found("delivery")
        return delivery_pb2.GetDeliveryResponse(delivery=_delivery(*found))

    async def RetryDelivery(
        self, request: delivery_pb2.RetryDeliveryRequest, context: Context
    ) -> delivery_pb2.RetryDeliveryResponse:
        """Make a failed or expired one due again. Raises not_found, state_conflict."""
        row = await self._retries.one(DeliveryKey(request.partner_id, UUID(request.id)))
        return delivery_pb2.RetryDeliveryResponse(delivery=_delivery(row))

    async def RetryFailedDeliveries(
        self, request: delivery_pb2.RetryFailedDeliveriesRequest, context: Context
    ) -> delivery_pb2.RetryFailedDeliveriesResponse:
        """Make those that fit due again."""
        return await self._retries.failed(request)

    async def ListDeadLetters(
        self, request: delivery_pb2.ListDeadLettersRequest, context: Context
    ) -> delivery_pb2.ListDeadLettersResponse:
        """What could not be taken in."""
        return await self._dead_letters.listed(request)

    async def GetDeadLetter(
        self, request: delivery_pb2.GetDeadLetterRequest, context: Context
    ) -> delivery_pb2.GetDeadLetterResponse:
        """One, with all there is of it."""
        return await self._dead_letters.get(request)

    async def RetryDeadLetters(
        self, request: delivery_pb2.RetryDeadLettersRequest, context: Context
    ) -> delivery_pb2.RetryDeadLettersResponse:
        """Take some in after all."""
        return await self._dead_letters.retry(request)

    async def ListCircuitBreakers(
        self, request: delivery_pb2.ListCircuitBreakersRequest, context: Context
    ) -> delivery_pb2.ListCircuitBreakersResponse:
        """All that ever failed, by id."""
        async with self._engine.connect() as connection:
            found = await read_breakers(connection)
        ordered = sorted((_breaker(key, breaker) for key, breaker in found.items()), key=lambda one: one.id)
        size = size_of(request.page_size)
        rest = [one for one in ordered if one.id > request.page_token]
        return delivery_pb2.ListCircuitBreakersResponse(
            circuit_breakers=rest[:size], next_page_token=rest[size - 1].id if len(rest) > size else ""
        )

    async def ResetCircuitBreaker(
        self, request: delivery_pb2.ResetCircuitBreakerRequest, context: Context
    ) -> delivery_pb2.ResetCircuitBreakerResponse:
        """Close one; what waits for it is looked at again. Raises not_found."""
        provider, _, target = request.id.partition(".")
        key, now, subject = BreakerKey(provider, target), self._clock.now(), current_caller().subject

        async def work(connection: Connection) -> Breaker:
            if not await reset_breaker(connection, key, now):
                raise not_found("circuit breaker")
            await store.note(connection, self._ids.uuid7(), now, subject, "reset_circuit_breaker", None, request.id)
            return (await read_breakers(connection))[key]

        breaker = await in_transaction(self._engine, work)
        for bell in self._bells.values():
            bell.set()
        return delivery_pb2.ResetCircuitBreakerResponse(circuit_breaker=_breaker(key, breaker))

    async def GetLedger(
        self, request: delivery_pb2.GetLedgerRequest, context: Context
    ) -> delivery_pb2.GetLedgerResponse:
        """The books of a span."""
        return await self._ledger.get(request)

    async def ListMailbox(
        self, request: delivery_pb2.ListMailboxRequest, context: Context
    ) -> delivery_pb2.ListMailboxResponse:
        """A page of the local mailbox, newest first."""
        _user_goes_with_bank(request.user_id, request.partner_id)
        size = size_of(request.page_size)
        channel = channel_of(request.channel) if request.channel else None
        async with self._engine.connect() as connection:
            found = await list_mailbox(
                connection, request.partner_id, request.user_id, channel, size + 1, place_of(request.page_token)
            )
        more = token_of(found[size - 1].created_at, found[size - 1].id) if len(found) > size else ""
        return delivery_pb2.ListMailboxResponse(messages=[_kept(one) for one in found[:size]], next_page_token=more)

    async def FindUnknownCallbacks(
        self, request: delivery_pb2.FindUnknownCallbacksRequest, context: Context
    ) -> delivery_pb2.FindUnknownCallbacksResponse:
        """Those of the callbacks asked for that never arrived."""
        ids = [UUID(id_) for id_ in request.callback_ids]
        async with self._engine.connect() as connection:
            known = await known_callbacks(connection, ids)
        return delivery_pb2.FindUnknownCallbacksResponse(
            unknown_callback_ids=[str(id_) for id_ in ids if id_ not in known]
        )


def _user_goes_with_bank(user_id: int, partner_id: int) -> None:
    if user_id and not partner_id:
        raise invalid_field("user_id", "goes with partner_id")


def _delivery(row: store.StoredDelivery, attempts: Sequence[store.StoredAttempt] = ()) -> delivery_pb2.Delivery:
    return delivery_pb2.Delivery(
        id=str(row.id),
        partner_id=row.partner_id,
        user_id=row.user_id,
        purpose=purpose_to_proto(row.purpose),
        notification_id=str(row.notification_id or ""),
        channel=channel_to_proto(row.channel),
        destination=destination_shown(row),
        work_class=class_to_proto(row.work_class),
        status=state_to_proto(row.status),
        reason=reason_to_proto(row.reason),
        due_at=timestamp(row.due_at),
        expires_at=timestamp(row.expires_at),
        attempt=row.attempt,
        failures=row.failures,
        digest_id=str(row.merged_into or ""),
        provider=row.provider or "",
        provider_id=row.provider_id or "",
        error=row.error or "",
        segments=row.segments or 0,
        cost="" if row.cost is None else amount_text(row.cost),
        created_at=timestamp(row.created_at),
        sent_at=timestamp(row.sent_at),
        delivered_at=timestamp(row.delivered_at),
        failed_at=timestamp(row.failed_at),
        attempts=[attempt_to_proto(one) for one in attempts],
    )


def destination_shown(row: store.StoredDelivery) -> str:
    """Where it goes; of a person's address most is hidden."""
    return masked(row.destination) if row.channel in _PRIVATE else row.destination or ""


def attempt_to_proto(row: store.StoredAttempt) -> delivery_pb2.Attempt:
    """A call as the contract shows it."""
    outcome = f"ATTEMPT_OUTCOME_{(row.outcome or 'unspecified').upper()}"
    return delivery_pb2.Attempt(
        number=row.number,
        provider=row.provider,
        credential=row.credential,
        started_at=timestamp(row.started_at),
        finished_at=timestamp(row.finished_at),
        outcome=delivery_pb2.AttemptOutcome.Value(outcome),
        status_code=row.code or ("" if row.status_code is None else str(row.status_code)),
        answer=row.answer or "",
        possible_duplicate=row.possible_duplicate,
    )


def _breaker(key: BreakerKey, breaker: Breaker) -> delivery_pb2.CircuitBreaker:
    return delivery_pb2.CircuitBreaker(
        id=f"{key.provider}.{key.credential}",
        provider=key.provider,
        target=key.credential,
        state=delivery_pb2.CircuitBreakerState.Value(f"CIRCUIT_BREAKER_STATE_{breaker.state.upper()}"),
        since=timestamp(breaker.since),
        failures=breaker.failures,
        reason=breaker.reason,
        next_probe_at=timestamp(breaker.next_probe_at),
    )


def _kept(one: Kept) -> delivery_pb2.MailboxMessage:
    return delivery_pb2.MailboxMessage(
        id=str(one.id),
        partner_id=one.partner_id,
        user_id=one.user_id,
        delivery_id=str(one.delivery_id),
        attempt=one.attempt,
        channel=channel_to_proto(one.entry.channel),
        recipient=one.entry.destination,
        subject=one.entry.subject,
        text=one.entry.text,
        html=one.entry.html,
        stored_at=timestamp(one.created_at),
    )
