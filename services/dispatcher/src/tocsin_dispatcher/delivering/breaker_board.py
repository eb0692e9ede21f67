"""When a provider may be called: breakers and paces, counted in this process, shared with the other replicas through
the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from types import MappingProxyType

from tocsin_dispatcher.breakers import Breaker, BreakerKey, Breakers, BreakerState
from tocsin_dispatcher.paces import Paces, Pause
from tocsin_dispatcher.store.breaker_rows import read_board, write_board
from tocsin_dispatcher.store.database import Connection, Engine, reads
from tocsin_dispatcher.values import Outcome, OutcomeKind
from tocsin_kit.clock import Clock
from tocsin_kit.telemetry.metrics import Metrics

#: How often the other replicas' breakers are looked at, beside once for each batch: all agree within a second.
REFRESH = timedelta(milliseconds=500)

#: How long after its end a pause still says how fast may be called.
_PAUSES_TELL = timedelta(hours=1)
#: How often is forgotten what is of no use any more.
_SWEEP = timedelta(minutes=1)

_LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


@dataclass(frozen=True, slots=True)
class AllOpen:
    """Every provider's breaker is open or being tried; `until` is when to ask again."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Paced:
    """The provider works, and takes no more for now; `until` is when to ask again."""

    until: datetime


@dataclass(frozen=True, slots=True)
class BoardChanges:
    """What was written of the board in a transaction."""

    breakers: Mapping[BreakerKey, Breaker]
    pauses: Mapping[BreakerKey, Pause]


class BreakerBoard:
    """The breakers and paces of this process, and what is still to be written of them.

    `paces` are calls a minute, by provider; `random` spreads pauses of which no end was told; `of_addresses` are the
    providers whose addresses each have a breaker; `rooms` are how many messages providers had better have in hand.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        metrics: Metrics,
        keys: Iterable[BreakerKey],
        paces: Mapping[str, int],
        random: Random,
        of_addresses: Sequence[str] = (),
        rooms: Mapping[BreakerKey, int] = MappingProxyType({}),
    ) -> None:
        self._reads, self._clock, self._metrics = reads(engine), clock, metrics
        self._breakers, self._paces = Breakers(), Paces(paces, random)
        self._known = set(keys)
        self._of_addresses, self._rooms = of_addresses, rooms
        self._calls: Counter[BreakerKey] = Counter()
        self._swept_at = clock.now()
        self._unwritten: dict[BreakerKey, Breaker] = {}
        self._unwritten_pauses: dict[BreakerKey, Pause] = {}

    def admit_first(self, chain: Sequence[BreakerKey], critical: bool) -> BreakerKey | AllOpen | Paced:
        """The first of a chain of providers that a call may go to; the call must be recorded, or released.

        An open breaker leaves the call to the next provider; one that only takes no more for now has it wait.
        """
        now = self._clock.now()
        for key in chain:
            if not self._breakers.of(key, now).admits(now):
                continue
            if not self._paces.admits(key, now, critical):
                return Paced(self.put_off(key, critical))
            self._begin(key, now)
            return key
        return AllOpen(self._breakers.may_pass_at(chain, now))

    def put_off(self, key: BreakerKey, critical: bool) -> datetime:
        """When one comes back that the provider does not take now, or the pace does not let leave."""
        return self._paces.put_off(key, self._clock.now(), critical)

    def _begin(self, key: BreakerKey, now: datetime) -> None:
        """A probe makes an open breaker half-open: that waits to be written with the attempt."""
        before = self._breakers.of(key, now).state
        self._breakers.admit(key, now)
        self._paces.take(key, now)
        self._calls[key] += 1
        if self._breakers.of(key, now).state is not before:
            self._note(key, self._breakers.of(key, now))

    def is_probing(self, chain: Sequence[BreakerKey]) -> bool:
        """Whether a provider of the chain is left alone or being tried: what it is asked to take is a probe."""
        now = self._clock.now()
        return any(self._breakers.of(key, now).state is not BreakerState.CLOSED for key in chain)

    def passed_over(self, chain: Sequence[BreakerKey]) -> frozenset[str]:
        """The providers of a chain that are left alone, or being tried, while another one of it takes calls."""
        now = self._clock.now()
        closed = {key for key in chain if self._breakers.of(key, now).state is BreakerState.CLOSED}
        return frozenset(key.provider for key in chain if key not in closed) if closed else frozenset()

    def room(self, chain: Sequence[BreakerKey]) -> int | None:
        """How many messages a chain had better have in hand for the provider that takes them now, beside those that
        are at others; None: any number."""
        now = self._clock.now()
        taking = next((key for key in chain if self._breakers.of(key, now).state is BreakerState.CLOSED), None)
        room = None if taking is None else self._rooms.get(taking)
        return None if room is None else room + sum(self._calls[key] for key in chain if key != taking)

    def refusing(self, provider: str) -> list[str]:
        """The credentials of a provider that would not be called now."""
        return self._breakers.refusing(provider, self._clock.now())

    def release(self, keys: Iterable[BreakerKey]) -> None:
        """These admitted calls were not made after all."""
        for key in keys:
            self._breakers.release(key, self._clock.now())
            self._paces.release(key, self._clock.now())
            self._ended(key)

    def record(self, key: BreakerKey, outcome: Outcome, begun: datetime) -> None:
        """Count the outcome of a call begun at `begun`; what others must know waits to be written with the outcomes."""
        self._ended(key)
        now = self._clock.now()
        changed = self._breakers.record(key, outcome, now)
        if changed is not None:
            self._note(key, changed)
        if outcome.kind is OutcomeKind.ACCEPTED:
            self._paces.accepted(key, begun)
        if outcome.ours:
            self._paces.release(key, now)
        elif outcome.kind is OutcomeKind.THROTTLED:
            pause = self._paces.refused(key, begun, now, outcome.not_before)
            self._unwritten_pauses |= {key: pause} if pause else {}

    def _ended(self, key: BreakerKey) -> None:
        self._calls[key] -= 1
        if self._calls[key] <= 0:
            del self._calls[key]

    def _note(self, key: BreakerKey, changed: Breaker) -> None:
        self._unwritten[key] = changed
        self._show()

    async def write(self, connection: Connection) -> BoardChanges:
        """Write what changed, after any deliveries (lock order); after the commit give the answer to `wrote`."""
        changes = BoardChanges(dict(self._unwritten), dict(self._unwritten_pauses))
        await write_board(connection, changes.breakers, changes.pauses)
        return changes

    def wrote(self, changes: BoardChanges) -> None:
        """These are committed."""
        for key, breaker in changes.breakers.items():
            if self._unwritten.get(key) is breaker:
                del self._unwritten[key]
        for key, pause in changes.pauses.items():
            if self._unwritten_pauses.get(key) is pause:
                del self._unwritten_pauses[key]

    async def refresh(self) -> None:
        """Follow what the other replicas, or an operator, wrote."""
        async with self._reads.connect() as connection:
            now = self._clock.now()
            written = await read_board(connection, self._breakers.not_closed(), now - _PAUSES_TELL)
        for key, (breaker, pause) in written.items():
            self._known.add(key)
            self._breakers.follow(key, breaker, now)
            if pause is not None:
                self._paces.follow(key, pause, now)
        if written:
            self._show()

    async def round(self) -> None:
        """As `refresh`, for a loop that looks every `REFRESH`."""
        await self.refresh()
        self._show()
        now = self._clock.now()
        if now >= self._swept_at + _SWEEP:
            self._swept_at = now
            self._paces.forget_idle(now)

    def _show(self) -> None:
        """The worst of each provider's breakers."""
        worst = dict.fromkeys(self._of_addresses, 0)
        for key in self._known:
            level = _LEVELS[self._breakers.of(key, self._clock.now()).state]
            worst[key.provider] = max(level, worst.get(key.provider, 0))
        for provider, level in worst.items():
            self._metrics.circuit_breaker_state.labels(provider).set(level)
