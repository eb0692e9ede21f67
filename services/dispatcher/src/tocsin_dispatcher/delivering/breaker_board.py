"""Circuit breakers: counted in this process, shared with the other replicas through the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from tocsin_dispatcher.breakers import Breaker, BreakerKey, Breakers, BreakerState
from tocsin_dispatcher.store.breaker_rows import read_breakers, write_breakers
from tocsin_dispatcher.store.database import Connection, Engine
from tocsin_dispatcher.values import Outcome
from tocsin_kit.clock import Clock
from tocsin_kit.telemetry.metrics import Metrics

#: How often the other replicas' breakers are looked at, beside once for each batch.
REFRESH = timedelta(seconds=1)

_LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class BreakerBoard:
    """The breakers of this process and what is still to be written of them."""

    def __init__(self, engine: Engine, clock: Clock, metrics: Metrics, keys: Iterable[BreakerKey]) -> None:
        self._engine, self._clock, self._metrics = engine, clock, metrics
        self._breakers = Breakers()
        self._known = set(keys)
        self._unwritten: dict[BreakerKey, Breaker] = {}

    def admit_first(self, chain: Sequence[BreakerKey]) -> BreakerKey | None:
        """The first of a chain of providers that a call may go to; the call must be recorded, or released."""
        now = self._clock.now()
        return next((key for key in chain if self._breakers.admit(key, now)), None)

    def may_pass_at(self, chain: Sequence[BreakerKey]) -> datetime:
        """When to ask again after none was admitted."""
        return self._breakers.may_pass_at(chain, self._clock.now())

    def release(self, keys: Iterable[BreakerKey]) -> None:
        """These admitted calls were not made after all."""
        for key in keys:
            self._breakers.release(key, self._clock.now())

    def record(self, key: BreakerKey, outcome: Outcome) -> None:
        """Count an outcome; a failure or change waits to be written with the outcomes."""
        changed = self._breakers.record(key, outcome.kind, self._clock.now(), outcome.answer)
        if changed is not None:
            self._unwritten[key] = changed
            self._show()

    async def write(self, connection: Connection) -> dict[BreakerKey, Breaker]:
        """Write what changed; after the commit give the answer to `wrote`."""
        changed = dict(self._unwritten)
        if changed:
            await write_breakers(connection, changed)
        return changed

    def wrote(self, changed: dict[BreakerKey, Breaker]) -> None:
        """These are committed."""
        for key, breaker in changed.items():
            if self._unwritten.get(key) is breaker:
                del self._unwritten[key]

    async def refresh(self) -> None:
        """Follow what the other replicas, or an operator, wrote."""
        async with self._engine.connect() as connection:
            written = await read_breakers(connection)
        for key, breaker in written.items():
            self._known.add(key)
            self._breakers.follow(key, breaker, self._clock.now())
        self._show()

    async def round(self) -> None:
        """As `refresh`, for a loop that looks every `REFRESH`."""
        await self.refresh()

    def _show(self) -> None:
        """The worst of each provider's breakers."""
        worst: dict[str, int] = {}
        for key in self._known:
            level = _LEVELS[self._breakers.of(key, self._clock.now()).state]
            worst[key.provider] = max(level, worst.get(key.provider, 0))
        for provider, level in worst.items():
            self._metrics.circuit_breaker_state.labels(provider).set(level)
