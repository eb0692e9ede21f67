"""How many slots of a lane one address may use: an endpoint that hangs must slow nobody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from tocsin_dispatcher.store.claims import SLOTS_OF_ONE
from tocsin_dispatcher.values import Delivery

_NO_CALLS = 1_000_000
"""More than any round claims."""


class Shares:
    """What a lane has in hand, by address.

    `refusing` are the addresses that would not be called now, their breakers being open: what is due there is claimed
    without a limit, for it is only put off.
    """

    def __init__(self, refusing: Callable[[], Iterable[UUID]]) -> None:
        self._refusing = refusing
        self._in_hand: Counter[UUID] = Counter()

    def took(self, deliveries: Sequence[Delivery]) -> None:
        """These are in hand now."""
        self._in_hand.update(delivery.destination_id for delivery in deliveries if delivery.destination_id)

    def left(self, deliveries: Sequence[Delivery]) -> None:
        """These are no longer."""
        for delivery in deliveries:
            if delivery.destination_id:
                self._in_hand[delivery.destination_id] -= 1
                if self._in_hand[delivery.destination_id] <= 0:
                    del self._in_hand[delivery.destination_id]

    def rooms(self) -> Mapping[UUID, int]:
        """How many more may be claimed of the addresses with another room than SLOTS_OF_ONE."""
        busy = {address: max(0, SLOTS_OF_ONE - count) for address, count in self._in_hand.items()}
        return busy | dict.fromkeys(self._refusing(), _NO_CALLS)
