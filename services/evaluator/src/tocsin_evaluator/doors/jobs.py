"""The jobs this service does, by type."""

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin_evaluator.doors.traces import current_trace
from tocsin_evaluator.evaluation.bills import BillsRun
from tocsin_evaluator.evaluation.person import PersonEvaluation
from tocsin_evaluator.evaluation.sweep import Sweep
from tocsin_evaluator.upkeep import Keep, audit, retention
from tocsin_kit.clock import Clock
from tocsin_kit.messaging.jobs import Handler, JobFailure, JobOrder, Progress

_log = structlog.get_logger(__name__)


class Jobs:
    """Handlers for the jobs whose type begins with `evaluate`."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock,
        sweep: Sweep,
        bills: BillsRun,
        person: PersonEvaluation,
        keep: Keep,
    ) -> None:
        self._engine, self._clock, self._keep = engine, clock, keep
        self._sweep, self._bills, self._person = sweep, bills, person

    def handlers(self) -> dict[str, Handler]:
        """By job type."""
        return {
            "evaluate.periodic": self.periodic,
            "evaluate.bills": self.bills,
            "evaluate.user": self.user,
            "evaluate.audit": self.audit,
            "evaluate.retention": self.retention,
        }

    async def periodic(self, order: JobOrder, progress: Progress) -> dict[str, int]:
        """Sweep. The run is named by the job, so another attempt goes on where this one was."""
        done = await self._sweep.run(order.id, current_trace(), progress)
        return {"slices": done.total, "evaluated": int(done.alerts), "fired": int(done.fired)}

    async def bills(self, order: JobOrder, progress: Progress) -> dict[str, int]:
        """Do the zones whose morning has come."""
        days, tally = await self._bills.run(order.id, current_trace(), progress)
        return {"days": days, "evaluated": tally.evaluated, "fired": tally.fired}

    async def user(self, order: JobOrder, progress: Progress) -> dict[str, int]:
        """Evaluate one user."""
        try:
            partner_id, user_id = int(order.args["partner_id"]), int(order.args["user_id"])
        except (KeyError, ValueError):
            raise JobFailure("partner_id and user_id must be numbers", retryable=False) from None
        tallies = await self._person.of_user(partner_id, user_id, current_trace())
        evaluated = sum(tally.evaluated for tally in tallies.values())
        return {"evaluated": evaluated, "fired": sum(tally.fired for tally in tallies.values())}

    async def audit(self, order: JobOrder, progress: Progress) -> dict[str, int]:
        """Check the books."""
        found = await audit(self._engine, self._clock.now())
        if found.unbalanced or found.without_firing:
            _log.error("audit_found_gaps", unbalanced=found.unbalanced, without_firing=found.without_firing)
        return {
            "ledger_lines": found.ledger_lines,
            "unbalanced": found.unbalanced,
            "occurrences": found.occurrences,
            "without_firing": found.without_firing,
        }

    async def retention(self, order: JobOrder, progress: Progress) -> dict[str, int]:
        """Throw away what has lived long enough."""
        return await retention(self._engine, self._clock.now(), self._keep)
