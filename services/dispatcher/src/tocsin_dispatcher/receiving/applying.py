"""What receipts do to their deliveries' states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from opentelemetry.trace import Tracer

from tocsin_dispatcher.announcing import Announcer, DeliveryChange
from tocsin_dispatcher.changes import change_of
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.receiving.addresses import Addresses
from tocsin_dispatcher.receiving.matching import matched
from tocsin_dispatcher.receiving.steps import BEFORE_A_REPEAT, steps
from tocsin_dispatcher.states import LEFT, DeliveryState
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.fates import release_members
from tocsin_dispatcher.store.receipts import (
    mark_applied,
    move_deliveries,
    receipts_missed,
    receipts_waiting,
)
from tocsin_dispatcher.values import Channel, Delivery, Receipt, ReceiptEffect
from tocsin_kit.loops import Bell
from tocsin_kit.telemetry import names
from tocsin_kit.telemetry.propagation import context_of, link_to


@dataclass(frozen=True)
class Applied:
    """What receipts did, to be told when it is committed."""

    changes: Sequence[DeliveryChange]
    told: Sequence[tuple[Receipt, Delivery]]
    """The receipts whose delivery is known, and that as it was before."""

    @property
    def segments_sent(self) -> int:
        """Segments of the SMS of which they tell that they were sent; of others the attempt's answer has told it."""
        before = {about.id: about for _, about in self.told if about.status not in LEFT}
        sent = {change.delivery_id for change in self.changes if change.status in LEFT}
        return sum(about.segments or 0 for id_, about in before.items() if id_ in sent)


class Applier:
    """Applies receipts inside their transaction. `bells` wakes a channel's lane."""

    def __init__(self, announcer: Announcer, bells: Mapping[Channel, Bell], tracer: Tracer, address_key: bytes) -> None:
        self._announcer, self._bells, self._tracer = announcer, bells, tracer
        self._addresses = Addresses(address_key)

    async def apply(self, connection: Connection, receipts: Sequence[Receipt], now: datetime) -> Applied:
        """Apply receipts to their deliveries; after the commit give the answer to `wrote`.

        One whose delivery is not known waits, unless it is about an address only.
        """
        found = await matched(connection, receipts)
        await self._addresses.heed(connection, found, now)
        told = [(one, about) for one, about in found if about is not None]
        changes = await self._states(connection, told, now)
        await mark_applied(
            connection,
            [
                (one.provider, one.event_key, None if about is None else DeliveryKey(about.partner_id, about.id))
                for one, about in found
                if about is not None or (one.delivery_id is None and one.message_id is None)
            ],
            now,
        )
        await self._announcer.add(connection, changes, now)
        return Applied(changes, told)

    async def apply_waiting(
        self, connection: Connection, messages: Sequence[tuple[str, str]], now: datetime
    ) -> Applied:
        """Apply what overtook our own commit: receipts that waited for these messages (provider, its id)."""
        return await self.apply(connection, await receipts_waiting(connection, messages), now)

    async def apply_missed(self, connection: Connection, since: datetime, size: int, now: datetime) -> Applied:
        """Apply at most `size` receipts that came since then and were missed: each of the two transactions, the
        receipt's and its message's, had read before the other one committed."""
        return await self.apply(connection, await receipts_missed(connection, since, size), now)

    def wrote(self, applied: Applied) -> None:
        """It is committed: tell it, wake the lanes that have work now, and show each receipt in its delivery's trace,
        linked to the callback where that is known."""
        self._announcer.wrote(applied.changes)
        if applied.segments_sent:
            self._announcer.metrics.sms_segments.inc(applied.segments_sent)
        for channel in {change.channel for change in applied.changes if change.status is DeliveryState.PENDING}:
            if channel in self._bells:
                self._bells[channel].set()
        for receipt, delivery in applied.told:
            link = link_to(receipt.traceparent)
            self._tracer.start_span(
                f"receipt {receipt.provider}",
                context=context_of(delivery.traceparent, delivery.tracestate),
                links=[link] if link else [],
                attributes={names.DELIVERY_ID: str(delivery.id), names.OUTCOME: receipt.effect},
            ).end()

    async def _states(
        self, connection: Connection, told: Sequence[tuple[Receipt, Delivery]], now: datetime
    ) -> list[DeliveryChange]:
        by_delivery: dict[DeliveryKey, list[Receipt]] = {}
        known = {DeliveryKey(about.partner_id, about.id): about for _, about in told}
        for receipt, about in told:
            if _is_about(receipt, about):
                by_delivery.setdefault(DeliveryKey(about.partner_id, about.id), []).append(receipt)
        taken = {key: steps(known[key].status, by_delivery[key]) for key in sorted(by_delivery)}
        # The first step of each together, then the second of those that take one: no statement takes two.
        for together in zip_longest(*([_moved(key, *step) for step in walk] for key, walk in taken.items())):
            await move_deliveries(connection, [one for one in together if one is not None])
        ends = {key: walk[-1][0] for key, walk in taken.items() if walk}
        changes = [change_of(known[key], after, None, now) for key, after in ends.items()]
        failed = [key for key, after in ends.items() if after is DeliveryState.FAILED]
        released = await release_members(connection, failed, now)
        return changes + [change_of(delivery, DeliveryState.PENDING, None, now) for delivery in released]


#: A person had it tried again, or the gate holds it: what became of the attempt before is no news.
_DECIDED_SINCE = frozenset({DeliveryState.PENDING, DeliveryState.HELD})


def _is_about(receipt: Receipt, delivery: Delivery) -> bool:
    """Whether it speaks of the attempt that counts. An earlier one's failure is no news; its arrival is.

    That the provider has a message settles what is unknown, an earlier one's too. It keeps a repeat back only where it
    is the last one's and nobody (a person, the gate) has decided about the delivery since.
    """
    is_last = receipt.attempt in (None, delivery.attempt)
    if receipt.effect in (ReceiptEffect.BOUNCED, ReceiptEffect.FAILED) and delivery.status in _DECIDED_SINCE:
        return False
    if receipt.effect is ReceiptEffect.SENT and delivery.status in BEFORE_A_REPEAT:
        return is_last and delivery.status is DeliveryState.RETRYING
    return is_last or receipt.effect in (ReceiptEffect.SENT, ReceiptEffect.DELIVERED)


def _moved(
    key: DeliveryKey, step: DeliveryState, receipt: Receipt
) -> tuple[DeliveryKey, DeliveryState, str | None, datetime, str | None]:
    bad = step in (DeliveryState.FAILED, DeliveryState.BOUNCED)
    return key, step, receipt.message_id, receipt.at, receipt.detail if bad else None
