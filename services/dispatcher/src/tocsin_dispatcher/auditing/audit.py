"""The job `dispatch.audit`: the evaluator's books against ours, and ours against themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from tocsin_dispatcher.store.database import Engine, in_transaction
from tocsin_dispatcher.store.ledger import books, notification_minutes, oldest_gap, write_compared
from tocsin_dispatcher.values.minutes import Compared, Minute, compared
from tocsin_kit.clock import Clock
from tocsin_kit.messaging.jobs import JobFailure, JobOrder, Progress
from tocsin_kit.rpc.errors import TocsinError
from tocsin_kit.telemetry.metrics import Metrics

#: Younger minutes may still be on their way.
SETTLED_AFTER = timedelta(minutes=2)
#: How far back every audit looks; older gaps are looked at again until they heal, up to a day.
LOOKS_BACK = timedelta(hours=1)
_FURTHEST = timedelta(hours=23)
_PATIENCE = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)
_log = structlog.get_logger(__name__)


class Books(Protocol):
    """The evaluator's side."""

    async def summarise(self, partner_id: int, since: datetime, until: datetime) -> list[Minute]:
        """The firings of each minute that had some. Raises TocsinError."""
        ...

    async def republish(self, since: datetime, until: datetime) -> int:
        """Have the firings of a span sent again. Raises TocsinError."""
        ...


@dataclass(frozen=True)
class Audit:
    """Compares the books and has what is missing sent again."""

    engine: Engine
    evaluator: Books
    clock: Clock
    metrics: Metrics

    async def __call__(self, _order: JobOrder, progress: Progress) -> dict[str, int]:
        """Answers what was compared and found."""
        now = self.clock.now()
        until = (now - SETTLED_AFTER).replace(second=0, microsecond=0)
        async with self.engine.connect() as connection:
            oldest = await oldest_gap(connection)
        since = max(min(until - LOOKS_BACK, oldest or until), until - _FURTHEST)
        try:
            lines = await self._compare(since, until)
            republished = await self._republish([line for line in lines if not line.balanced])
        except TocsinError as error:
            raise JobFailure(f"the evaluator: {error}", retryable=error.retrying_can_help) from error
        await progress(1, 2)
        async with self.engine.connect() as connection:
            found = await books(connection, now - timedelta(days=1), now, _PATIENCE)
        gap = sum(line.missing for line in lines)
        self.metrics.ledger_gap.set(gap)
        counts = {
            "minutes": len(lines),
            "gap": gap,
            "republished": republished,
            "unplanned": found.unplanned,
            "lost": found.lost,
            "overdue": found.overdue,
            "orphans": found.orphans,
        }
        if gap or found.unplanned or found.lost or found.overdue or found.orphans:
            _log.error("books_do_not_balance", **counts)
        return counts

    async def _compare(self, since: datetime, until: datetime) -> list[Compared]:
        firings = await self.evaluator.summarise(0, since, until)
        async with self.engine.connect() as connection:
            notifications = await notification_minutes(connection, since, until)
        lines = compared(firings, notifications)
        now = self.clock.now()
        await in_transaction(self.engine, lambda connection: write_compared(connection, lines, now))
        return lines

    async def _republish(self, differing: Sequence[Compared]) -> int:
        return sum([await self.evaluator.republish(line.minute, line.minute + _MINUTE) for line in differing])
