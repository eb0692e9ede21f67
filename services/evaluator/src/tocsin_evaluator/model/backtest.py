"""What an alert would have told, as values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tocsin_evaluator.model.words import KindName, Reason


@dataclass(frozen=True)
class Window:
    """From one instant to another, both included."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class WouldFire:
    """A firing that would have been made, and how often a balance that stood was told again after it."""

    at: datetime
    key: str
    context: Mapping[str, str | int]
    repeats: int


@dataclass(frozen=True)
class Withheld:
    """An evaluation that was true and would not have fired."""

    at: datetime
    reason: Reason


@dataclass(frozen=True)
class Backtested:
    """What an alert would have told in a window. Both lists are newest first and hold the newest; counts are whole."""

    kind: KindName
    window: Window
    firings: Sequence[WouldFire] = ()
    withheld: Sequence[Withheld] = ()
    true: int = 0
    fired: int = 0
    repeats: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    sms_segments: int = 0
    missing_history: str = ""
    notes: Sequence[str] = ()

    @property
    def is_truncated(self) -> bool:
        """Whether a list leaves out older ones."""
        return len(self.firings) < self.fired or len(self.withheld) < self.reasons.total()
