"""The sweep: account thresholds, goals and spending targets, in slices that any replica takes.

It finds what no change announces: ended cooldowns, turned periods, missed work. A slice is three statements in one
transaction that also notes it as done, so a slice taken over fires nothing twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.ledger import Ledger
from tocsin_evaluator.evaluation.run import Moment, fire_in
from tocsin_evaluator.evaluation.scope import Scope
from tocsin_evaluator.facts.derived import derive
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.facts import Trace
from tocsin_evaluator.model.tally import Tally
from tocsin_evaluator.model.words import CLASS_OF, Way
from tocsin_evaluator.store import budgets, slices
from tocsin_evaluator.store.budgets import Derived
from tocsin_evaluator.store.people import known
from tocsin_evaluator.store.planning import plan_for_the_numbers_at_hand
from tocsin_evaluator.store.slices import Progress, Slice
from tocsin_kit.clock import Clock, Wake
from tocsin_kit.halves import in_halves
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.transient import is_data_error

#: How many alerts a slice holds, about.
SLICE_SIZE = 50_000
#: How long a replica may take for a slice before another takes it over.
LEASE = timedelta(minutes=1)
#: How often idle replicas look for slices.
LOOK = timedelta(seconds=1)
#: How long a run waits, in real time, before it looks again at slices other replicas work on.
_GLANCE = timedelta(milliseconds=200)
#: East of Greenwich the calendar is at most this far ahead of UTC.
_EARLIEST_ZONE = timedelta(hours=14)
_BUDGETS_AT_ONCE = 500
_log = structlog.get_logger(__name__)

Report = Callable[[int, int], Awaitable[None]]


@dataclass(frozen=True)
class Sweep:
    """Cuts runs and works on slices; one per replica, named `replica` in leases. `ended` rings at each slice's end."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    outbox: Outbox
    bell: Bell
    replica: str
    max_age: timedelta
    registry: Registry
    ended: Wake = field(default_factory=Wake)

    async def run(self, run_id: UUID, trace: Trace, report: Report) -> Progress:
        """Sweep everything: cut, work along with the other replicas until every slice is done, number the run."""
        await self._turn_budgets()
        await in_transaction(self.engine, lambda connection: self._cut(connection, run_id, trace))
        self.bell.set()
        reported = -1
        while True:
            self.ended.clear()
            worked = await self.one_slice()
            async with self.engine.connect() as connection:
                progress = await slices.progress(connection, run_id)
            if progress.done == progress.total:
                break  # which the job's own end tells
            if progress.done != reported:
                await report(progress.done, progress.total)
                reported = progress.done
            if not worked:
                await self._glance()
        now = self.clock.now()
        await in_transaction(self.engine, lambda connection: slices.finish(connection, run_id, now))
        return progress

    async def round(self) -> datetime | None:
        """Work on whatever slices are there."""
        while await self.one_slice():
            pass
        return None

    async def one_slice(self) -> bool:
        """Take a slice and sweep it; False where there is none to take."""
        now = self.clock.now()
        taken = await in_transaction(
            self.engine, lambda connection: slices.claim(connection, self.replica, now, now + LEASE)
        )
        if taken is None:
            return False
        await self.work_on(taken)
        return True

    async def work_on(self, taken: Slice) -> None:
        """Sweep a slice that this replica has claimed, unless another has taken it over."""
        tally = await in_transaction(self.engine, lambda connection: self._sweep(connection, taken))
        if tally is not None:
            self.outbox.wrote(CLASS_OF[Way.SWEEP], tally.fired)
            self.ledger.count(Way.SWEEP, {self.registry.by_name[taken.kind].name: tally})
        self.ended.set()

    async def _cut(self, connection: AsyncConnection, run_id: UUID, trace: Trace) -> None:
        for kind in self.registry.swept:
            await slices.cut(connection, run_id, kind.name, SLICE_SIZE, self.clock.now(), trace.traceparent)

    async def _sweep(self, connection: AsyncConnection, taken: Slice) -> Tally | None:
        """The slice's transaction; None where its lease was lost."""
        if not await slices.hold(connection, taken.id, self.replica):
            return None
        where = {"of_partner": taken.partner_id, "user_from": taken.user_from, "user_to": taken.user_to}
        moment = Moment(self.clock.now(), Way.SWEEP, self.max_age, Trace(taken.traceparent))
        kind = self.registry.by_name[taken.kind]
        tally = await fire_in(connection, kind, Scope.RANGE, moment, where, evaluated=taken.alerts)
        await slices.done(connection, taken.id, tally.fired, moment.at)
        return tally

    async def _glance(self) -> None:
        """Wait until this replica has ended a slice, or a moment of real time: so others work, whatever our clock."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GLANCE.total_seconds()):
                await self.ended.wait()

    async def _turn_budgets(self) -> None:
        """Sum derived budgets anew whose period has turned, in their owners' zones.

        One that cannot be summed is logged: it is not to keep everybody's alerts from being swept.
        """
        now = self.clock.now()
        async with self.engine.connect() as connection:
            turned = await budgets.turned(connection, (now + _EARLIEST_ZONE).date())

        async def work(part: Sequence[Derived]) -> None:
            await in_transaction(self.engine, lambda connection: _sum_anew(connection, part, now))

        for start in range(0, len(turned), _BUDGETS_AT_ONCE):
            for bad, error in await in_halves(turned[start : start + _BUDGETS_AT_ONCE], work, is_data_error):
                ids = {"partner_id": bad.partner_id, "budget_id": bad.id}
                _log.error("budget_cannot_be_summed", **ids, error=type(error).__name__)


async def _sum_anew(connection: AsyncConnection, turned: Sequence[Derived], now: datetime) -> None:
    await plan_for_the_numbers_at_hand(connection)
    people = await known(connection, {(each.partner_id, each.user_id) for each in turned})
    locked = await budgets.lock(connection, [each.key for each in turned])
    await derive(connection, locked, people, now)
