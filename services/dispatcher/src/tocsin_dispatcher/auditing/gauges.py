"""What is measured every few seconds: queues, held and overdue deliveries, the outbox, the gap in the books.

All of it is read from the database, so that every replica shows the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.ledger import Waiting, gaps, late_deliveries, outbox_rows, waiting
from tocsin_dispatcher.values import Channel
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics

REFRESH = timedelta(seconds=10)
_OVERDUE = timedelta(minutes=1)
#: Channels whose deliveries wait for a worker; what is told in the app is there at once.
_QUEUED = tuple(channel for channel in Channel if channel is not Channel.IN_APP)


class Gauges:
    """Reads and shows them."""

    def __init__(self, engine: Engine, outbox: Outbox, metrics: Metrics, clock: Clock) -> None:
        self._engine, self._outbox, self._metrics, self._clock = engine, outbox, metrics, clock

    async def refresh(self) -> datetime | None:
        """One reading."""
        now = self._clock.now()
        async with self._engine.connect() as connection:
            rows = await waiting(connection, now)
            overdue = await late_deliveries(connection, now - _OVERDUE)
            unsent = await outbox_rows(connection)
            oldest = await self._outbox.oldest(connection)
            open_gaps = await gaps(connection)
        self._show_deliveries(rows, now)
        self._metrics.deliveries_overdue.set(overdue)
        self._metrics.queue_depth.labels("outbox.dispatcher").set(unsent)
        self._metrics.outbox_oldest.labels("dispatcher").set((now - oldest).total_seconds() if oldest else 0.0)
        self._metrics.ledger_gap.set(sum(gap.line.missing for gap in open_gaps))
        return None

    def _show_deliveries(self, rows: Sequence[Waiting], now: datetime) -> None:
        """A delivery is in its channel's queue when it is due: one that is held for the night, or whose worker has it,
        waits for nobody."""
        due: Counter[Channel] = Counter()
        held: Counter[str] = Counter()
        for row in rows:
            due[row.channel] += row.due
            if row.status is DeliveryState.HELD:
                held[row.reason] += row.count
        self._metrics.held_deliveries.clear()
        for reason, count in held.items():
            self._metrics.held_deliveries.labels(reason).set(count)
        for channel in _QUEUED:
            self._metrics.queue_depth.labels(f"deliveries.{channel}").set(due[channel])
        first = min((row.first_due_at for row in rows), default=now)
        self._metrics.oldest_overdue.set(max((now - first).total_seconds(), 0.0))
