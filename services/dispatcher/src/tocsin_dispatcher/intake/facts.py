"""Two deliveries that would tell the same purchase: settled before they are written, as the unique key demands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.planning.same_fact import settle
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.taking_in import FactKey, NewDelivery
from tocsin_dispatcher.values import Delivery, Displace, Firing, Merge, SameFact

_LIVING = frozenset(DeliveryState) - {
    DeliveryState.SUPPRESSED,
    DeliveryState.MERGED,
    DeliveryState.EXPIRED,
    DeliveryState.FAILED,
}


@dataclass
class Settlement:
    """What is to be written, and which stored deliveries give way to a new one."""

    new: dict[UUID, NewDelivery] = field(default_factory=dict)
    displaced: dict[DeliveryKey, UUID] = field(default_factory=dict)


def fact_of(delivery: Delivery) -> FactKey | None:
    """The fact that a planned delivery would tell; None where it tells none, or tells nobody."""
    if delivery.fact_key is None or delivery.status not in _LIVING:
        return None
    return FactKey(UserKey(delivery.partner_id, delivery.user_id), delivery.channel, delivery.fact_key)


def settle_facts(
    planned: Sequence[tuple[Firing, Delivery]], telling: Mapping[FactKey, SameFact]
) -> tuple[list[NewDelivery], list[tuple[DeliveryKey, UUID]]]:
    """Decide for each planned delivery, in order, whether it speaks, merges or displaces.

    `telling` are the stored deliveries that tell these facts already. Answers the deliveries to write, and the
    stored ones to merge into new ones.
    """
    outcome, speaking = Settlement(), dict(telling)
    for firing, delivery in planned:
        _settle_one(outcome, speaking, firing, delivery)
    return list(outcome.new.values()), list(outcome.displaced.items())


def _settle_one(outcome: Settlement, speaking: dict[FactKey, SameFact], firing: Firing, delivery: Delivery) -> None:
    fact = fact_of(delivery)
    other = None if fact is None else speaking.get(fact)
    decision = None if other is None else settle(firing.critical, other)
    if isinstance(decision, Merge):
        outcome.new[delivery.id] = _merged(delivery, decision.into)
        return
    if isinstance(decision, Displace):
        _displace(outcome, delivery, decision.other)
    alone = decision is not None and not isinstance(decision, Displace)
    outcome.new[delivery.id] = NewDelivery(replace(delivery, fact_key=None) if alone else delivery)
    if fact is not None and not alone:
        speaking[fact] = SameFact(delivery.id, delivery.status, firing.critical, firing.daily_digest)


def _merged(delivery: Delivery, into: UUID) -> NewDelivery:
    return NewDelivery(replace(delivery, status=DeliveryState.MERGED, reason=Reason.MERGED), into)


def _displace(outcome: Settlement, delivery: Delivery, other: UUID) -> None:
    """`other` is one of this batch, not written yet, or a stored one."""
    if other in outcome.new:
        outcome.new[other] = _merged(outcome.new[other].delivery, delivery.id)
    else:
        outcome.displaced[DeliveryKey(delivery.partner_id, other)] = delivery.id
