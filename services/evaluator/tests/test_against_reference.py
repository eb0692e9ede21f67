"""Facts in random order, repeated, in random batches, on random replicas: what fires is what a plain reference says."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
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
    Condition,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
)
from tocsin_evaluator.model.facts import Fact
from tocsin_evaluator.model.words import (
    Direction,
    Frequency,
    MatchType,
    MoneyFlow,
    Repeat,
    SpentSource,
    TransactionStatus,
)
from tocsin_evaluator.store import tables
from tocsin_kit.clock import SteppedClock

from .playing import Play
from .stories import THEMES, stories
from .support import NO_TRACE, Bench, account, bill, budget, goal, transaction

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
#: From its eleventh on Hypothesis makes six of seven examples by changing one a little: ten a theme are worth more.
MOST_AT_ONCE = 12


@dataclass(frozen=True)
class Batch:
    """Some facts by their numbers, and the replica they are posted to."""

    replica: int
    numbers: tuple[int, ...]


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
    """Post the batches, each replica its own one after the other, the replicas at once: which comes first is as it
    happens. All at once they would be gathered into three.
    """

    async def post(replica: int) -> None:
        for each in batches:
            if each.replica == replica:
                await three[replica].put(*[facts[n] for n in each.numbers])

    await asyncio.gather(*map(post, range(3)))


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


async def test_a_crossing_that_sleeps_is_left_untouched(bench: Bench, clock: SteppedClock) -> None:
    """It does not see the balance come back, so it is not armed for the next fall. Stories seldom come to that."""
    made = await bench.create(AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.ON_CROSSING))
    await bench.put(account(1, "100", clock.now()))
    until = clock.now() + timedelta(hours=1)
    await bench.desk.change(Owner(1, 1), made.id, lambda wish: replace(wish, snoozed_until=until), NO_TRACE)
    for balance in ("900", "100"):
        clock.advance(SECOND)
        await bench.put(account(1, balance, clock.now()))
        await bench.sweep()
    clock.move_to(until)
    assert await bench.sweep() == 0
    assert len(await bench.keys()) == 1


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


async def test_history_of_one_category_is_no_news_beside_a_change_in_another(bench: Bench, clock: SteppedClock) -> None:
    """As before, where the news is a new version of a purchase. About one story in six hundred comes to this."""
    clock.move_to(clock.now().replace(day=20))
    now = clock.now()
    rent = transaction(2, "-1", now, now, category="rent", merchant="Landlord")
    await bench.put(budget(1, now), rent)
    await bench.create(SpendingTarget(1, (50,)))
    clock.advance(SECOND)
    await bench.put(transaction(1, "-300", now - 7 * DAY, now), replace(rent, amount=Decimal(-2), as_of=clock.now()))
    assert await bench.keys() == []


async def test_a_crossing_is_told_on_an_account_that_was_deleted_and_came_again(
    bench: Bench, clock: SteppedClock
) -> None:
    """Its versions begin at one again."""
    await bench.create(AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.ON_CROSSING))
    for told, balance in enumerate(("900", "100", "900", "100", "900", "100")):
        if told == 4:
            await delete_facts(bench.engine, 1, [("accounts", 1)], clock.now())
        clock.advance(SECOND)
        await bench.put(account(1, balance, clock.now()))
    assert len(await bench.keys()) == 3


async def test_a_crossing_is_told_by_an_alert_that_was_off_when_its_account_was_deleted(
    bench: Bench, clock: SteppedClock
) -> None:
    """It was switched off before, and on again when the account had come again."""
    made = await bench.create(AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.ON_CROSSING))

    async def bring(*balances: str) -> None:
        for balance in balances:
            clock.advance(SECOND)
            await bench.put(account(1, balance, clock.now()))

    async def switch(active: bool) -> None:
        await bench.desk.change(Owner(1, 1), made.id, lambda wish: replace(wish, active=active), NO_TRACE)

    await bring("900", "100", "900")
    await switch(False)
    await delete_facts(bench.engine, 1, [("accounts", 1)], clock.now())
    await bring("900")
    await switch(True)
    await bring("100")
    assert len(await bench.keys()) == 2
