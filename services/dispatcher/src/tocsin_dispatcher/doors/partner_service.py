"""PartnerService: what a bank sets for its users."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc

from tocsin.notifications.v1 import partner_pb2, partner_pb2_grpc
from tocsin_dispatcher.doors.masks import written
from tocsin_dispatcher.doors.vocabulary import kind_of, kind_to_proto
from tocsin_dispatcher.store.choices import get_partner, put_partner
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.recipients import Defaults
from tocsin_dispatcher.values import PartnerChoices
from tocsin_kit.clock import Clock
from tocsin_kit.money import amount_text, parse_amount
from tocsin_kit.rpc.caller import current_caller

Context = grpc.aio.ServicerContext[Any, Any]
_WRITABLE = ("max_per_hour", "max_per_day", "sms_segments", "mandatory_kinds", "countries", "price_per_segment")


class PartnerServicer(partner_pb2_grpc.PartnerServiceServicer):
    """Reads and writes the caller's own bank's."""

    def __init__(self, engine: Engine, clock: Clock, defaults: Defaults) -> None:
        self._engine, self._clock, self._defaults = engine, clock, defaults

    async def GetPartnerSettings(
        self, request: partner_pb2.GetPartnerSettingsRequest, context: Context
    ) -> partner_pb2.GetPartnerSettingsResponse:
        """The settings, defaults filled in."""
        partner_id = current_caller().require_partner()
        async with self._engine.connect() as connection:
            found = await get_partner(connection, partner_id)
        return partner_pb2.GetPartnerSettingsResponse(partner_settings=self._to_proto(found))

    async def UpdatePartnerSettings(
        self, request: partner_pb2.UpdatePartnerSettingsRequest, context: Context
    ) -> partner_pb2.UpdatePartnerSettingsResponse:
        """Replace them, or change the fields named."""
        partner_id, now = current_caller().require_partner(), self._clock.now()
        paths = written(request.update_mask, _WRITABLE)

        async def work(connection: Connection) -> PartnerChoices:
            chosen = _changed(await get_partner(connection, partner_id), request.partner_settings, paths)
            await put_partner(connection, partner_id, chosen, now)
            return chosen

        chosen = await in_transaction(self._engine, work)
        return partner_pb2.UpdatePartnerSettingsResponse(partner_settings=self._to_proto(chosen))

    def _to_proto(self, choices: PartnerChoices) -> partner_pb2.PartnerSettings:
        settings = choices.settings(self._defaults.partner)
        return partner_pb2.PartnerSettings(
            max_per_hour=settings.max_per_hour,
            max_per_day=settings.max_per_day,
            sms_segments=settings.sms_segments,
            mandatory_kinds=[kind_to_proto(kind) for kind in sorted(settings.mandatory_kinds)],
            countries=settings.countries,
            price_per_segment=amount_text(settings.price_per_segment),
        )


def _changed(before: PartnerChoices, new: partner_pb2.PartnerSettings, paths: frozenset[str]) -> PartnerChoices:
    """The choices with the fields named taken from `new`; one that is unset there is chosen no longer."""
    values: dict[str, Any] = {}
    for name in ("max_per_hour", "max_per_day", "sms_segments"):
        if name in paths:
            values[name] = getattr(new, name) if new.HasField(name) else None
    if "mandatory_kinds" in paths:
        values["mandatory_kinds"] = frozenset(kind_of(kind) for kind in new.mandatory_kinds)
    if "countries" in paths:
        values["countries"] = tuple(new.countries)
    if "price_per_segment" in paths:
        given = new.HasField("price_per_segment")
        values["price_per_segment"] = parse_amount(new.price_per_segment, "price_per_segment") if given else None
    return replace(before, **values)
