"""How much waits in the outbox, for the gauges."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin_evaluator.store.queue import outbox_rows
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics

#: How often gauges are refreshed (operations page, "Metrics").
REFRESH = timedelta(seconds=10)


class OutboxMeter:
    """Gauges the outbox."""

    def __init__(self, metrics: Metrics, engine: AsyncEngine, outbox: Outbox, clock: Clock) -> None:
        self._metrics, self._engine, self._outbox, self._clock = metrics, engine, outbox, clock

    async def refresh(self) -> datetime | None:
        """Set the gauges. Answers None: gauges are no work that a simulation waits for."""
        now = self._clock.now()
        async with self._engine.connect() as connection:
            waiting = await outbox_rows(connection)
            oldest = await self._outbox.oldest(connection)
        self._metrics.queue_depth.labels("outbox.evaluator").set(waiting)
        age = (now - oldest).total_seconds() if oldest is not None else 0.0
        self._metrics.outbox_oldest.labels("evaluator").set(max(0.0, age))
        return None
