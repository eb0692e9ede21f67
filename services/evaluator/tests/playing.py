"""Plays a story: on the replicas, and beside it in the reference."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin_evaluator.alerts.desk import Owner
from tocsin_evaluator.facts.deletion import delete_facts
from tocsin_evaluator.model.alerts import Alert
from tocsin_evaluator.model.facts import Account, Bill, Budget, Fact, Goal, Transaction
from tocsin_evaluator.model.words import WorkClass
from tocsin_kit.clock import SteppedClock

from .reference import Reference, Told
from .reference_facts import owner_of
from .stories import PEOPLE, Again, Ask, Bills, Change, Create, Delete, Post, Step, Story, Sweep, Wait
from .support import NO_TRACE, Bench

SECOND = timedelta(seconds=1)
#: Where what may be deleted is stored: everything but profiles.
TABLE_OF: dict[type[Fact], str] = {
    Account: "accounts",
    Goal: "goals",
    Transaction: "transactions",
    Budget: "budgets",
    Bill: "bills",
}


@dataclass
class Play:
    """A story on its way, on the replicas and in the reference."""

    benches: Sequence[Bench]
    clock: SteppedClock
    reference: Reference = field(default_factory=Reference)
    alerts: list[Alert] = field(default_factory=list)
    said: list[Fact] = field(default_factory=list)

    async def perform(self, story: Story) -> None:
        """All its steps. A second goes by between any two: an occurrence of a balance is named by its instant."""
        self.clock.move_to(story.begin)
        for step in story.steps:
            await self._do(step)
            self.clock.advance(SECOND)

    async def _do(self, step: Step) -> None:
        now, bench = self.clock.now(), self.benches[step.replica]
        match step:
            case Post():
                await self._post(bench, step, now)
            case Delete():
                await self._delete(bench, step, now)
            case Create():
                await self._create(bench, step, now)
            case Change():
                await self._change(bench, step, now)
            case Ask():
                number = step.number % len(self.alerts)
                await bench.evaluate(self.alerts[number])
                self.reference.ask(self.reference.alerts[number], now)
            case Sweep():
                await bench.sweep()
                self.reference.sweep(now)
            case Bills():
                await bench.bills()
                self.reference.run_bills(now)
            case Wait():
                await self._wait(step)

    async def _wait(self, wait: Wait) -> None:
        """Let time go by. With a new day comes a sweep, which finds turned periods: in life every five minutes."""
        before = self._days()
        self.clock.advance(wait.span)
        if self._days() != before:
            await self._do(Sweep(wait.replica))
            self.clock.advance(SECOND)
        if wait.bills:
            await self._do(Bills(wait.replica))

    def _days(self) -> list[object]:
        return [self.reference.known.today(person, self.clock.now()) for person in PEOPLE]

    async def _post(self, bench: Bench, step: Post, now: datetime) -> None:
        batch: list[Fact] = []
        for each in step.facts:
            if not isinstance(each, Again):
                batch.append(each.at(now))
            elif self.said:
                batch.append(self.said[each.number % len(self.said)])
        self.said += batch
        answer = await bench.put(*batch, backfill=step.backfill)
        refused = self.reference.post(batch, now, backfill=step.backfill)
        assert set(answer.refused) == refused
        accepted = {owner_of(fact) for position, fact in enumerate(batch) if position not in refused}
        assert accepted - set(self.reference.known.people) <= answer.unknown_people

    async def _delete(self, bench: Bench, step: Delete, now: datetime) -> None:
        fact = self.said[step.number % len(self.said)]
        if type(fact) in TABLE_OF:
            await delete_facts(bench.engine, fact.partner_id, [(TABLE_OF[type(fact)], fact.id)], now)
            self.reference.known.delete(fact, now)

    async def _create(self, bench: Bench, step: Create, now: datetime) -> None:
        partner, user = step.owner
        until = None if step.snoozed_for is None else now + step.snoozed_for
        more = {"cooldown": step.cooldown, "snoozed_until": until}
        self.alerts.append(await bench.create(step.condition, user=user, partner=partner, **more))
        self.reference.create(step.owner, step.condition, step.cooldown, until, now)

    async def _change(self, bench: Bench, step: Change, now: datetime) -> None:
        """An alert's kind is fixed, and an edit that changes nothing is none here."""
        number = step.number % len(self.alerts)
        alert, watch = self.alerts[number], self.reference.alerts[number]
        if type(step.condition) is type(watch.condition) and step.condition != watch.condition:
            owner = Owner(alert.partner_id, alert.user_id)
            await bench.desk.change(owner, alert.id, lambda wish: replace(wish, condition=step.condition), NO_TRACE)
            self.reference.change(watch, step.condition, now)

    async def told(self) -> list[Told]:
        """The firings in order, alerts by their number."""
        rows = await self.benches[0].rows("SELECT alert_id, occurrence_key, fired_at, class FROM firings")
        numbers = {alert.id: number for number, alert in enumerate(self.alerts)}
        return sorted(Told(numbers[id_], key, at, WorkClass(work_class)) for id_, key, at, work_class in rows)

    async def occurrences(self) -> dict[tuple[int, str], bool]:
        """What is recorded of each alert: told, or passed silently."""
        rows = await self.benches[0].rows("SELECT alert_id, key, fired FROM occurrences")
        numbers = {alert.id: number for number, alert in enumerate(self.alerts)}
        return {(numbers[id_], key): fired for id_, key, fired in rows}

    async def counts(self) -> list[int]:
        """The alerts' own counts of their firings."""
        return [row.trigger_count for row in await self.benches[0].rows("SELECT trigger_count FROM alerts ORDER BY id")]
