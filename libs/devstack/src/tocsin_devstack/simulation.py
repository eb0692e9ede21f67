"""Lives through a scenario: the four services in this process, real servers, and a clock that is moved.

1. People, accounts and history are posted, quiet hours set, schedules made hourly and daily.
2. The clock goes from one due instant to the next: what the scenario posts, what people ask for, what a service waits
   for. After each the simulation waits until nothing is under way.
3. At the end of each day the databases and streams must prove that; then the day is told.
4. At the end the books are read and summed up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TypeAlias
from uuid import UUID

from nats.js import JetStreamContext

from tocsin_devstack.bank import Bank
from tocsin_devstack.frontend import Frontend
from tocsin_devstack.quietness import prove_quiet
from tocsin_devstack.reading import Books, Databases
from tocsin_devstack.report import Report
from tocsin_devstack.scenario import Posting, Scenario, Wish, local_instant
from tocsin_devstack.stack import Stack

#: Often enough to live by, seldom enough that two months pass in two minutes.
CRONS = {
    "evaluate-periodic": "0 * * * *",
    "evaluate-bills": "0 * * * *",
    "evaluate-audit": "0 4 * * *",
    "dispatch-audit": "0 4 * * *",
    "gateway-audit": "0 4 * * *",
}
JUST_BEFORE = timedelta(milliseconds=1)

Event: TypeAlias = Posting | Wish


@dataclass(frozen=True)
class World:
    """A running stack and those who use it: the bank, the people, and who looks behind the services' backs."""

    stack: Stack
    bank: Bank
    frontend: Frontend
    databases: Databases
    streams: JetStreamContext


@dataclass(frozen=True)
class Lived:
    """How a simulation ended: the facts the services accepted and the books of the window."""

    facts: int
    books: Books


async def live(world: World, scenario: Scenario, report: Report, day_done: Callable[[], None]) -> Lived:
    """Live through a scenario, telling each day to `report` and calling `day_done` after it.

    The clock stands at or before the window's start. Raises NotQuiet or NotFinished where work does not end.
    """
    facts = await _begin(world, scenario)
    report.opening(facts)
    waiting: frozenset[UUID] = frozenset()
    for number, day in enumerate(_days(scenario), start=1):
        begins = local_instant(day, time(), scenario.time_zone)
        ends = local_instant(day + timedelta(days=1), time(), scenario.time_zone)
        facts += await _live_a_day(world, _events(scenario, begins, ends), ends - JUST_BEFORE)
        await prove_quiet(world.databases, world.streams, world.stack.clock.now())
        told = await world.databases.told(begins, ends, waiting)
        report.day(number, day, told, begins)
        waiting = frozenset(delivery for one in told for delivery in one.waiting)
        day_done()
    return Lived(facts, await world.databases.books(scenario.starts_at, scenario.ends_at))


def _days(scenario: Scenario) -> list[date]:
    return [scenario.first_day + timedelta(days=offset) for offset in range(scenario.days)]


def _events(scenario: Scenario, begins: datetime, ends: datetime) -> list[Event]:
    """What happens in [begins, ends), in order; at one instant the bank posts before people ask."""
    postings: Sequence[Event] = scenario.postings
    events = [event for event in (*postings, *scenario.wishes) if begins <= event.at < ends]
    return sorted(events, key=lambda event: (event.at, isinstance(event, Wish)))


async def _begin(world: World, scenario: Scenario) -> int:
    """Everything the services know before the window: none of it is news."""
    for schedule, cron in CRONS.items():
        await world.frontend.set_cron(schedule, cron)
    facts = await world.bank.post(scenario.setup, backfill=True)
    facts += await world.bank.post(scenario.history, backfill=True)
    await world.stack.settle()
    for person in scenario.people:
        await world.frontend.set_quiet_hours(person)
    return facts


async def _live_a_day(world: World, events: Sequence[Event], until: datetime) -> int:
    facts = 0
    for event in events:
        await world.stack.move_to(event.at)
        match event:
            case Posting():
                facts += await world.bank.post(event.facts)
            case Wish():
                await world.frontend.create_alert(event)
    await world.stack.move_to(until)
    return facts
