"""What is measured every few seconds: queues, held and overdue deliveries, the outbox."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.ledger import late_deliveries, waiting
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics

REFRESH = timedelta(seconds=10)
_OVERDUE = timedelta(minutes=1)


@dataclass(frozen=True)
class Gauges:
    """Reads and shows them."""

    engine: Engine
    outbox: Outbox
    metrics: Metrics
    clock: Clock

    async def refresh(self) -> datetime | None:
        """One reading."""
        now = self.clock.now()
        async with self.engine.connect() as connection:
            rows = await waiting(connection)
            overdue = await late_deliveries(connection, now - _OVERDUE)
            oldest = await self.outbox.oldest(connection)
        depth: Counter[str] = Counter()
        held: Counter[str] = Counter()
        for channel, status, reason, count in rows:
            depth[channel] += count
            if status is DeliveryState.HELD:
                held[reason] += count
        self.metrics.held_deliveries.clear()
        for reason, count in held.items():
            self.metrics.held_deliveries.labels(reason).set(count)
        for channel_name in ("email", "sms"):
            self.metrics.queue_depth.labels(f"deliveries.{channel_name}").set(depth[channel_name])
        self.metrics.deliveries_overdue.set(overdue)
        self.metrics.outbox_oldest.labels("dispatcher").set((now - oldest).total_seconds() if oldest else 0.0)
        return None
