"""One batch brings each fact at most once to SQL: the newest by `as_of` wins, of equals the last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tocsin_evaluator.model.facts import Arrival, FactKey, Refused, key_of
from tocsin_evaluator.model.words import Refusal

ANOTHERS = Refused(Refusal.ID_BELONGS_TO_ANOTHER, "id", "this id belongs to another user")


@dataclass(frozen=True)
class Merged:
    """The arrivals that go on, by key, and those refused because the batch itself gives their id to another user."""

    arrivals: dict[FactKey, Arrival]
    refused: dict[int, Refused]


def contested(arrivals: Sequence[Arrival]) -> set[FactKey]:
    """The ids that the batch itself gives to several users."""
    first: dict[FactKey, int] = {}
    return {
        key for each in arrivals if first.setdefault(key := key_of(each.fact), each.fact.user_id) != each.fact.user_id
    }


def merged(arrivals: Sequence[Arrival], owners: Mapping[FactKey, int]) -> Merged:
    """Merge a batch; positions name its items. A contested id is its stored owner's (`owners`), or the first one's."""
    kept: dict[FactKey, Arrival] = {}
    refused: dict[int, Refused] = {}
    for position, arrival in enumerate(arrivals):
        key = key_of(arrival.fact)
        before = kept.get(key)
        owner = owners.get(key, arrival.fact.user_id if before is None else before.fact.user_id)
        if owner != arrival.fact.user_id:
            refused[position] = ANOTHERS
        elif before is None or arrival.fact.as_of >= before.fact.as_of:
            kept[key] = arrival
    return Merged(kept, refused)
