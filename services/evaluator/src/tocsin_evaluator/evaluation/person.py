"""Evaluating one user, or one alert, because a person asks or has just created or edited it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.ledger import Ledger
from tocsin_evaluator.evaluation.run import Moment, fire_in
from tocsin_evaluator.evaluation.scope import Scope
from tocsin_evaluator.kinds.kind import Kind
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.alerts import Outcome
from tocsin_evaluator.model.facts import NO_TRACE, Trace
from tocsin_evaluator.model.tally import Tally
from tocsin_evaluator.model.words import CLASS_OF, KindName, Way
from tocsin_evaluator.store import alerts, firings
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.transient import is_data_error

#: How old an edit is before it counts as left behind by whoever made it.
LEFT_BEHIND = timedelta(seconds=5)
_EDITS_AT_ONCE = 100
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PersonEvaluation:
    """Evaluations in the way `user`."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    outbox: Outbox
    max_age: timedelta
    registry: Registry

    async def of_user(self, partner_id: int, user_id: int, trace: Trace) -> dict[KindName, Tally]:
        """Evaluate all of a user's alerts, in the registry's order."""
        moment = Moment(self.clock.now(), Way.USER, self.max_age, trace)
        where = {"of_partner": partner_id, "of_user": user_id}
        return await self._run(self.registry.kinds, Scope.USER, moment, where)

    async def after_edit(self, partner_id: int, alert_id: int, kind: KindName, trace: Trace) -> None:
        """Evaluate an alert once after it was created or edited, unless that has been done.

        That it is to be done stands in its row: how (see `AfterEdit`) holds for whoever looks at the alert first.
        """
        moment = Moment(self.clock.now(), Way.USER, self.max_age, trace, any_hour=True)
        where = {"of_partner": partner_id, "of_alert": alert_id}

        async def work(connection: AsyncConnection) -> dict[KindName, Tally]:
            if not self.registry.by_name[kind].is_swept:
                await alerts.wait_for_facts(connection, partner_id, alert_id)
            if not await alerts.lock_to_evaluate(connection, partner_id, alert_id):
                return {}
            tally = await fire_in(connection, self.registry.by_name[kind], Scope.ALERT, moment, where)
            await alerts.note_evaluated(connection, partner_id, alert_id)
            return {kind: tally}

        self._count(await in_transaction(self.engine, work))

    async def finish_edits(self) -> datetime | None:
        """Evaluate the edits that whoever made them has not: the process, the call or the database went in between."""
        before = self.clock.now() - LEFT_BEHIND
        async with self.engine.connect() as connection:
            left = await alerts.left_to_evaluate(connection, before, _EDITS_AT_ONCE)
        for partner_id, alert_id, kind in left:
            await self._finish_edit(partner_id, alert_id, self.registry.by_name[kind].name)
        return self.clock.now() if len(left) == _EDITS_AT_ONCE else None

    async def _finish_edit(self, partner_id: int, alert_id: int, kind: KindName) -> None:
        """One of them. One whose figures fail the statement is logged and given up, or the others would wait for it."""
        try:
            await self.after_edit(partner_id, alert_id, kind, NO_TRACE)
        except Exception as error:
            if not is_data_error(error):
                raise
            _log.error("edit_cannot_be_evaluated", partner_id=partner_id, alert_id=alert_id, error=type(error).__name__)
            await in_transaction(
                self.engine, lambda connection: alerts.note_evaluated(connection, partner_id, alert_id)
            )

    async def of_alert(self, partner_id: int, alert_id: int, kind: KindName, trace: Trace) -> Outcome:
        """Evaluate an alert now; its firings, or the reason why it did not fire (None: not true)."""
        moment = Moment(self.clock.now(), Way.USER, self.max_age, trace)
        where = {"of_partner": partner_id, "of_alert": alert_id}
        tally = (await self._run([self.registry.by_name[kind]], Scope.ALERT, moment, where))[kind]
        if not tally.fired:
            return Outcome((), next(iter(tally.reasons), None))
        async with self.engine.connect() as connection:
            return Outcome(await firings.latest_ids(connection, partner_id, alert_id, tally.fired), None)

    async def _run(
        self, kinds: Sequence[Kind], scope: Scope, moment: Moment, where: dict[str, int]
    ) -> dict[KindName, Tally]:
        async def work(connection: AsyncConnection) -> dict[KindName, Tally]:
            return {kind.name: await fire_in(connection, kind, scope, moment, where) for kind in kinds}

        tallies = await in_transaction(self.engine, work)
        self._count(tallies)
        return tallies

    def _count(self, tallies: dict[KindName, Tally]) -> None:
        self.outbox.wrote(CLASS_OF[Way.USER], sum(tally.fired for tally in tallies.values()))
        self.ledger.count(Way.USER, tallies)
