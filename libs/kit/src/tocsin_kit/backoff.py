"""How long to wait before trying again. Retries are rows with a time; nobody sleeps through one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import Random


@dataclass(frozen=True)
class Backoff:
    """A fast phase `first`, `first` x `factor`, ... of `attempts` tries, then the slow phase at `cap`."""

    first: timedelta
    factor: float
    attempts: int
    cap: timedelta

    def delay(self, failures: int, random: Random) -> timedelta:
        """The wait after the `failures`-th failure (from 1), with a jitter uniform in [0.75, 1.25]."""
        if failures < 1:
            raise ValueError("a delay follows at least one failure")
        steady = self.cap if self.fast_phase_over(failures) else self.first * self.factor ** (failures - 1)
        return min(steady, self.cap) * random.uniform(0.75, 1.25)

    def fast_phase_over(self, failures: int) -> bool:
        """Whether as many tries as the fast phase has were made."""
        return failures >= self.attempts
