"""One alert's true evaluations of the past, in order, become firings: the rules of firing once, fact by fact.

The statement that fires (`firing.py`) has the alert's row and the occurrences to go by. Here both are what this walk
remembers of one alert that is new at the window's start.
"""

import json
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from tocsin_evaluator.kinds.kind import STALE_AFTER, Kind
from tocsin_evaluator.model.backtest import Backtested, Window, Withheld, WouldFire
from tocsin_evaluator.model.words import Reason

#: How many firings, and how many evaluations that would not have fired, are kept: the newest.
KEPT = 1000
#: A sweep comes by every so often: no balance is told again sooner.
_SWEEP_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class Hit:
    """A fact of the past that was true.

    `reason` is what the expressions say against it. `keys` are its occurrences, ascending where they are `percents`, of
    which the last is told. Of a kind guarded by its row: the end of the cooldown that a firing would start (None for
    a crossing), whether the fact before was true as well, and since when the next fact stands.
    """

    at: datetime
    reason: Reason | None
    keys: Sequence[str]
    percents: Sequence[int] | None
    context: str
    local_day: date
    in_digest: bool
    quiet_until: datetime | None
    held_before: bool
    next_at: datetime | None


class Deduplication:
    """Walks over an alert's hits, oldest first."""

    def __init__(self, kind: Kind, window: Window) -> None:
        self._kind, self._window = kind, window
        self._recorded: set[str] = set()
        self._quiet_until: datetime | None = None
        self._firings: deque[WouldFire] = deque(maxlen=KEPT)
        self._withheld: deque[Withheld] = deque(maxlen=KEPT)
        self._true = self._fired = self._repeats = self._texts = 0
        self._digest_days: set[date] = set()
        self._reasons: Counter[Reason] = Counter()

    def take(self, hit: Hit) -> None:
        """The next hit. One before the window counts for what was told by then, and no more."""
        if self._kind.guarded_by_its_row:
            self._take_guarded(hit)
        else:
            self._take_keyed(hit)

    def _take_keyed(self, hit: Hit) -> None:
        """An occurrence is told once; of several percents the highest, and the lower ones are recorded with it."""
        if hit.reason is not None:
            self._withhold(hit, hit.reason)
        elif hit.keys[-1] in self._recorded:
            self._withhold(hit, Reason.ALREADY_SENT)
        else:
            self._recorded.update(hit.keys)
            self._fire(hit)

    def _take_guarded(self, hit: Hit) -> None:
        """A crossing is told where it was not true before; else each time that the cooldown is over."""
        if hit.at < self._window.since:
            return
        if hit.reason is not None:
            self._withhold(hit, hit.reason)
        elif hit.quiet_until is None:
            if hit.held_before:
                self._withhold(hit, Reason.NOT_REARMED)
            else:
                self._fire(hit)
        else:
            self._cool_down(hit, hit.quiet_until)

    def _cool_down(self, hit: Hit, quiet_until: datetime) -> None:
        if self._quiet_until is not None and hit.at < self._quiet_until:
            self._withhold(hit, Reason.COOLDOWN)
        else:
            self._fire(hit)
            self._quiet_until = quiet_until
        every = max(quiet_until - hit.at, _SWEEP_EVERY)
        again = self._told_again(hit, self._quiet_until or quiet_until, every)
        if again and self._quiet_until is not None:
            self._quiet_until += again * every
            self._repeats += again
            self._texts += again
            self._firings[-1] = replace(self._firings[-1], repeats=self._firings[-1].repeats + again)

    def _told_again(self, hit: Hit, first: datetime, every: timedelta) -> int:
        """How often sweeps find a balance that stands: each time the cooldown is over, until the next balance is known
        (then that one is looked at) or this one is older than 48 hours, or the window is over.
        """
        last = min(hit.at + STALE_AFTER, self._window.until)
        times = (last - first) // every + 1
        if hit.next_at is not None:
            times = min(times, -((first - hit.next_at) // every))  # before it, not at it
        return max(0, times)

    def _fire(self, hit: Hit) -> None:
        if hit.at < self._window.since:
            return
        self._true += 1
        self._fired += 1
        if hit.in_digest:
            self._digest_days.add(hit.local_day)
        else:
            self._texts += 1
        context = json.loads(hit.context)
        if hit.percents is not None:
            context["percent"] = hit.percents[-1]
        self._firings.append(WouldFire(hit.at, hit.keys[-1], context, 0))

    def _withhold(self, hit: Hit, reason: Reason) -> None:
        if hit.at < self._window.since:
            return
        self._true += 1
        self._reasons[reason] += 1
        self._withheld.append(Withheld(hit.at, reason))

    def result(self, notes: Sequence[str]) -> Backtested:
        """What came of all hits."""
        return Backtested(
            kind=self._kind.name,
            window=self._window,
            firings=tuple(reversed(self._firings)),
            withheld=tuple(reversed(self._withheld)),
            true=self._true,
            fired=self._fired,
            repeats=self._repeats,
            reasons=self._reasons,
            sms_segments=self._texts + len(self._digest_days),
            notes=notes,
        )
