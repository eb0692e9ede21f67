"""What others inside are told: that a delivery changed its state (DELIVERY_EVENTS), that an inbox changed (INBOX)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import FINAL, DeliveryState
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.values import Channel, WorkClass
from tocsin_kit.messaging.publisher import Outgoing
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics

_COUNTED = FINAL - {DeliveryState.MERGED}
"""A merged delivery follows the fate of the one it joined, which is counted."""


@dataclass(frozen=True, slots=True)
class DeliveryChange:
    """A delivery stands in a new state."""

    partner_id: int
    delivery_id: UUID
    user_id: int
    notification_id: UUID | None
    channel: Channel
    work_class: WorkClass
    status: DeliveryState
    reason: Reason | None
    attempt: int
    at: datetime
    traceparent: str | None
    tracestate: str | None


class TellInbox(Protocol):
    """Tells whoever listens right now that inboxes changed; nobody listening, or no broker, is no failure."""

    async def __call__(self, versions: Sequence[tuple[UserKey, int]]) -> None:
        """Each user's inbox stands at the version now."""
        ...


@dataclass(frozen=True)
class Announcer:
    """Writes delivery events to the outbox. `encode` is the door's: bytes are none of our business here."""

    outbox: Outbox
    encode: Callable[[DeliveryChange], Outgoing]
    metrics: Metrics

    async def add(self, connection: Connection, changes: Sequence[DeliveryChange], at: datetime) -> None:
        """Write `changes` in the caller's transaction; after its commit the caller calls `wrote`."""
        await self.outbox.add(connection, [self.encode(change) for change in changes], at)

    def wrote(self, changes: Sequence[DeliveryChange]) -> None:
        """`changes` are committed: wake their relays, and count what has ended."""
        for work_class in WorkClass:
            self.outbox.wrote(work_class, sum(change.work_class is work_class for change in changes))
        for change in changes:
            if change.status in _COUNTED:
                self.metrics.notifications_delivered.labels(change.channel, change.status).inc()
            if change.status is DeliveryState.SUPPRESSED:
                self.metrics.suppressed.labels(change.channel, change.reason).inc()
