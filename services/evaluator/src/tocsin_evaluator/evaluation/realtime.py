"""Real time: facts come in, and what they make true fires in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.ledger import Ledger
from tocsin_evaluator.facts.intake import Intake, Taken
from tocsin_evaluator.model.facts import Arrival
from tocsin_evaluator.model.words import CLASS_OF, Way
from tocsin_evaluator.store.ledger import add_lines
from tocsin_kit.clock import Clock
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox


@dataclass(frozen=True)
class Realtime:
    """Runs intake transactions."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    outbox: Outbox
    intake: Intake

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
        self.outbox.wrote(CLASS_OF[Way.REALTIME], sum(tally.fired for tally in taken.tallies.values()))
        self.outbox.wrote_all(taken.profiles_told)
        self.ledger.count(Way.REALTIME, taken.tallies)
        return taken
