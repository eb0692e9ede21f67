"""Two deliveries that would tell the same purchase: settled before they are written, as the unique key demands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.planning.same_fact import settle
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.facts import FactKey
from tocsin_dispatcher.store.taking_in import NewDelivery
from tocsin_dispatcher.values import Delivery, Displace, Firing, GoAlone, Merge, SameFact

_LIVING = frozenset(DeliveryState) - {
    DeliveryState.SUPPRESSED,
    DeliveryState.MERGED,
    DeliveryState.EXPIRED,
    DeliveryState.FAILED,
}


@dataclass
class Settlement:
    """What is to be written, and which stored deliveries give way to a new one: merged into it where they wait, without
    their key to the fact where they have left."""

    new: dict[UUID, NewDelivery] = field(default_factory=dict)
    displaced: dict[DeliveryKey, UUID] = field(default_factory=dict)
    yielding: list[DeliveryKey] = field(default_factory=list)


def fact_of(delivery: Delivery) -> FactKey | None:
    """The fact that a planned delivery would tell; None where it tells none, or tells nobody."""
    if delivery.fact_key is None or delivery.status not in _LIVING:
        return None
    user = UserKey(delivery.partner_id, delivery.user_id)
    return FactKey(user, delivery.channel, delivery.fact_key, delivery.destination_id)


def settle_facts(planned: Sequence[tuple[Firing, Delivery]], telling: Mapping[FactKey, SameFact]) -> Settlement:
    """Decide for each planned delivery, in order, whether it speaks, merges or displaces.

    `telling` are the stored deliveries that tell these facts already.
    """
    outcome, speaking = Settlement(), dict(telling)
    for firing, delivery in planned:
        _settle_one(outcome, speaking, firing, delivery)
    return outcome


def _settle_one(outcome: Settlement, speaking: dict[FactKey, SameFact], firing: Firing, delivery: Delivery) -> None:
    fact = fact_of(delivery)
    other = None if fact is None else speaking.get(fact)
    decision = None if other is None else settle(firing.critical, other)
    if isinstance(decision, Merge):
        outcome.new[delivery.id] = _merged(delivery, decision.into)
        return
    if isinstance(decision, Displace):
        _displace(outcome, delivery, decision.other)
    if isinstance(decision, GoAlone):
        outcome.yielding.append(DeliveryKey(delivery.partner_id, decision.other))
    outcome.new[delivery.id] = NewDelivery(delivery)
    if fact is not None:
        speaking[fact] = SameFact(delivery.id, delivery.status, firing.critical, firing.daily_digest)


def _merged(delivery: Delivery, into: UUID) -> NewDelivery:
    return NewDelivery(replace(delivery, status=DeliveryState.MERGED, reason=Reason.MERGED), into)


def _displace(outcome: Settlement, delivery: Delivery, other: UUID) -> None:
    """`other` is one of this batch, not written yet, or a stored one."""
    if other in outcome.new:
        outcome.new[other] = _merged(outcome.new[other].delivery, delivery.id)
    else:
        outcome.displaced[DeliveryKey(delivery.partner_id, other)] = delivery.id
