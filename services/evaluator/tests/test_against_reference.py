"""Facts in random order, repeated, in random batches, on random replicas: what fires is what a plain reference says."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from tocsin_devstack.fixtures import NOON
from tocsin_evaluator.alerts.desk import Owner
from tocsin_evaluator.facts.deletion import delete_facts
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Alert,
    Condition,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
)
from tocsin_evaluator.model.facts import Bill, Budget, Fact, Goal, Transaction, key_of
from tocsin_evaluator.model.words import (
    Direction,
    Frequency,
    MatchType,
    MoneyFlow,
    Repeat,
    SpentSource,
    TransactionStatus,
    WorkClass,
)
from tocsin_evaluator.store import tables
from tocsin_kit.clock import SteppedClock

from .reference import Reference, Told
from .reference_facts import owner_of
from .stories import (
    PEOPLE,
    THEMES,
    Again,
    Ask,
    Bills,
    Change,
    Create,
    Delete,
    Post,
    Step,
    Story,
    Sweep,
    Wait,
    stories,
)
from .support import NO_TRACE, Bench, account, bill, budget, goal, transaction

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
#: From its eleventh on Hypothesis makes six of seven examples by changing one a little: ten a theme are worth more.
MOST_AT_ONCE = 12
TABLE_OF: dict[type[Fact], str] = {Transaction: "transactions", Goal: "goals", Budget: "budgets", Bill: "bills"}


@dataclass(frozen=True)
class Batch:
    """Some facts by their numbers, and the replica they are posted to."""

    replica: int
    numbers: tuple[int, ...]


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
        batch = _of_one_owner_each(batch)
        self.said += batch
        for part in filter(None, ([fact for fact in batch if _is_old(fact, now) is old] for old in (False, True))):
            answer = await bench.put(*part, backfill=step.backfill)
            refused = self.reference.post(part, now, backfill=step.backfill)
            assert set(answer.refused) == refused
            accepted = {owner_of(fact) for position, fact in enumerate(part) if position not in refused}
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


def _of_one_owner_each(batch: Sequence[Fact]) -> list[Fact]:
    """Without what gives another person an id that the batch has given away (see below: its owner's may be refused)."""
    owners: dict[object, int] = {}
    return [fact for fact in batch if owners.setdefault(key_of(fact), fact.user_id) == fact.user_id]


def _is_old(fact: Fact, now: datetime) -> bool:
    """Whether it may be history. That is posted by itself (see below: beside news it is taken for news)."""
    if not isinstance(fact, Transaction):
        return False
    posted_on = fact.posted_on or (fact.posted_at or now).date()
    return now.date() - posted_on >= 4 * DAY


@pytest_asyncio.fixture
async def three(make_bench: Callable[[], Awaitable[Bench]]) -> list[Bench]:
    """Three replicas over one database."""
    return [await make_bench() for _ in range(3)]


async def _emptied(bench: Bench) -> None:
    """Make the database as good as new: another one costs more than an example."""
    async with bench.engine.begin() as connection:
        for table in tables.metadata.sorted_tables:
            await connection.execute(delete(table))


@pytest.mark.timeout(600)  # a failing story is made smaller, which takes minutes
@pytest.mark.parametrize("about", THEMES)
@settings(max_examples=MOST_AT_ONCE, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
@given(st.data())
async def test_the_firings_are_those_of_a_plain_reference(
    three: list[Bench], clock: SteppedClock, about: str, data: st.DataObject
) -> None:
    """Each firing with its instant and class, each occurrence, and each alert's own count."""
    story = data.draw(stories(THEMES[about]))
    await _emptied(three[0])
    play = Play(three, clock)
    await play.perform(story)
    assert await play.told() == sorted(play.reference.told)
    assert await play.occurrences() == {
        (alert.number, key): told for alert in play.reference.alerts for key, told in alert.occurrences.items()
    }
    assert await play.counts() == [sum(alert.occurrences.values()) for alert in play.reference.alerts]


def _in_batches(n: int) -> st.SearchStrategy[list[Batch]]:
    """The numbers below `n` in any order, some more than once, cut into batches for the replicas."""

    @st.composite
    def arranged(draw: st.DrawFn) -> list[Batch]:
        repeats = draw(st.lists(st.integers(0, n - 1), max_size=n))
        left = draw(st.permutations([*range(n), *repeats]))
        batches = []
        while left:
            size = draw(st.integers(1, 4))
            batches.append(Batch(draw(st.integers(0, 2)), tuple(left[:size])))
            left = left[size:]
        return batches

    return arranged()


async def _bring(three: Sequence[Bench], facts: Sequence[Fact], batches: Sequence[Batch]) -> None:
    """Post the batches, all at once: which comes first is as it happens."""
    await asyncio.gather(*[three[each.replica].put(*[facts[n] for n in each.numbers]) for each in batches])


PURCHASES = st.lists(
    st.tuples(
        st.sampled_from(["-250", "-200", "-60", "-60", "90"]),
        st.sampled_from(["Corner Shop", "corner  shop", "Café"]),
        st.sampled_from([TransactionStatus.POSTED] * 4 + [TransactionStatus.REVERSED]),
    ),
    min_size=2,
    max_size=12,
)
WISHES: tuple[Condition, ...] = (
    MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE),
    MerchantName("CAFÉ", MatchType.EXACT, Frequency.DAILY_DIGEST),
    TransactionLimit(Decimal(60), "USD", None, MoneyFlow.ANY),
    TransactionLimit(Decimal(200), "USD", None, MoneyFlow.DEBIT),
)


@settings(max_examples=25, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
@given(PURCHASES.flatmap(lambda bought: st.tuples(st.just(bought), _in_batches(len(bought)))))
async def test_the_same_purchases_fire_alike_in_any_order_batches_and_replicas(
    three: list[Bench], clock: SteppedClock, story: tuple[list[tuple[str, str, TransactionStatus]], list[Batch]]
) -> None:
    """One bank posts them once, in order and in one batch; another, with the same ids, in any other way."""
    bought, batches = story
    await _emptied(three[0])
    now = clock.now()
    for partner in (1, 2):
        for condition in WISHES:
            await three[0].create(condition, partner=partner)
    in_order, anyhow = (
        [
            transaction(n, amount, now, now, partner_id=partner, merchant=merchant, status=status)
            for n, (amount, merchant, status) in enumerate(bought)
        ]
        for partner in (1, 2)
    )
    await three[0].put(*in_order)
    await _bring(three, anyhow, batches)
    first, second = [await _keys(three[0], partner) for partner in (1, 2)]
    assert first == second
    not_reversed = [amount for amount, _, status in bought if status is TransactionStatus.POSTED]
    assert len([key for number, key in first if number == 2]) == len(not_reversed), "each is at least 60"


async def _keys(bench: Bench, partner: int) -> list[tuple[int, str]]:
    """A partner's firings: the number of the alert and the occurrence, in order."""
    rows = await bench.rows("SELECT id FROM alerts WHERE partner_id = :partner ORDER BY id", partner=partner)
    numbers = {row.id: number for number, row in enumerate(rows)}
    told = await bench.rows("SELECT alert_id, occurrence_key FROM firings WHERE partner_id = :partner", partner=partner)
    return sorted((numbers[id_], key) for id_, key in told)


@st.composite
def _versions(draw: st.DrawFn) -> list[Fact]:
    """Versions of some facts of a person, the oldest first, no two of the same age."""
    facts: list[Fact] = []
    for _ in range(draw(st.integers(2, 12))):
        as_of = NOON - timedelta(hours=1) + timedelta(seconds=len(facts))
        amount = draw(st.sampled_from(["-90", "-60", "30", "120"]))
        category = draw(st.sampled_from(["groceries", "rent"]))
        n = draw(st.integers(1, 2))
        match draw(st.sampled_from("agbrttt")):
            case "a":
                facts.append(account(n, amount, as_of, closed=draw(st.booleans())))
            case "g":
                facts.append(goal(n, amount, as_of))
            case "b":
                source = draw(st.sampled_from(SpentSource))
                facts.append(budget(n, as_of, category=category, spent_source=source, spent=Decimal(amount)))
            case "r":
                facts.append(bill(n, NOON.date() + draw(st.integers(-9, 9)) * DAY, as_of))
            case _:
                status = draw(st.sampled_from(TransactionStatus))
                more = {"category": category, "status": status, "merchant": f"Shop {n}"}
                facts.append(transaction(n, amount, NOON, as_of, **more))
    return facts


@settings(max_examples=25, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
@given(_versions().flatmap(lambda facts: st.tuples(st.just(facts), _in_batches(len(facts)))))
async def test_the_newest_version_is_stored_in_whatever_order_they_come(
    three: list[Bench], clock: SteppedClock, story: tuple[list[Fact], list[Batch]]
) -> None:
    """One bank says the oldest first, each by itself; another says the same in any other way. What follows from the
    facts is the same, too: the sums of derived budgets, and when bills are due next.
    """
    facts, batches = story
    await _emptied(three[0])
    for fact in facts:
        await three[0].put(fact)
    await _bring(three, [replace(fact, partner_id=2) for fact in facts], batches)
    for table in ("accounts", "goals", "transactions", "budgets", "bills"):
        first, second = [await _stored(three[0], table, partner) for partner in (1, 2)]
        assert first == second, table


async def _stored(bench: Bench, table: str, partner: int) -> list[dict[str, object]]:
    """A partner's rows, without what tells how they came."""
    how = ["partner_id", "version", "received_at", "other_form_id"]
    rows = await bench.rows(
        f"SELECT to_jsonb(f) - CAST(:how AS text[]) AS said FROM {table} f WHERE partner_id = :partner ORDER BY id",  # noqa: S608
        how=how,
        partner=partner,
    )
    return [row.said for row in rows]


async def test_an_owners_fact_is_kept_beside_one_that_claims_its_id(bench: Bench, clock: SteppedClock) -> None:
    """A bad item is refused alone, also where it stands first."""
    await bench.put(account(1, "900", clock.now()))
    clock.advance(SECOND)
    answer = await bench.put(account(1, "1", clock.now(), user_id=2), account(1, "100", clock.now()))
    assert set(answer.refused) == {0}


async def test_history_of_one_category_is_no_news_beside_news_of_another(bench: Bench, clock: SteppedClock) -> None:
    """A purchase that is too old when it comes fires nothing; the next sweep sees what it adds up to."""
    clock.move_to(clock.now().replace(day=20))
    now = clock.now()
    await bench.put(budget(1, now))
    await bench.create(SpendingTarget(1, (50,)))
    old = transaction(1, "-300", now - 7 * DAY, now)
    await bench.put(old, transaction(2, "-1", now, now, category="rent", merchant="Landlord"))
    assert await bench.keys() == []


async def test_a_crossing_is_told_on_an_account_that_was_deleted_and_came_again(
    bench: Bench, clock: SteppedClock
) -> None:
    """Its versions begin at one again. (Stories delete no accounts.)"""
    await bench.create(AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.ON_CROSSING))
    for told, balance in enumerate(("900", "100", "900", "100", "900", "100")):
        if told == 4:
            await delete_facts(bench.engine, 1, [("accounts", 1)], clock.now())
        clock.advance(SECOND)
        await bench.put(account(1, balance, clock.now()))
    assert len(await bench.keys()) == 3
