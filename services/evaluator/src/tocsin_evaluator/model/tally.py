"""What an evaluation came to, in numbers that add up: evaluated = false + fired + reasons."""

from collections import Counter
from dataclasses import dataclass, field

from tocsin_evaluator.model.words import Reason


@dataclass(frozen=True)
class Tally:
    """Pairs of an alert and a fact, by what became of them."""

    evaluated: int = 0
    fired: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)

    @property
    def true(self) -> int:
        """How many came true: fired, or had a reason not to."""
        return self.fired + self.reasons.total()

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(self.evaluated + other.evaluated, self.fired + other.fired, self.reasons + other.reasons)


NOTHING = Tally()
