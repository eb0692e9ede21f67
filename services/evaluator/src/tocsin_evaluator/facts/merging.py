"""One batch brings each fact at most once to SQL: the newest by `as_of` wins, of equals the last."""

from collections.abc import Sequence
from dataclasses import dataclass

from tocsin_evaluator.model.facts import Arrival, FactKey, Refused, key_of
from tocsin_evaluator.model.words import Refusal

ANOTHERS = Refused(Refusal.ID_BELONGS_TO_ANOTHER, "id", "this id belongs to another user")


@dataclass(frozen=True)
class Merged:
    """The arrivals that go on, by key, and those refused because the batch itself gives their id to another user."""

    arrivals: dict[FactKey, Arrival]
    refused: dict[int, Refused]


def merged(arrivals: Sequence[Arrival]) -> Merged:
    """Merge a batch; positions name its items."""
    kept: dict[FactKey, Arrival] = {}
    refused: dict[int, Refused] = {}
    for position, arrival in enumerate(arrivals):
        key = key_of(arrival.fact)
        before = kept.get(key)
        if before is None:
            kept[key] = arrival
        elif before.fact.user_id != arrival.fact.user_id:
            refused[position] = ANOTHERS
        elif arrival.fact.as_of >= before.fact.as_of:
            kept[key] = arrival
    return Merged(kept, refused)
