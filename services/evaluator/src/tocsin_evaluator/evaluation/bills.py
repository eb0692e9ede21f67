"""The bills run: every zone whose local time is past 06:00 and whose local day is not done yet.

What is done is recorded per (zone, day) in the transaction that does it, so outages, daylight saving and clocks that
step need no special case. An alert that slept through its zone's morning is looked at in the first run after that.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.due_days import renew_zone
from tocsin_evaluator.evaluation.ledger import Ledger
from tocsin_evaluator.evaluation.run import Moment, fire_in
from tocsin_evaluator.evaluation.scope import Scope
from tocsin_evaluator.kinds.upcoming_bill import KIND, MORNING
from tocsin_evaluator.model.facts import Trace
from tocsin_evaluator.model.tally import Tally
from tocsin_evaluator.model.words import CLASS_OF, Way
from tocsin_evaluator.store import alerts, bill_days
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox

#: How long ago a snooze may have ended to be looked at, in every run: later another morning has come, also where the
#: clock was set back. The occurrence's key makes the repeats harmless.
_WOKEN_WITHIN = timedelta(hours=25)

Report = Callable[[int, int], Awaitable[None]]


@dataclass(frozen=True)
class BillsRun:
    """Does the days that are due."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    outbox: Outbox
    max_age: timedelta

    async def run(self, job_id: UUID, trace: Trace, report: Report) -> tuple[int, Tally]:
        """Do every (zone, day) that is due, and what has woken; answers how many days it did and what came of all."""
        due = await self._due()
        total, days = await self._woken(trace), 0
        for number, (zone, day) in enumerate(due, start=1):
            tally = await self._one(zone, day, job_id, trace)
            if tally is not None:
                total, days = total + tally, days + 1
            await report(number, len(due))
        return days, total

    async def _due(self) -> list[tuple[str, date]]:
        now = self.clock.now()
        async with self.engine.connect() as connection:
            due = []
            for zone, local in await bill_days.local_times(connection, now):
                if local.time() >= MORNING and not await bill_days.is_done(connection, zone, local.date()):
                    due.append((zone, local.date()))
        return due

    async def _one(self, zone: str, day: date, job_id: UUID, trace: Trace) -> Tally | None:
        moment = self._now(trace)

        async def work(connection: AsyncConnection) -> Tally | None:
            if not await bill_days.claim(connection, zone, day, job_id, moment.at):
                return None
            await renew_zone(connection, zone, moment.at)
            live = await alerts.live_in_zone(connection, KIND.name, zone)
            return await fire_in(connection, KIND, Scope.ZONE, moment, {"of_zone": zone}, evaluated=live)

        tally = await in_transaction(self.engine, work)
        if tally is not None:
            self._count(tally)
        return tally

    async def _woken(self, trace: Trace) -> Tally:
        """Those whose snooze ended after the morning: their zone's day may have been done while they slept."""
        moment = self._now(trace)
        where = {"woken_since": moment.at - _WOKEN_WITHIN}
        tally = await in_transaction(
            self.engine, lambda connection: fire_in(connection, KIND, Scope.WOKEN, moment, where)
        )
        self._count(tally)
        return tally

    def _now(self, trace: Trace) -> Moment:
        return Moment(self.clock.now(), Way.BILLS, self.max_age, trace)

    def _count(self, tally: Tally) -> None:
        self.outbox.wrote(CLASS_OF[Way.BILLS], tally.fired)
        self.ledger.count(Way.BILLS, {KIND.name: tally})
