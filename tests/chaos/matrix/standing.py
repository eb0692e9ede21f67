"""Whether the work on a round's cells stands at its step, before the blow and after it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.matrix.answers import takes_it
from tests.chaos.matrix.barriers import Barrier
from tests.chaos.matrix.cells import Step
from tests.chaos.matrix.people import Person
from tests.chaos.matrix.records import Record
from tests.chaos.matrix.world import World

#: What is down at which step.
BARRIERS: Mapping[Step, Barrier] = {
    Step.INTAKE: Barrier.BEFORE_INTAKE,
    Step.TAKEN_IN: Barrier.COMMIT_OF_INTAKE,
    Step.CLAIMED: Barrier.BEFORE_ATTEMPT,
    Step.WRITTEN: Barrier.COMMIT_OF_ATTEMPT,
    Step.ANSWERED: Barrier.BEFORE_OUTCOME,
    Step.SETTLED: Barrier.COMMIT_OF_OUTCOME,
}
_OUTBOX = "SELECT count(*) FROM outbox"
_LEASED = """
SELECT count(*) FROM deliveries
 WHERE user_id = ANY($1::bigint[]) AND channel <> 'in_app' AND status = 'pending' AND leased_until IS NOT NULL
"""
_NOT_LOCKED = """
SELECT id FROM deliveries WHERE user_id = ANY($1::bigint[]) AND channel <> 'in_app' FOR NO KEY UPDATE SKIP LOCKED
"""
_BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tocsin_dispatcher'"


@dataclass(frozen=True)
class Standing:
    """Of a round's `people` in a `world`."""

    world: World
    people: Sequence[Person]
    step: Step

    async def reached(self) -> object:
        """True when the work on all of them stands at the step; else how far it is."""
        match self.step:
            case Step.NOWHERE | Step.NOT_POSTED | Step.AFTERWARDS:
                return True
            case Step.INTAKE | Step.TAKEN_IN:
                return await self._all_published() and await self._at_barrier(1)
            case Step.CLAIMED:
                return await self._at_barrier(self._lanes) and await self._leased()
            case Step.WRITTEN:
                return await self._at_barrier(self._lanes) and await self._locked()
            case Step.UNREAD | Step.TAKEN:
                return await self._called()
            case Step.ANSWERED | Step.SETTLED:
                return await self._called() and await self._at_barrier(self._lanes)

    async def dispatchers_gone(self) -> object:
        """True when PostgreSQL has ended what a killed dispatcher had begun."""
        [row] = await self.world.records.rows("dispatcher", _BACKENDS)
        return row[0] == 0 or f"{row[0]} connections of the dead"

    @property
    def _lanes(self) -> int:
        return len({person.cell.way.channel for person in self.people})

    @property
    def _users(self) -> list[int]:
        return [person.user_id for person in self.people]

    async def _all_published(self) -> bool:
        records = await self.world.records.of(self.people)
        [row] = await self.world.records.rows("evaluator", _OUTBOX)
        return all(record.fired for record in records.values()) and row[0] == 0

    async def _at_barrier(self, least: int) -> bool:
        return await self.world.barriers.standing(BARRIERS[self.step]) >= least

    async def _leased(self) -> bool:
        [row] = await self.world.records.rows("dispatcher", _LEASED, self._users)
        return bool(row[0] == len(self.people))

    async def _locked(self) -> bool:
        """Whether each delivery is in a transaction's hands."""
        free = await self.world.records.rows("dispatcher", _NOT_LOCKED, self._users)
        return not free and bool(await self._deliveries_are_there())

    async def _deliveries_are_there(self) -> bool:
        records = await self.world.records.of(self.people)
        return all(record.delivery(person.cell.way.channel) for person, record in records.items())

    async def _called(self) -> bool:
        calls, taken = await self.world.simulators.calls(sorted({person.cell.way for person in self.people}))
        to_be_taken = [person for person in self.people if self._is_taken_first(person)]
        return all(calls.get(person.recipient, 0) == 1 for person in self.people) and all(
            len(taken.get(person.recipient, ())) == 1 for person in to_be_taken
        )

    def _is_taken_first(self, person: Person) -> bool:
        if self.step is Step.UNREAD:
            return False
        return self.step is Step.TAKEN or takes_it(person.cell.way, person.cell.answer)


def stood(person: Person, record: Record) -> bool:
    """Whether the record, read while the dispatcher is dead, is that of a cell whose work was at its step."""
    delivery = record.delivery(person.cell.way.channel)
    match person.cell.step:
        case Step.NOWHERE | Step.NOT_POSTED | Step.AFTERWARDS:
            return True
        case Step.INTAKE:
            return not record.told and bool(record.fired)
        case Step.TAKEN_IN:
            return delivery is not None and not record.attempts
        case Step.CLAIMED:
            is_claimed = delivery is not None and delivery.leased_until is not None and delivery.status == "pending"
            return is_claimed and not record.attempts and not record.calls
        case Step.WRITTEN:
            return _in_doubt(record) and not record.calls
        case Step.UNREAD:
            return _in_doubt(record) and record.calls == 1 and not record.taken
        case Step.TAKEN:
            return _in_doubt(record) and len(record.taken) == 1
        case Step.ANSWERED:
            return _in_doubt(record) and record.calls == 1
        case Step.SETTLED:
            return len(record.attempts) == 1 and record.attempts[0].outcome is not None


def _in_doubt(record: Record) -> bool:
    """The attempt is written, and what came of it is not."""
    return len(record.attempts) == 1 and record.attempts[0].outcome is None
