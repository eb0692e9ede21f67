"""Real time: facts come in, and what they make true fires in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.ledger import Ledger
from tocsin_evaluator.facts.intake import Intake, Taken
from tocsin_evaluator.model.facts import Arrival, Trace
from tocsin_evaluator.model.words import CLASS_OF, Way
from tocsin_evaluator.store.ledger import add_lines
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics
from tocsin_kit.telemetry.propagation import link_to


@dataclass(frozen=True)
class Realtime:
    """Runs intake transactions."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    outbox: Outbox
    intake: Intake
    metrics: Metrics

    async def take_in(self, arrivals: Sequence[Arrival]) -> Taken:
        """One batch in one transaction, the ledger's waiting lines with it; whole or not at all."""
        lines = self.ledger.take_along()

        async def work(connection: AsyncConnection) -> Taken:
            taken = await self.intake.take_in(connection, arrivals, self.clock.now())
            await add_lines(connection, lines)
            return taken

        try:
            taken = await in_transaction(self.engine, work)
        except BaseException:
            self.ledger.not_written(lines)
            raise
        fired = sum(tally.fired for tally in taken.tallies.values())
        self._measure(arrivals, fired)
        self.outbox.wrote(CLASS_OF[Way.REALTIME], fired)
        self.outbox.wrote_all(taken.profiles_told)
        self.ledger.count(Way.REALTIME, taken.tallies)
        return taken

    def _measure(self, arrivals: Sequence[Arrival], fired: int) -> None:
        """Observe how long each firing took, counted from the batch's first arrival, and in whose trace that came."""
        if fired:
            first = min(arrivals, key=lambda each: each.at)
            took = (self.clock.now() - first.at).total_seconds()
            for _ in range(fired):
                self.metrics.fact_to_firing.observe(max(took, 0.0), _exemplar(first.trace))


def _exemplar(trace: Trace) -> dict[str, str] | None:
    """A trace's id as an exemplar; None when there is no trace or it is not kept."""
    link = link_to(trace.traceparent)
    if link is None or not link.context.trace_flags.sampled:
        return None
    return {"trace_id": f"{link.context.trace_id:032x}"}
