"""What a receipt does: to its delivery's state, to the suppression list, to a preference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.announcing import Announcer, DeliveryChange
from tocsin_dispatcher.changes import change_of
from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.states import DeliveryState, is_allowed
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.fates import release_members
from tocsin_dispatcher.store.receipts import (
    lock_deliveries,
    mark_applied,
    move_deliveries,
    partners_knowing,
    receipts_waiting,
    switch_off,
)
from tocsin_dispatcher.store.suppressions import AddressKey, lift, suppress
from tocsin_dispatcher.values import AlertKind, Channel, Delivery, Receipt, ReceiptEffect
from tocsin_kit.telemetry.metrics import Metrics

_STATES = {
    ReceiptEffect.SENT: DeliveryState.SENT,
    ReceiptEffect.DELIVERED: DeliveryState.DELIVERED,
    ReceiptEffect.BOUNCED: DeliveryState.BOUNCED,
    ReceiptEffect.FAILED: DeliveryState.FAILED,
}


def state_after(status: DeliveryState, effects: Iterable[ReceiptEffect]) -> DeliveryState:
    """Where a delivery stands after these receipts, whatever their order: states never go back by arrival.

    A state that the step's own order leads through (sending, then sent, then bounced) is passed in one go.
    """
    for effect in sorted(effects, key=list(ReceiptEffect).index):
        wanted = _STATES.get(effect)
        if wanted is None or wanted is status:
            continue
        if is_allowed(status, wanted) or _leads_through_sent(status, wanted):
            status = wanted
    return status


def _leads_through_sent(before: DeliveryState, after: DeliveryState) -> bool:
    return is_allowed(before, DeliveryState.SENT) and is_allowed(DeliveryState.SENT, after)


class Applier:
    """Applies receipts inside their transaction."""

    def __init__(self, announcer: Announcer, metrics: Metrics, address_key: bytes) -> None:
        self._announcer, self._metrics, self._address_key = announcer, metrics, address_key

    async def apply(
        self, connection: Connection, matched: Sequence[tuple[Receipt, Delivery | None]], now: datetime
    ) -> list[DeliveryChange]:
        """Apply receipts to their deliveries, which are locked. Answers the changes, written to the outbox.

        One whose delivery is not known waits, unless it is about an address only.
        """
        await self._addresses(connection, matched, now)
        changes = await self._states(connection, [(one, about) for one, about in matched if about is not None], now)
        await mark_applied(
            connection,
            [
                (one.provider, one.event_key, None if about is None else DeliveryKey(about.partner_id, about.id))
                for one, about in matched
                if about is not None or (one.delivery_id is None and one.message_id is None)
            ],
            now,
        )
        await self._announcer.add(connection, changes, now)
        return changes

    async def apply_waiting(
        self, connection: Connection, messages: Sequence[tuple[DeliveryKey, str, str]], now: datetime
    ) -> list[DeliveryChange]:
        """Apply what overtook our own commit: receipts that waited for these messages of a provider."""
        waiting = await receipts_waiting(connection, messages)
        deliveries = await lock_deliveries(connection, [one.delivery for one in waiting])
        matched = [
            (Receipt(one.provider, one.event_key, ReceiptEffect(one.effect), one.at), deliveries.get(one.delivery))
            for one in waiting
        ]
        return await self.apply(connection, matched, now) if matched else []

    async def _states(
        self, connection: Connection, matched: Sequence[tuple[Receipt, Delivery]], now: datetime
    ) -> list[DeliveryChange]:
        by_delivery: dict[DeliveryKey, list[Receipt]] = {}
        known = {DeliveryKey(about.partner_id, about.id): about for _, about in matched}
        for receipt, about in matched:
            if _is_about(receipt, about):
                by_delivery.setdefault(DeliveryKey(about.partner_id, about.id), []).append(receipt)
        moved, changes, failed = [], [], []
        for key in sorted(by_delivery):
            before, receipts = known[key], by_delivery[key]
            after = state_after(before.status, [receipt.effect for receipt in receipts])
            if after is before.status:
                continue
            last = receipts[-1]
            bad = after in (DeliveryState.FAILED, DeliveryState.BOUNCED)
            moved += [
                (key, step, last.message_id, last.at, last.detail if bad else None)
                for step in _steps(before.status, after)
            ]
            changes.append(change_of(before, after, None, now))
            self._metrics.notifications_delivered.labels(before.channel, after).inc()
            if after is DeliveryState.FAILED:
                failed.append(key)
        for step in moved:
            await move_deliveries(connection, [step])
        released = await release_members(connection, failed, now)
        return changes + [change_of(delivery, DeliveryState.PENDING, None, now) for delivery in released]

    async def _addresses(
        self, connection: Connection, matched: Sequence[tuple[Receipt, Delivery | None]], now: datetime
    ) -> None:
        added: list[tuple[AddressKey, SuppressionCause]] = []
        lifted: list[tuple[AddressKey, SuppressionCause]] = []
        for receipt, about in matched:
            for key in await self._keys(connection, receipt, about):
                added += [(key, receipt.suppress)] if receipt.suppress else []
                lifted += [(key, receipt.lift)] if receipt.lift else []
            if receipt.switch_off is not None:
                switch = receipt.switch_off
                user = UserKey(switch.partner_id, switch.user_id)
                for kind in [switch.kind] if switch.kind else AlertKind:
                    await switch_off(connection, user, kind, switch.channel, now)
        await suppress(connection, added, "receipt", now)
        await lift(connection, lifted, now)

    async def _keys(self, connection: Connection, receipt: Receipt, about: Delivery | None) -> list[AddressKey]:
        """The address a receipt speaks of, for each partner it concerns; a number that wrote to us may be many's."""
        if not receipt.suppress and not receipt.lift:
            return []
        address = receipt.address or (about and about.destination)
        if not address:
            return []
        partner_id = receipt.partner_id if about is None else about.partner_id
        partners = [partner_id] if partner_id is not None else await partners_knowing(connection, address)
        return [_address_key(self._address_key, partner, receipt.channel, address) for partner in partners]


def _address_key(key: bytes, partner_id: int, channel: Channel, address: str) -> AddressKey:
    return AddressKey(partner_id, channel, address_hash(key, partner_id, channel, address))


def _is_about(receipt: Receipt, delivery: Delivery) -> bool:
    """Whether it speaks of the attempt that counts. An earlier one's failure is no news; its arrival is."""
    if receipt.attempt is None or receipt.attempt == delivery.attempt:
        return True
    return receipt.effect in (ReceiptEffect.SENT, ReceiptEffect.DELIVERED)


def _steps(before: DeliveryState, after: DeliveryState) -> list[DeliveryState]:
    """The steps the database allows from one to the other: at once, or through `sent`."""
    return [after] if is_allowed(before, after) else [DeliveryState.SENT, after]
