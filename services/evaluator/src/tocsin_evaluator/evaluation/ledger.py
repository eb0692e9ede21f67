"""The evaluation ledger: per minute, kind and way, what was evaluated, what was true, what fired, and why not.

It adds up in memory and is written in batches; kill -9 may lose what is not written. It is a meter, not the truth.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.model.tally import NOTHING, Tally
from tocsin_evaluator.model.words import KindName, Way
from tocsin_evaluator.store.ledger import Line, add_lines
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.telemetry.metrics import Metrics

#: The latest that what was counted is written.
LATEST = timedelta(seconds=10)
#: How often an ingest transaction takes the ledger along at most: a row a minute and kind, not a row a call.
ALONG = timedelta(seconds=1)


class Ledger:
    """Counts in memory and writes."""

    def __init__(self, engine: AsyncEngine, clock: Clock, replica: str, metrics: Metrics, bell: Bell) -> None:
        self._engine, self._clock, self._replica, self._metrics, self._bell = engine, clock, replica, metrics, bell
        self._pending: dict[tuple[datetime, KindName, Way], Tally] = {}
        self._since: datetime | None = None

    def count(self, way: Way, tallies: Mapping[KindName, Tally]) -> None:
        """Add what a committed evaluation came to."""
        now = self._clock.now()
        minute = now.replace(second=0, microsecond=0)
        for kind, tally in tallies.items():
            if not tally.evaluated:
                continue
            key = (minute, kind, way)
            self._pending[key] = self._pending.get(key, NOTHING) + tally
            self._metrics.alerts_evaluated.labels(kind, "true").inc(tally.fired)
            self._metrics.alerts_evaluated.labels(kind, "false").inc(tally.evaluated - tally.fired)
        if self._pending and self._since is None:
            self._since = now
            self._bell.set()

    def take_along(self) -> list[Line]:
        """What an ingest transaction is to write too: what is old enough. Give it to `written` or `not_written`."""
        if self._since is None or self._clock.now() - self._since < ALONG:
            return []
        return self._take()

    def not_written(self, lines: list[Line]) -> None:
        """The transaction that took these along failed: count them again."""
        for line in lines:
            key = (line.minute, line.kind, line.way)
            self._pending[key] = self._pending.get(key, NOTHING) + line.tally
        if self._pending and self._since is None:
            self._since = self._clock.now()
            self._bell.set()

    async def round(self) -> datetime | None:
        """Write what has waited long enough; answers when the next is due."""
        if self._since is not None and self._since + LATEST <= self._clock.now():
            await self.flush()
        return None if self._since is None else self._since + LATEST

    async def flush(self) -> None:
        """Write everything now."""
        lines = self._take()
        if not lines:
            return

        async def work(connection: AsyncConnection) -> None:
            await add_lines(connection, lines)

        try:
            await in_transaction(self._engine, work)
        except BaseException:
            self.not_written(lines)
            raise

    def _take(self) -> list[Line]:
        lines = [Line(minute, kind, way, self._replica, tally) for (minute, kind, way), tally in self._pending.items()]
        self._pending, self._since = {}, None
        return sorted(lines, key=lambda line: (line.minute, line.kind, line.way))
