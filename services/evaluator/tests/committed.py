"""What must have fired, by plain counting over what the writers of `writing.py` know to be committed."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from tocsin_evaluator.model.words import Direction

THRESHOLD = Decimal("500")


def is_beyond(balance: Decimal, direction: Direction) -> bool:
    """Whether a balance is on the side of the threshold that fires; equality is neither."""
    return balance < THRESHOLD if direction is Direction.BELOW else balance > THRESHOLD


@dataclass
class Crossings:
    """A threshold that fires once when it turns true, and again after it has turned false."""

    direction: Direction
    armed: bool = True
    fired: int = 0

    def sees(self, balance: Decimal) -> None:
        """The next balance was committed, and evaluated before the one after it."""
        beyond = is_beyond(balance, self.direction)
        self.fired += beyond and self.armed
        self.armed = not beyond


@dataclass
class Cooldowns:
    """A threshold that fires while it is true, once in so many ticks of the clock: the ticks in which it has."""

    direction: Direction
    ticks: int
    fired_in: list[int] = field(default_factory=list)

    def sees(self, balance: Decimal, tick: int) -> None:
        """In that tick the balance was this, and it was evaluated."""
        is_quiet = bool(self.fired_in) and tick < self.fired_in[-1] + self.ticks
        if is_beyond(balance, self.direction) and not is_quiet:
            self.fired_in.append(tick)


@dataclass
class Milestones:
    """A goal's percents: each is told once, of several at once the highest, and the others count as passed."""

    percents: Sequence[int]
    passed: set[int] = field(default_factory=set)
    told: list[int] = field(default_factory=list)

    def sees(self, current: Decimal, target: Decimal) -> None:
        """The next amount saved was committed."""
        new = {each for each in self.percents if current * 100 >= each * target} - self.passed
        if new:
            self.told.append(max(new))
        self.passed |= new


@dataclass
class Purchases:
    """One user's purchases: of each the ids of its forms, its amount without the sign, its day."""

    _made: list[tuple[Collection[int], Decimal, date]] = field(default_factory=list)

    def made(self, forms: Collection[int], amount: Decimal, on: date) -> None:
        """A purchase was committed in all its forms."""
        self._made.append((forms, amount, on))

    @property
    def spent(self) -> Decimal:
        """What they cost, each once."""
        return sum((amount for _, amount, _ in self._made), Decimal(0))

    @property
    def days(self) -> set[date]:
        """The days on which there was one."""
        return {on for _, _, on in self._made}

    def at_least(self, limit: Decimal) -> list[Collection[int]]:
        """The forms of each that cost at least so much."""
        return [forms for forms, amount, _ in self._made if amount >= limit]


def miscounted(told: Sequence[int], purchases: Sequence[Collection[int]]) -> dict[str, list[Collection[int]]]:
    """Where a purchase was not told exactly once by exactly one of its forms; empty is right."""
    times: dict[int, int] = defaultdict(int)
    for form in told:
        times[form] += 1
    known = {form for forms in purchases for form in forms}
    found: dict[str, list[Collection[int]]] = {
        "lost": [forms for forms in purchases if not any(times[form] for form in forms)],
        "doubled": [forms for forms in purchases if sum(times[form] for form in forms) > 1],
        "unknown": [[form] for form in times if times[form] and form not in known],
    }
    return {name: forms for name, forms in found.items() if forms}
