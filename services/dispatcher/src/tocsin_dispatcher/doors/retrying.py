"""Operators have deliveries tried again: one, or all that fit a filter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tocsin.notifications.v1 import delivery_pb2
from tocsin_dispatcher.doors.vocabulary import channel_of, state_of
from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.planning.expiry import LIFETIMES
from tocsin_dispatcher.store import deliveries as store
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.inboxes import lock_inboxes
from tocsin_dispatcher.values import Channel, Purpose
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.loops import Bell
from tocsin_kit.rpc.caller import current_caller
from tocsin_kit.rpc.errors import invalid_field, not_found, state_conflict

_MOST = 1_000
_AT_ONCE = 100
_NEW_LIFE: timedelta = LIFETIMES[Purpose.ALERT]


@dataclass(frozen=True)
class RetryRpcs:
    """`bells` wakes a channel's lane."""

    engine: Engine
    bells: Mapping[Channel, Bell]
    clock: Clock
    ids: Ids

    async def one(self, key: DeliveryKey) -> store.StoredDelivery:
        """Make a failed or expired one due again. Raises not_found, state_conflict."""
        now, subject = self.clock.now(), current_caller().subject

        async def work(connection: Connection) -> store.StoredDelivery:
            found = await store.get_delivery(connection, key)
            if found is None:
                raise not_found("delivery")
            # as intake does: what one message tells, no other begins to tell meanwhile
            await lock_inboxes(connection, [UserKey(key.partner_id, found[0].user_id)])
            retried = await store.retry_delivery(connection, key, now, now + _NEW_LIFE)
            if retried is None:
                raise state_conflict("only a failed or expired delivery can be tried again, no code and no digest")
            await store.note(connection, self.ids.uuid7(), now, subject, "retry_delivery", key.partner_id, str(key.id))
            return retried

        row = await in_transaction(self.engine, work)
        self._wake([row.channel])
        return row

    async def failed(
        self, request: delivery_pb2.RetryFailedDeliveriesRequest
    ) -> delivery_pb2.RetryFailedDeliveriesResponse:
        """Make those that fit due again, a piece at a time: what is done stays done. Raises invalid_field."""
        wanted, left, retried = _wanted(request, self.clock.now()), request.limit or _MOST, 0
        while left and (done := await self._piece(wanted, min(left, _AT_ONCE))):
            retried, left = retried + done, left - done
        async with self.engine.connect() as connection:
            more = bool(await store.ended_badly(connection, wanted, 1))
        return delivery_pb2.RetryFailedDeliveriesResponse(retried=retried, more=more)

    async def _piece(self, wanted: store.EndedBadly, size: int) -> int:
        now, subject = self.clock.now(), current_caller().subject

        async def work(connection: Connection) -> list[store.StoredDelivery]:
            found = await store.ended_badly(connection, wanted, size)
            if not found:
                return []
            await lock_inboxes(connection, [user for _, user in found])
            # One by one: of two that tell one purchase, the second finds the first.
            tried = [await store.retry_delivery(connection, key, now, now + _NEW_LIFE) for key, _ in sorted(found)]
            rows = [row for row in tried if row is not None]
            about = f"{len(rows)} deliveries"
            await store.note(
                connection, self.ids.uuid7(), now, subject, "retry_failed_deliveries", wanted.partner_id, about
            )
            return rows

        rows = await in_transaction(self.engine, work)
        self._wake(row.channel for row in rows)
        return len(rows)

    def _wake(self, channels: Iterable[Channel]) -> None:
        for channel in set(channels) & self.bells.keys():
            self.bells[channel].set()


def _wanted(request: delivery_pb2.RetryFailedDeliveriesRequest, now: datetime) -> store.EndedBadly:
    since = request.failed_since.ToDatetime(UTC)
    until = request.failed_until.ToDatetime(UTC) if request.HasField("failed_until") else now + timedelta.resolution
    if since >= until:
        raise invalid_field("failed_since", "must lie before `failed_until`")
    return store.EndedBadly(
        since=since,
        until=until,
        partner_id=request.partner_id or None,
        channel=channel_of(request.channel) if request.channel else None,
        status=state_of(request.status),
        provider=request.provider or None,
        error=request.error.strip() or None,
    )
