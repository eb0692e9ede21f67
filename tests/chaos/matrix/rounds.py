"""A round: orders, facts, the worker at its step, the blow, everything up again, and every cell at its end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from tests.chaos.matrix.answers import Fate, expected, orders
from tests.chaos.matrix.cells import Blow, Cell, Round, Step
from tests.chaos.matrix.judging import fate_of
from tests.chaos.matrix.people import Person
from tests.chaos.matrix.records import Record
from tests.chaos.matrix.standing import BARRIERS, Standing, stood
from tests.chaos.matrix.world import World
from tests.chaos.suite import SECOND_DISPATCHER
from tests.chaos.waiting import AT_ONCE, until
from tocsin_kit.clock import SystemClock

DISPATCHER = "dispatcher"
#: A breaker's minute, the probes after it, and the retries of what was tried.
_ENDS_WITHIN = timedelta(seconds=150)
#: How long a server that fell is away: longer than a transaction, or a message, is tried again at once.
_AWAY = timedelta(seconds=3)
#: Providers that have one breaker for everybody. Messages wait behind them in the rounds without a kill; in the others
#: an operator has closed them, so that what is tried is what the kill does.
_SHARED = frozenset(("sendgrid", "smtp", "twilio", "webpush"))
_LET_TWO_MINUTES_PASS = """
UPDATE deliveries SET due_at = due_at - interval '2 minutes'
 WHERE user_id = ANY($1::bigint[]) AND channel = 'sms' AND status = 'unknown' AND due_at > $2
"""


@dataclass
class Lived:
    """What a round leaves behind: who there was, and whose work was not at its step when the blow fell."""

    people: list[Person] = field(default_factory=list)
    missed: list[Person] = field(default_factory=list)
    unended: str = ""


async def live(world: World, one: Round, cells: Sequence[Cell]) -> Lived:
    """Live a round through, up to the end of each of its cells (or _ENDS_WITHIN)."""
    people = [Person(cell) for cell in cells]
    first = [person for person in people if person.cell.step is not Step.AFTERWARDS]
    others = [person for person in people if person.cell.step is Step.AFTERWARDS]
    await world.callers.close_breakers(_SHARED)
    await world.simulators.order([fault for person in people for fault in orders(person.cell, person.recipient)])
    missed = await _strike(world, one, first, others)
    lived = Lived(people, missed)
    if one.step is Step.INTAKE and one.blow is Blow.KILL:
        return lived  # the broker sends the firings again half a minute later; the next round covers that
    try:
        await until("all cells' ends", partial(_ended, world, people), limit=_ENDS_WITHIN)
    except AssertionError as waited:
        lived.unended = str(waited)
    return lived


async def _strike(world: World, one: Round, people: Sequence[Person], others: Sequence[Person]) -> list[Person]:
    """Have the work stand at the step, let the blow fall, have everything up again; who was not at the step."""
    if one.blow is Blow.NONE:
        await world.people.spend(people)
        return []
    if one.step is Step.NOT_POSTED:
        world.nats.kill()
        await world.people.spend(people)
        await _up_again(world, one.blow, others)
        return []
    if one.step is Step.TAKEN_IN:
        # All firings of a batch: they are there when the dispatcher comes.
        world.processes.kill_nine(DISPATCHER)
        await world.people.spend(people)
    standing = Standing(world, people, one.step)
    async with world.barriers.down(BARRIERS.get(one.step)):
        if one.step is Step.TAKEN_IN:
            world.processes.start(DISPATCHER)
        else:
            await world.people.spend(people)
        await until(f"the work {one.step}", standing.reached, every=AT_ONCE)
        if one.blow is Blow.KILL_ONE_OF_TWO:
            await world.begin_a_second_dispatcher()
        _fall(world, one.blow)
    missed = await _missed(world, one.blow, standing)
    await _up_again(world, one.blow, others)
    return missed


def _fall(world: World, blow: Blow) -> None:
    match blow:
        case Blow.KILL | Blow.KILL_ONE_OF_TWO:
            world.processes.kill_nine(DISPATCHER)
        case Blow.KILL_NATS:
            world.nats.kill()
        case Blow.RESTART_NATS:
            world.nats.stop()
        case Blow.KILL_POSTGRES:
            world.postgres.kill()
        case Blow.RESTART_POSTGRES:
            world.postgres.stop()
        case Blow.NONE:
            pass


async def _missed(world: World, blow: Blow, standing: Standing) -> list[Person]:
    """Those whose work was not at the step; it can be seen where all workers are dead."""
    if blow is not Blow.KILL:
        return []
    await until("the dead to be gone", standing.dispatchers_gone)
    records = await world.records.of(standing.people)
    return [person for person, record in records.items() if not stood(person, record)]


async def _up_again(world: World, blow: Blow, others: Sequence[Person]) -> None:
    match blow:
        case Blow.KILL:
            world.processes.start(DISPATCHER)
            await world.wait_ready(DISPATCHER)
        case Blow.KILL_ONE_OF_TWO:
            await world.people.spend(others)
            await until("what came while one was dead", partial(_ended, world, others))
            world.processes.start(DISPATCHER)
            await world.wait_ready(DISPATCHER)
            world.processes.end(SECOND_DISPATCHER)
        case Blow.KILL_NATS | Blow.RESTART_NATS:
            await _stay_away()
            world.nats.start()
        case Blow.KILL_POSTGRES | Blow.RESTART_POSTGRES:
            await _stay_away()
            world.postgres.start()
        case Blow.NONE:
            pass


async def _stay_away() -> None:
    clock = SystemClock()
    await clock.sleep_until(clock.now() + _AWAY)


async def _ended(world: World, people: Sequence[Person]) -> object:
    """True when each cell's message has come to what is expected of it; else what it has come to.

    A text of unknown fate waits two minutes for its callback before the provider is asked: for it they pass at once.
    """
    soon = SystemClock().now() + timedelta(minutes=1)
    users = [person.user_id for person in people]
    await world.records.rows("dispatcher", _LET_TWO_MINUTES_PASS, users, soon)
    records = await world.records.of(people)
    left = {
        str(person.cell): _shown(person, record) for person, record in records.items() if not _is_over(person, record)
    }
    return left if left else True


def _is_over(person: Person, record: Record) -> bool:
    """Whether it has ended, or goes on waiting as it is expected to: after two attempts, or behind an open breaker."""
    delivery = record.delivery(person.cell.way.channel)
    if delivery is None or delivery.status == "sending":
        return False
    if fate_of(delivery) != Fate.WAITING:
        return True
    tried = sum(one.outcome is not None for one in record.attempts)
    is_left_alone = delivery.reason == "breaker_open"
    return expected(person.cell).fate is Fate.WAITING and (tried >= 2 or (tried == 1 and is_left_alone))


def _shown(person: Person, record: Record) -> str:
    delivery = record.delivery(person.cell.way.channel)
    outcomes = [one.outcome or "?" for one in record.attempts]
    return f"{'nothing' if delivery is None else delivery.status} after {outcomes}, taken {len(record.taken)} times"
