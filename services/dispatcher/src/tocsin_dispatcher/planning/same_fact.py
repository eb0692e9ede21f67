"""Two alerts about one purchase, same user, same channel: which delivery speaks.

Asked at intake, where the unique key on `fact_key` finds the other one, and by the gate before every attempt of one
that has given up that key.
"""

from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import Displace, GoAlone, Merge, SameFact, SameFactDecision

_WAITING = frozenset({DeliveryState.PENDING, DeliveryState.RETRYING, DeliveryState.HELD})


def settle(critical: bool, other: SameFact) -> SameFactDecision:
    """What becomes of a delivery (critical or not) when `other` lives already.

    It merges only into one that is leaving or has left and is at least as critical; a critical one displaces one that
    waits. Between two that are equal a held one gives way, and so does one that is about to be held for its daily
    digest: the message that can leave earlier speaks.
    """
    if other.status is DeliveryState.HELD or (other.status is DeliveryState.PENDING and other.daily_digest):
        return Displace(other.delivery_id) if critical >= other.critical else Merge(other.delivery_id)
    if other.critical >= critical:
        return Merge(other.delivery_id)
    return Displace(other.delivery_id) if other.status in _WAITING else GoAlone(other.delivery_id)
