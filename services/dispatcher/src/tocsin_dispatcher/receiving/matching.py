"""Which delivery a receipt is about."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.fates import lock_before_ending
from tocsin_dispatcher.store.receipts import deliveries_of, lock_deliveries
from tocsin_dispatcher.values import Delivery, Receipt, ReceiptEffect


async def matched(connection: Connection, receipts: Sequence[Receipt]) -> list[tuple[Receipt, Delivery | None]]:
    """Each receipt with its delivery, locked: by our own ids, else by the provider's id or what of it precedes a dot.

    All are found before any is locked: first the inboxes of those that may fail, then the deliveries in key order.
    """
    keys = await _keys(connection, receipts)
    failing = {key for receipt, key in zip(receipts, keys, strict=True) if receipt.effect is ReceiptEffect.FAILED}
    await lock_before_ending(connection, [key for key in failing if key is not None])
    deliveries = await lock_deliveries(connection, [key for key in keys if key is not None])
    return [
        (receipt, None if key is None else deliveries.get(key)) for receipt, key in zip(receipts, keys, strict=True)
    ]


async def _keys(connection: Connection, receipts: Sequence[Receipt]) -> list[DeliveryKey | None]:
    nameless = [receipt for receipt in receipts if _own_key(receipt) is None and receipt.message_id]
    named: dict[tuple[str, str], DeliveryKey] = {}
    for provider in sorted({receipt.provider for receipt in nameless}):
        theirs = {name for one in nameless if one.provider == provider for name in _names(one)}
        found = await deliveries_of(connection, provider, sorted(theirs))
        named |= {(provider, name): key for name, key in found.items()}
    return [_own_key(receipt) or _first(named, receipt) for receipt in receipts]


def _own_key(receipt: Receipt) -> DeliveryKey | None:
    if receipt.partner_id is None or receipt.delivery_id is None:
        return None
    return DeliveryKey(receipt.partner_id, receipt.delivery_id)


def _first(named: dict[tuple[str, str], DeliveryKey], receipt: Receipt) -> DeliveryKey | None:
    names = ((receipt.provider, name) for name in _names(receipt))
    return next((named[name] for name in names if name in named), None)


def _names(receipt: Receipt) -> list[str]:
    """The message's id itself, then what precedes each of its dots, longest first."""
    parts = (receipt.message_id or "").split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
