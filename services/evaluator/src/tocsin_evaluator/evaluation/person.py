"""Evaluating one user, or one alert, because a person asks or has just created or edited it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.ledger import Ledger
from tocsin_evaluator.evaluation.run import Moment, fire_in
from tocsin_evaluator.evaluation.scope import Scope
from tocsin_evaluator.kinds import KINDS, REGISTRY
from tocsin_evaluator.kinds.kind import Kind
from tocsin_evaluator.model.alerts import Outcome
from tocsin_evaluator.model.facts import Trace
from tocsin_evaluator.model.tally import Tally
from tocsin_evaluator.model.words import CLASS_OF, KindName, Way
from tocsin_evaluator.store import firings
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox


@dataclass(frozen=True)
class PersonEvaluation:
    """Evaluations in the way `user`."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    outbox: Outbox
    max_age: timedelta

    async def of_user(self, partner_id: int, user_id: int, trace: Trace) -> dict[KindName, Tally]:
        """Evaluate all of a user's alerts, in the registry's order."""
        moment = Moment(self.clock.now(), Way.USER, self.max_age, trace)
        where = {"of_partner": partner_id, "of_user": user_id}
        return await self._run(REGISTRY, Scope.USER, moment, where)

    async def after_edit(self, partner_id: int, alert_id: int, kind: KindName, trace: Trace, *, silent: bool) -> None:
        """Evaluate an alert once after it was created or edited. `silent`: its condition is new, so milestones a
        goal has reached are recorded as passed."""
        moment = Moment(self.clock.now(), Way.USER, self.max_age, trace, silent=silent, any_hour=True)
        await self._run([KINDS[kind]], Scope.ALERT, moment, {"of_partner": partner_id, "of_alert": alert_id})

    async def of_alert(self, partner_id: int, alert_id: int, kind: KindName, trace: Trace) -> Outcome:
        """Evaluate an alert now; its firings, or the reason why it did not fire (None: not true)."""
        moment = Moment(self.clock.now(), Way.USER, self.max_age, trace)
        where = {"of_partner": partner_id, "of_alert": alert_id}
        tally = (await self._run([KINDS[kind]], Scope.ALERT, moment, where))[kind]
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
        self.outbox.wrote(CLASS_OF[Way.USER], sum(tally.fired for tally in tallies.values()))
        self.ledger.count(Way.USER, tallies)
        return tallies
