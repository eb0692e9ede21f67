"""How many callbacks wait to be handed on, and for how long: refreshed while the gateway runs."""

from datetime import datetime, timedelta

from tocsin_gateway.store.ledger import CallbackLedger
from tocsin_kit.clock import Clock
from tocsin_kit.telemetry.metrics import Metrics

#: How often gauges are refreshed (operations page, "Metrics").
REFRESH = timedelta(seconds=10)


class Gauges:
    """Sets the outbox's gauges; its `refresh` is the round of a loop."""

    def __init__(self, metrics: Metrics, ledger: CallbackLedger, clock: Clock) -> None:
        self._metrics, self._ledger, self._clock = metrics, ledger, clock

    async def refresh(self) -> datetime | None:
        """Set them. Answers None: gauges are no work that a simulation waits for."""
        waiting, oldest = await self._ledger.waiting()
        age = (self._clock.now() - oldest).total_seconds() if oldest is not None else 0.0
        self._metrics.queue_depth.labels("outbox.gateway").set(waiting)
        self._metrics.outbox_oldest.labels("gateway").set(max(0.0, age))
        return None
