"""What a simulation comes to: the one line of JSON it ends with, and whether that is a success."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tocsin_devstack.reading import Books
from tocsin_devstack.scenario import Kind
from tocsin_devstack.server import Account


@dataclass(frozen=True)
class Summary:
    """Facts: all accepted, history included. Firings, notifications, deliveries: made within the days.

    Lost: firings without a notification, and planned deliveries in no final or waiting state. Duplicated: calls a
    provider accepted beyond one per delivery, and notifications beyond one per firing. Refused: each call that a
    provider answered with an error of its own, with what was wrong.
    """

    facts: int
    firings: Mapping[Kind, int]
    notifications: int
    deliveries: Mapping[str, Mapping[str, int]]
    lost: int
    duplicated: int
    refused: tuple[str, ...]
    days: int
    took: timedelta

    @property
    def silent(self) -> tuple[Kind, ...]:
        """Kinds that never fired."""
        return tuple(kind for kind in Kind if not self.firings.get(kind))

    @property
    def complaint(self) -> str:
        """What failed, in a sentence; empty when nothing did."""
        failures = []
        if self.lost or self.duplicated:
            failures.append(f"{self.lost} lost, {self.duplicated} duplicated")
        if self.refused:
            failures.append(f"{len(self.refused)} calls refused as invalid, the first by {self.refused[0]}")
        if self.silent:
            failures.append(f"nothing from {', '.join(kind.value for kind in self.silent)}")
        return f"failed: {', '.join(failures)}" if failures else ""

    def as_json(self) -> Mapping[str, object]:
        """The keys that whoever runs the simulation reads."""
        return {
            "facts": self.facts,
            "firings": {kind.value: self.firings.get(kind, 0) for kind in Kind},
            "notifications": self.notifications,
            "deliveries": {
                channel: dict(sorted(counts.items())) for channel, counts in sorted(self.deliveries.items())
            },
            "lost": self.lost,
            "duplicated": self.duplicated,
            "days": self.days,
            "seconds": round(self.took.total_seconds(), 1),
        }


def summed_up(facts: int, books: Books, providers: Sequence[Account], days: int, took: timedelta) -> Summary:
    """The summary of the books and of what the simulated providers accepted."""
    return Summary(
        facts=facts,
        firings=books.firings,
        notifications=books.notifications,
        deliveries=books.deliveries,
        lost=books.lost,
        duplicated=books.surplus + sum(_accepted_twice(account, books.delivery_ids) for account in providers),
        refused=tuple(str(refusal) for account in providers for refusal in account.refused),
        days=days,
        took=took,
    )


def _accepted_twice(account: Account, deliveries: frozenset[str]) -> int:
    """Accepted calls beyond the first of each delivery; one for a delivery that is not in the books counts too."""
    known = {message.delivery_id for message in account.accepted} & deliveries
    return len(account.accepted) - len(known)
