"""How fast a provider is called: as fast as is set, slower after it refused for too many calls.

`Pace` is a value; `Paces` are those of this process, which follow what other replicas wrote of a refusal.

A refusal (429) begins a pause until the provider's reset. After it half as many calls a minute leave as before, and a
quarter more with each minute, until the pace that is set holds again; where none is, until twice as many leave as
before the refusal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_kit.backoff import Backoff

_MINUTE = timedelta(minutes=1)
_SLOWEST = 60
"""Calls a minute that are left after a refusal, if no less is set."""
_GROWTH = 1.25
_RECOVERED = 4
"""So often the pace after a pause is twice the pace before it."""
_AHEAD = timedelta(seconds=1)
"""Calls of less than a second may leave together, for they leave in batches."""
_AHEAD_CRITICAL = timedelta(seconds=10)
"""Critical ones of so much may leave together: whatever waits, they go first."""
_UNTOLD = Backoff(timedelta(seconds=1), 2, 7, _MINUTE)
"""The pause after the first, second, ... refusal in a row that names no reset."""
LONGEST_PAUSE = timedelta(hours=1)
"""However far away the reset: one that is wrong does not stop a channel for good."""
LONGEST_SPREAD = timedelta(minutes=5)
"""So far ahead the waiting are spread: when the pace recovers, none waits much longer than it must."""


@dataclass(frozen=True, slots=True)
class Pause:
    """What a refusal comes to, as all replicas keep it."""

    until: datetime
    calls_a_minute: int
    """When it ends."""


@dataclass(frozen=True, slots=True)
class Pace:
    """One credential's pace in this process. Methods that change it return what it is afterwards."""

    configured: int | None = None
    """Calls a minute; None: as fast as the slots allow."""
    pause: Pause | None = None
    """The last one."""
    refused_at: datetime | None = None
    """When we heard of the refusal that began it."""
    refusals: int = 0
    """In a row."""
    next_at: datetime | None = None
    """When the next call is due by the pace."""
    spread_at: datetime | None = None
    """When the next one that is put off comes back."""
    minute: datetime | None = None
    """Since when `calls` are counted."""
    calls: int = 0
    calls_before: int = 0
    """In the minute before that."""

    def per_minute(self, now: datetime) -> int | None:
        """Calls a minute at `now`; None: no pace."""
        if self.pause is None:
            return self.configured
        minutes = min(max(0, (now - self.pause.until) // _MINUTE), 60)
        grown = int(self.pause.calls_a_minute * min(_GROWTH**minutes, _RECOVERED))
        recovered = self.configured or _RECOVERED * self.pause.calls_a_minute
        return grown if grown < recovered else self.configured

    def next_call(self, now: datetime) -> datetime:
        """When the next call may leave: now, after the pause, or when the pace allows."""
        return max(now, self.next_at or now, self.pause.until if self.pause else now)

    def admits(self, now: datetime, critical: bool = False) -> bool:
        """Whether a call may leave at `now`.

        A critical one waits for the end of a pause and for no other call: it takes the place of one that is due later.
        """
        if self.pause is not None and now < self.pause.until:
            return False
        ahead = _AHEAD_CRITICAL if critical else _AHEAD
        return self.per_minute(now) is None or self.next_at is None or self.next_at < now + ahead

    def taken(self, now: datetime) -> "Pace":
        """A call that `admits` let leave has begun."""
        counted, interval = self._counted(now), self._interval(now)
        next_at = None if interval is None else max(now, self.next_at or now) + interval
        return replace(counted, calls=counted.calls + 1, next_at=next_at)

    def returned(self, now: datetime) -> "Pace":
        """A call that was taken was not made after all."""
        interval = self._interval(now)
        next_at = self.next_at if interval is None or self.next_at is None else self.next_at - interval
        return replace(self, calls=max(0, self.calls - 1), next_at=next_at)

    def put_off(self, now: datetime, critical: bool) -> tuple[datetime, "Pace"]:
        """When one that may not leave at `now` comes back: a critical one for the next call, others behind each other
        as far as they are spread."""
        first, interval = self.next_call(now), self._interval(now)
        if critical or interval is None:
            return first, self
        at = self.spread_at
        if at is None or not first <= at < first + LONGEST_SPREAD:
            at = first
        return at, replace(self, spread_at=at + interval)

    def refused(self, begun: datetime, now: datetime, until: datetime | None, random: Random) -> "Pace":
        """A call begun at `begun` was refused until a reset (None, or one that has passed: until nobody knows when).

        What was under way when the pause began was refused for the same: it may make the pause longer, and no more.
        """
        told = min(until, now + LONGEST_PAUSE) if until is not None and until > now else None
        if self.pause is not None and self.refused_at is not None and begun <= self.refused_at:
            return self if told is None or told <= self.pause.until else self._paused(replace(self.pause, until=told))
        refusals = self.refusals + 1
        slowest = min(_SLOWEST, self.configured or _SLOWEST)
        pause = Pause(told or now + _UNTOLD.delay(refusals, random), max(slowest, self._last_minute(now) // 2))
        return replace(self._paused(pause), refused_at=now, refusals=refusals)

    def accepted(self, begun: datetime) -> "Pace":
        """A call begun at `begun` was taken: the next refusal is the first in a row."""
        after_refusal = self.refused_at is None or begun > self.refused_at
        return replace(self, refusals=0) if self.refusals and after_refusal else self

    def following(self, pause: Pause, now: datetime) -> "Pace":
        """Another replica was refused: its pause holds here where it ends later than ours."""
        if self.pause is not None and pause.until <= self.pause.until:
            return self
        return replace(self._paused(pause), refused_at=now)

    def is_idle(self, now: datetime) -> bool:
        """Whether nothing would be lost by beginning anew."""
        counts = self.minute is not None and now < self.minute + 2 * _MINUTE
        return self.pause is None and not counts and (self.next_at is None or self.next_at <= now)

    def _paused(self, pause: Pause) -> "Pace":
        return replace(self, pause=pause, next_at=pause.until, spread_at=None)

    def _interval(self, now: datetime) -> timedelta | None:
        """From one call to the next, by the pace that holds when the next one leaves."""
        pace = self.per_minute(self.next_call(now))
        return None if pace is None else _MINUTE / pace

    def _counted(self, now: datetime) -> "Pace":
        if self.minute is not None and now < self.minute + _MINUTE:
            return self
        follows = self.minute is not None and now < self.minute + 2 * _MINUTE
        return replace(self, minute=now, calls=0, calls_before=self.calls if follows else 0)

    def _last_minute(self, now: datetime) -> int:
        """About how many calls were made in the last minute: those counted, and a part of those before."""
        counted = self._counted(now)
        left = 1 - (now - (counted.minute or now)) / _MINUTE
        return counted.calls + int(counted.calls_before * left)


class Paces:
    """The paces of this process. `configured` are calls a minute, by provider."""

    def __init__(self, configured: Mapping[str, int], random: Random) -> None:
        self._configured, self._random = configured, random
        self._paces: dict[BreakerKey, Pace] = {}

    def of(self, key: BreakerKey) -> Pace:
        """The pace; of a credential never used as it is set."""
        return self._paces.get(key) or Pace(self._configured.get(key.provider))

    def admits(self, key: BreakerKey, now: datetime, critical: bool) -> bool:
        """Whether a call may leave now."""
        return self.of(key).admits(now, critical)

    def take(self, key: BreakerKey, now: datetime) -> None:
        """A call leaves."""
        self._paces[key] = self.of(key).taken(now)

    def release(self, key: BreakerKey, now: datetime) -> None:
        """It was not made after all."""
        self._paces[key] = self.of(key).returned(now)

    def put_off(self, key: BreakerKey, now: datetime, critical: bool) -> datetime:
        """When one comes back that may not leave now."""
        at, self._paces[key] = self.of(key).put_off(now, critical)
        return at

    def refused(self, key: BreakerKey, begun: datetime, now: datetime, until: datetime | None) -> Pause | None:
        """Note that a call was refused; the pause, where it is worth writing to the database."""
        before = self.of(key)
        after = self._paces[key] = before.refused(begun, now, until, self._random)
        return after.pause if after.pause != before.pause else None

    def accepted(self, key: BreakerKey, begun: datetime) -> None:
        """Note that a call was taken."""
        self._paces[key] = self.of(key).accepted(begun)

    def forget_idle(self, now: datetime) -> None:
        """Keep no more of those that were never refused and have made no call for a while."""
        idle = [key for key, pace in self._paces.items() if pace.is_idle(now)]
        for key in idle:
            del self._paces[key]

    def follow(self, key: BreakerKey, pause: Pause, now: datetime) -> None:
        """Take over what another replica wrote, where it is later."""
        self._paces[key] = self.of(key).following(pause, now)
