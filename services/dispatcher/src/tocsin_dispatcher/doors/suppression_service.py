"""SuppressionService: addresses nothing is sent to, for banks and operators."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import grpc

from tocsin.notifications.v1 import suppression_pb2, suppression_pb2_grpc
from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.doors.notification_service import timestamp
from tocsin_dispatcher.doors.paging import place_of, size_of, token_of
from tocsin_dispatcher.doors.vocabulary import cause_of, cause_to_proto, channel_of, channel_to_proto
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.deliveries import note
from tocsin_dispatcher.store.suppression_list import (
    Filter,
    Listed,
    add_suppression,
    list_suppressions,
    remove_suppression,
)
from tocsin_dispatcher.store.suppressions import AddressKey
from tocsin_dispatcher.values import Channel
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids
from tocsin_kit.rpc.caller import Caller, current_caller, partner_of, required_partner_of
from tocsin_kit.rpc.errors import invalid_field, not_found

Context = grpc.aio.ServicerContext[Any, Any]


class SuppressionServicer(suppression_pb2_grpc.SuppressionServiceServicer):
    """Reads and changes a bank's list. No address comes back: only its keyed hash is stored."""

    def __init__(self, engine: Engine, clock: Clock, ids: Ids, address_key: bytes) -> None:
        self._engine, self._clock, self._ids, self._address_key = engine, clock, ids, address_key

    async def ListSuppressions(
        self, request: suppression_pb2.ListSuppressionsRequest, context: Context
    ) -> suppression_pb2.ListSuppressionsResponse:
        """A page, newest first. Raises invalid_field for an address without a bank."""
        wanted, size = self._filter(request), size_of(request.page_size)
        async with self._engine.connect() as connection:
            found = await list_suppressions(connection, wanted, size + 1, place_of(request.page_token))
        more = token_of(found[size - 1].since, found[size - 1].id) if len(found) > size else ""
        return suppression_pb2.ListSuppressionsResponse(
            suppressions=[_to_proto(one) for one in found[:size]], next_page_token=more
        )

    async def AddSuppression(
        self, request: suppression_pb2.AddSuppressionRequest, context: Context
    ) -> suppression_pb2.AddSuppressionResponse:
        """Put an address on the list, and say so in the audit log."""
        caller, now = current_caller(), self._clock.now()
        partner_id = required_partner_of(caller, request.partner_id)
        key, cause = self._key(partner_id, request.address), cause_of(request.reason)

        async def work(connection: Connection) -> Listed:
            id_ = self._ids.uuid7()
            added = await add_suppression(connection, id_, key, cause, _source(caller), request.note.strip(), now)
            await self._note(connection, caller, "add_suppression", added.partner_id, added.id)
            return added

        added = await in_transaction(self._engine, work)
        return suppression_pb2.AddSuppressionResponse(suppression=_to_proto(added))

    async def RemoveSuppression(
        self, request: suppression_pb2.RemoveSuppressionRequest, context: Context
    ) -> suppression_pb2.RemoveSuppressionResponse:
        """Take one off the list, and say so in the audit log. Raises not_found."""
        caller, now, id_ = current_caller(), self._clock.now(), UUID(request.id)
        partner_id = required_partner_of(caller, request.partner_id)

        async def work(connection: Connection) -> None:
            if not await remove_suppression(connection, partner_id, id_, caller.subject, now):
                raise not_found("suppression")
            await self._note(connection, caller, "remove_suppression", partner_id, id_)

        await in_transaction(self._engine, work)
        return suppression_pb2.RemoveSuppressionResponse()

    def _filter(self, request: suppression_pb2.ListSuppressionsRequest) -> Filter:
        partner_id, key = partner_of(current_caller(), request.partner_id), None
        if request.address:
            if partner_id is None:
                raise invalid_field("address", "goes with partner_id")
            key = self._key(partner_id, request.address)
        channel = channel_of(request.channel) if request.channel else None
        return Filter(
            partner_id=partner_id,
            channel=channel if key is None else key.channel,
            cause=cause_of(request.reason) if request.reason else None,
            address_hash=None if key is None else key.address_hash,
            with_lifted=request.with_lifted,
        )

    def _key(self, partner_id: int, address: str) -> AddressKey:
        channel = Channel.EMAIL if "@" in address else Channel.SMS
        return AddressKey(partner_id, channel, address_hash(self._address_key, partner_id, channel, address))

    async def _note(self, connection: Connection, caller: Caller, action: str, partner_id: int, id_: UUID) -> None:
        now = self._clock.now()
        await note(connection, self._ids.uuid7(), now, caller.subject, action, partner_id, str(id_))


def _source(caller: Caller) -> str:
    return "operator" if caller.belongs_to_no_partner else "partner"


def _to_proto(one: Listed) -> suppression_pb2.Suppression:
    return suppression_pb2.Suppression(
        id=str(one.id),
        partner_id=one.partner_id,
        channel=channel_to_proto(one.channel),
        reason=cause_to_proto(one.cause),
        source=one.source,
        note=one.note,
        since=timestamp(one.since),
        lifted_at=timestamp(one.lifted_at),
        lifted_by=one.lifted_by,
    )
