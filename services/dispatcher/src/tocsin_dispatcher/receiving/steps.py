"""Where receipts lead a delivery, whatever their order: states never go back by arrival."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from tocsin_dispatcher.states import DeliveryState, is_allowed
from tocsin_dispatcher.values import Receipt, ReceiptEffect

_S = DeliveryState
_STATES = {
    ReceiptEffect.SENT: _S.SENT,
    ReceiptEffect.DELIVERED: _S.DELIVERED,
    ReceiptEffect.BOUNCED: _S.BOUNCED,
    ReceiptEffect.FAILED: _S.FAILED,
}
_AT_ONCE_OR_THROUGH_SENT: tuple[tuple[DeliveryState, ...], ...] = ((), (_S.SENT,))
_THROUGH_SENDING: tuple[tuple[DeliveryState, ...], ...] = (
    (_S.SENDING,),
    (_S.SENDING, _S.SENT),
    (_S.PENDING, _S.SENDING),
    (_S.PENDING, _S.SENDING, _S.SENT),
)
BEFORE_A_REPEAT = frozenset({_S.RETRYING, _S.PENDING, _S.HELD})


def steps(before: DeliveryState, receipts: Iterable[Receipt]) -> list[tuple[DeliveryState, Receipt]]:
    """The steps, each allowed after the one before it, with the receipt that each comes from.

    A delivery that waits to be sent once more, although a receipt says that the provider has its message, goes through
    `sending` as if the attempt had been answered just now: so the repeat never leaves.
    """
    taken: list[tuple[DeliveryState, Receipt]] = []
    state = before
    for receipt in sorted(receipts, key=_turn):
        wanted = _STATES.get(receipt.effect)
        if wanted is not None:
            taken += [(step, receipt) for step in _way(state, wanted)]
            state = taken[-1][0] if taken else before
    return taken


def _turn(receipt: Receipt) -> tuple[int, float]:
    return list(ReceiptEffect).index(receipt.effect), receipt.at.timestamp()


def _way(before: DeliveryState, after: DeliveryState) -> tuple[DeliveryState, ...]:
    """The states from one to the other, the last included; none where it is there already, or nothing leads there."""
    if before is after:
        return ()
    ways = _AT_ONCE_OR_THROUGH_SENT + (_THROUGH_SENDING if before in BEFORE_A_REPEAT else ())
    for between in ways:
        if all(is_allowed(*step) for step in pairwise((before, *between, after))):
            return (*between, after)
    return ()
