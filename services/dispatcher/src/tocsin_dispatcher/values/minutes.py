"""A minute's firings or notifications: how many, and the exclusive or over their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Minute:
    """The upper and lower 64 bits of the checksum are signed numbers."""

    minute: datetime
    count: int
    xor_high: int
    xor_low: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A minute in both books."""

    minute: datetime
    firings: int
    notifications: int
    balanced: bool

    @property
    def missing(self) -> int:
        """How many have no match in the other book, at least; one where only the ids differ. Mostly firings; after an
        old backup of the evaluator notifications."""
        return 0 if self.balanced else max(abs(self.firings - self.notifications), 1)


def compared(firings: Sequence[Minute], notifications: Sequence[Minute]) -> list[Compared]:
    """Each minute that either book has, in order."""
    ours, theirs = ({one.minute: one for one in book} for book in (notifications, firings))
    lines = []
    for minute in sorted(ours.keys() | theirs.keys()):
        have, want = ours.get(minute), theirs.get(minute)
        lines.append(Compared(minute, want.count if want else 0, have.count if have else 0, have == want))
    return lines
