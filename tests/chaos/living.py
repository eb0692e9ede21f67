"""Living through the busiest day, a service being killed in the middle of it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from tests.chaos.books import quiet
from tests.chaos.busy_day import Day, busiest_days
from tests.chaos.suite import Suite
from tests.chaos.waiting import AT_ONCE, Check, until
from tocsin_kit.clock import SystemClock

SCHEDULES = ("evaluate-periodic", "evaluate-bills")
#: They would fail for good while the service they ask is dead, and the next one would see to it all.
_AUDITS = ("evaluate-audit", "dispatch-audit", "gateway-audit")
_EVERY_MINUTE, _NIGHTLY = "* * * * *", "0 4 * * *"
Found = TypeVar("Found")


async def nothing_more() -> bool:
    """Nothing to wait for."""
    return True


class BusyDay:
    """The day as it is lived through; `jobs` are those that were asked for in its middle."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.days = busiest_days(SystemClock().now())
        self.jobs: list[str] = []
        self._at_noon = 0
        self._noon, self._evening = asyncio.Event(), asyncio.Event()

    async def dawn(self) -> None:
        """People, how things stand, alerts: known and told before the day."""
        callers = self.suite.callers
        for schedule in (*SCHEDULES, *_AUDITS):
            await callers.set_cron(schedule, _NIGHTLY if schedule in _AUDITS else _EVERY_MINUTE)
        await callers.post(person for day in self.days for person in day.people)
        await callers.post((line for day in self.days for line in day.spent), backfill=True)
        await callers.post(sorted((fact for day in self.days for fact in day.stood), key=_kind))
        async with asyncio.TaskGroup() as group:
            for day in self.days:
                group.create_task(self._ask_for_alerts(day))
        await until("a quiet dawn", partial(quiet, self.suite))

    async def _ask_for_alerts(self, day: Day) -> None:
        for wish in day.wishes:
            await self.suite.callers.create_alert(wish)

    async def live(
        self, victim: str, look: Callable[[], Awaitable[Found]], *, at_noon: Check = nothing_more, then: Check
    ) -> Found:
        """Post the first half of the day and wait for `at_noon`; post on, ask for jobs and wait for `then`: at that
        instant the victim is killed. Look, start it again, and post what is left. Answers what was seen.
        """
        async with asyncio.TaskGroup() as group:
            for day in self.days:
                group.create_task(self._post(day))
            await until("noon", self._is_noon, every=AT_ONCE)
            await until("work at noon", at_noon, every=AT_ONCE)
            self._noon.set()
            group.create_task(self._ask_for_jobs())
            await until(f"the {victim}'s having work in hand", then, every=AT_ONCE)
            self.suite.processes.kill_nine(victim)
            found = await look()
            self.suite.processes.start(victim)
            self._evening.set()
        return found

    async def _post(self, day: Day) -> None:
        noon, evening = len(day.postings) // 2, len(day.postings) - 1
        for number, facts in enumerate(day.postings):
            if number == noon:
                self._at_noon += 1
                await self._noon.wait()
            if number == evening:
                await self._evening.wait()
            await self.suite.callers.post(facts)

    async def _is_noon(self) -> object:
        return self._at_noon == len(self.days) or f"{self._at_noon} households have reached it"

    async def _ask_for_jobs(self) -> None:
        callers = self.suite.callers
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(callers.run_schedule(name)) for name in SCHEDULES]
            people = [person.user_id for day in self.days for person in day.people]
            asked += [group.create_task(callers.evaluate_user(user_id)) for user_id in people]
        self.jobs = [task.result() for task in asked]


def _kind(fact: object) -> str:
    return type(fact).__name__
