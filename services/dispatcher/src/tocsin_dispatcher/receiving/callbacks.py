"""A batch of callbacks: receipts read, those that are new written and applied, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from opentelemetry.trace import Link, Tracer

from tocsin_dispatcher.announcing import Announcer, DeliveryChange
from tocsin_dispatcher.intake.dead_letters import DeadLetters, Letter
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.receipts.parse import Callback, receipts_of
from tocsin_dispatcher.receipts.unreadable import Unreadable
from tocsin_dispatcher.receiving.applying import Applier
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.receipts import (
    know_callbacks,
    lock_deliveries,
    lock_deliveries_of,
    write_receipts,
)
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import Delivery, Receipt
from tocsin_kit.clock import Clock
from tocsin_kit.halves import in_halves
from tocsin_kit.telemetry import names
from tocsin_kit.telemetry.propagation import context_of, link_to
from tocsin_kit.transient import is_data_error


@dataclass(frozen=True)
class Arrived:
    """A callback with its own message's trace."""

    callback: Callback
    traceparent: str | None


@dataclass(frozen=True)
class _Read:
    receipt: Receipt
    arrived: Arrived


class Callbacks:
    """Takes callbacks in. What cannot be read of one goes to the dead letters; the rest of it counts."""

    def __init__(
        self,
        engine: Engine,
        applier: Applier,
        announcer: Announcer,
        letters: DeadLetters,
        links: UnsubscribeLinks,
        clock: Clock,
        tracer: Tracer,
    ) -> None:
        self._engine, self._applier, self._announcer, self._letters = engine, applier, announcer, letters
        self._links, self._clock, self._tracer = links, clock, tracer

    async def take_in(self, arrived: Sequence[Arrived]) -> list[tuple[Arrived, Exception]]:
        """Take all in, each event once; answers those whose data cannot be stored."""
        return await in_halves(list(arrived), self._together, is_data_error)

    async def _together(self, arrived: Sequence[Arrived]) -> None:
        read: list[_Read] = []
        unreadable: list[Letter] = []
        for one in arrived:
            for part in receipts_of(one.callback, self._links):
                if isinstance(part, Unreadable):
                    unreadable.append(_letter(one.callback, part))
                else:
                    read.append(_Read(part, one))
        await self._letters.keep(unreadable)
        now = self._clock.now()
        changes, told = await in_transaction(
            self._engine, lambda connection: self._write(connection, arrived, read, now)
        )
        self._announcer.wrote(changes)
        for entry, delivery in told:
            self._trace(entry, delivery)

    async def _write(
        self, connection: Connection, arrived: Sequence[Arrived], read: Sequence[_Read], now: datetime
    ) -> tuple[list[DeliveryChange], list[tuple[_Read, Delivery]]]:
        callbacks = [(UUID(one.callback.id), one.callback.provider, one.callback.received_at) for one in arrived]
        await know_callbacks(connection, callbacks, now)
        new = await write_receipts(
            connection,
            [(one.receipt, UUID(one.arrived.callback.id), one.arrived.callback.received_at) for one in read],
        )
        fresh = [one for one in _once(read) if (one.receipt.provider, one.receipt.event_key) in new]
        deliveries = await _deliveries(connection, [one.receipt for one in fresh])
        matched = [(one.receipt, deliveries.get(_name(one.receipt))) for one in fresh]
        changes = await self._applier.apply(connection, matched, now)
        told = [(one, delivery) for one, (_, delivery) in zip(fresh, matched, strict=True) if delivery is not None]
        return changes, told

    def _trace(self, entry: _Read, delivery: Delivery) -> None:
        """The receipt's span belongs to the delivery's trace, and is linked to the callback's own."""
        link: Link | None = link_to(entry.arrived.traceparent)
        with self._tracer.start_as_current_span(
            f"receipt {entry.receipt.provider}",
            context=context_of(delivery.traceparent, delivery.tracestate),
            links=[link] if link else [],
            attributes={names.DELIVERY_ID: str(delivery.id), names.OUTCOME: entry.receipt.effect},
        ):
            return


def _letter(callback: Callback, part: Unreadable) -> Letter:
    return Letter("RECEIPTS", f"tocsin.receipts.{callback.provider}", callback.id, part.raw, part.why)


def _once(read: Sequence[_Read]) -> list[_Read]:
    return list({(one.receipt.provider, one.receipt.event_key): one for one in read}.values())


def _name(receipt: Receipt) -> tuple[str, str]:
    return receipt.provider, receipt.event_key


async def _deliveries(connection: Connection, receipts: Sequence[Receipt]) -> Mapping[tuple[str, str], Delivery]:
    """Each receipt's delivery: by our own ids, else by the provider's id or what of it precedes a dot."""
    keys = [
        DeliveryKey(receipt.partner_id, receipt.delivery_id)
        for receipt in receipts
        if receipt.partner_id is not None and receipt.delivery_id is not None
    ]
    ours = await lock_deliveries(connection, keys)
    found: dict[tuple[str, str], Delivery] = {}
    for receipt in receipts:
        if receipt.partner_id is not None and receipt.delivery_id is not None:
            delivery = ours.get(DeliveryKey(receipt.partner_id, receipt.delivery_id))
            if delivery is not None:
                found[_name(receipt)] = delivery
    for provider in sorted({receipt.provider for receipt in receipts}):
        left = [one for one in receipts if one.provider == provider and one.message_id and _name(one) not in found]
        candidates = [candidate for one in left for candidate in _prefixes(one.message_id or "")]
        theirs = await lock_deliveries_of(connection, provider, candidates)
        for one in left:
            named = next((theirs[name] for name in _prefixes(one.message_id or "") if name in theirs), None)
            if named is not None:
                found[_name(one)] = named
    return found


def _prefixes(message_id: str) -> list[str]:
    """The id itself, then what precedes each of its dots, longest first."""
    parts = message_id.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
