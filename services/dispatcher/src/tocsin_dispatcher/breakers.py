"""Circuit breakers: when a provider's credential is left alone, and how it is tried again.

`Breaker` is the state machine, a value; `Breakers` counts in this process, and follows what other replicas wrote.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tocsin_dispatcher.provider_text import shown
from tocsin_dispatcher.values import Outcome, OutcomeKind

FAILURES_IN_A_ROW = 5
WINDOW = 50
FAILURES_IN_WINDOW = 25
OPEN_FOR = timedelta(seconds=60)
SUCCESSES_TO_CLOSE = 2
PROBE_PAUSE = timedelta(seconds=1)
"""How soon to ask again while another delivery is the probe."""

_COUNTED = frozenset({OutcomeKind.TRANSIENT, OutcomeKind.UNKNOWN, OutcomeKind.ACCOUNT})
_WINDOW_BITS = (1 << WINDOW) - 1


class BreakerState(StrEnum):
    """Whether calls pass, as `breakers.state` stores it."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BreakerKey:
    """What one breaker guards: one credential of one provider, one webhook endpoint, one push service."""

    provider: str
    credential: str


@dataclass(frozen=True, slots=True)
class Breaker:
    """One breaker's state. Each method returns what it is afterwards."""

    state: BreakerState
    since: datetime
    failures: int = 0
    """In a row."""
    successes: int = 0
    """Of probes, while half-open."""
    recent: int = 0
    """The last calls as bits, 1 a failure, at most `WINDOW` of them."""
    next_probe_at: datetime | None = None
    probing: bool = False
    """A probe is under way."""
    reason: str = ""

    def admits(self, now: datetime) -> bool:
        """Whether a call may pass now; while open or half-open it is a probe, and one at a time."""
        if self.state is BreakerState.CLOSED:
            return True
        return not self.probing and (self.next_probe_at is None or now >= self.next_probe_at)

    def begun(self, now: datetime) -> "Breaker":
        """After a call that `admits` let pass has begun."""
        match self.state:
            case BreakerState.CLOSED:
                return self
            case BreakerState.OPEN:
                return replace(self, state=BreakerState.HALF_OPEN, since=now, successes=0, probing=True)
            case BreakerState.HALF_OPEN:
                return replace(self, probing=True)

    def ended(self, outcome: Outcome, now: datetime) -> "Breaker":
        """After a call's outcome. Transient, unknown and account count as failures, accepted as success; permanent and
        throttled are answers about the message, others about its address alone, and count as neither."""
        if _counts(outcome):
            return self._failed(outcome, now)
        settled = replace(self, probing=False) if self.probing else self
        return settled._succeeded(now) if outcome.kind is OutcomeKind.ACCEPTED else settled

    def _failed(self, outcome: Outcome, now: datetime) -> "Breaker":
        failures, recent = self.failures + 1, (self.recent << 1 | 1) & _WINDOW_BITS
        counted = replace(self, failures=failures, recent=recent)
        if self.state is BreakerState.OPEN:
            return counted
        too_many = failures >= FAILURES_IN_A_ROW or recent.bit_count() >= FAILURES_IN_WINDOW
        if too_many or outcome.kind is OutcomeKind.ACCOUNT or self.state is BreakerState.HALF_OPEN:
            return counted._opened(now, shown(outcome.answer))
        return counted

    def _opened(self, now: datetime, reason: str) -> "Breaker":
        return replace(
            self,
            state=BreakerState.OPEN,
            since=now,
            successes=0,
            next_probe_at=now + OPEN_FOR,
            probing=False,
            reason=reason,
        )

    def _succeeded(self, now: datetime) -> "Breaker":
        if self.state is BreakerState.OPEN:
            return self
        if self.state is BreakerState.HALF_OPEN:
            successes = self.successes + 1
            return replace(self, successes=successes) if successes < SUCCESSES_TO_CLOSE else closed(now)
        if not self.failures and not self.recent:
            return self
        return replace(self, failures=0, recent=self.recent << 1 & _WINDOW_BITS)


def _counts(outcome: Outcome) -> bool:
    """Whether it speaks against the provider."""
    return outcome.kind in _COUNTED and not outcome.about_address


def closed(since: datetime) -> Breaker:
    """A breaker that lets calls pass and has counted nothing yet."""
    return Breaker(BreakerState.CLOSED, since)


class Breakers:
    """The breakers of this process."""

    def __init__(self) -> None:
        self._breakers: dict[BreakerKey, Breaker] = {}

    def of(self, key: BreakerKey, now: datetime) -> Breaker:
        """The breaker's state; one never used is closed."""
        return self._breakers.get(key) or closed(now)

    def admit(self, key: BreakerKey, now: datetime) -> bool:
        """Whether a call may begin now; one that may is counted as begun, and its outcome must be `record`ed."""
        breaker = self.of(key, now)
        if not breaker.admits(now):
            return False
        self._put(key, breaker.begun(now))
        return True

    def release(self, key: BreakerKey, now: datetime) -> None:
        """An admitted call was not made after all."""
        self._put(key, replace(self.of(key, now), probing=False))

    def record(self, key: BreakerKey, outcome: Outcome, now: datetime) -> Breaker | None:
        """Count an outcome; the breaker when it is worth writing to the database (a failure or a change), else None."""
        before = self.of(key, now)
        after = before.ended(outcome, now)
        self._put(key, after)
        return after if _counts(outcome) or before.state is not after.state else None

    def _put(self, key: BreakerKey, breaker: Breaker) -> None:
        """One that has nothing to tell yet is not kept: there is one for every webhook endpoint."""
        if key in self._breakers or breaker != closed(breaker.since):
            self._breakers[key] = breaker

    def not_closed(self) -> list[BreakerKey]:
        """Those that are open or half-open."""
        return [key for key, breaker in self._breakers.items() if breaker.state is not BreakerState.CLOSED]

    def refusing(self, provider: str, now: datetime) -> list[str]:
        """The credentials of a provider whose breakers let no call pass now."""
        return [
            key.credential
            for key, breaker in self._breakers.items()
            if key.provider == provider and not breaker.admits(now)
        ]

    def may_pass_at(self, keys: Iterable[BreakerKey], now: datetime) -> datetime:
        """When to ask again for a delivery that none of these breakers admitted."""
        return min((_ask_again_at(self.of(key, now), now) for key in keys), default=now + PROBE_PAUSE)

    def follow(self, key: BreakerKey, written: Breaker, now: datetime) -> None:
        """Take over what another replica (or an operator's reset) wrote, where it is later than what is known here."""
        if written.since > self.of(key, now).since or key not in self._breakers:
            self._breakers[key] = written


def _ask_again_at(breaker: Breaker, now: datetime) -> datetime:
    if breaker.next_probe_at is None or breaker.next_probe_at <= now:
        return now + PROBE_PAUSE
    return breaker.next_probe_at
