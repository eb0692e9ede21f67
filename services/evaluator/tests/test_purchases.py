"""One purchase, one alert: pending and posted forms, amended and reversed."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_evaluator.facts.deletion import delete_facts
from tocsin_evaluator.facts.purchases import chosen_pairs
from tocsin_evaluator.model.alerts import MerchantName, TransactionLimit
from tocsin_evaluator.model.facts import Transaction
from tocsin_evaluator.model.names import normalised
from tocsin_evaluator.model.words import Frequency, MatchType, MoneyFlow, TransactionStatus
from tocsin_evaluator.store.purchases import Candidate
from tocsin_kit.clock import SteppedClock

from .support import PARTNER, Bench, budget, transaction

SHOP = MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE)
PENDING = TransactionStatus.PENDING
PARTS = ((2, "-60"), (3, "-40"))


async def _purchases(bench: Bench) -> dict[int, int]:
    return {row.id: row.purchase_id for row in await bench.rows("SELECT id, purchase_id FROM transactions")}


@pytest.mark.parametrize(
    ("pending", "posted", "days", "same"),
    [
        # equal amounts, within 8 days
        ({"amount": "-20"}, {"amount": "-20"}, 2, True),
        ({"amount": "-20"}, {"amount": "-20"}, 8, True),
        ({"amount": "-20"}, {"amount": "-20"}, 9, False),
        # posted before pending is another purchase
        ({"amount": "-20"}, {"amount": "-20"}, -1, False),
        # another merchant, account or currency
        ({"amount": "-20"}, {"amount": "-20", "merchant": "Other"}, 1, False),
        ({"amount": "-20"}, {"amount": "-20", "account_id": 2}, 1, False),
        ({"amount": "-20"}, {"amount": "-20", "currency": "EUR"}, 1, False),
        # another amount only when the pending one is an estimate, and within 20 %
        ({"amount": "-20"}, {"amount": "-22"}, 1, False),
        ({"amount": "-20", "is_estimate": True}, {"amount": "-24"}, 1, True),
        ({"amount": "-20", "is_estimate": True}, {"amount": "-24.01"}, 1, False),
        ({"amount": "-20", "is_estimate": True}, {"amount": "20"}, 1, False),
        # the bank's own link needs nothing else
        ({"amount": "-20"}, {"amount": "-50", "merchant": "Other", "pending_transaction_id": 1}, 20, True),
        ({"amount": "-20"}, {"amount": "-20", "pending_transaction_id": 99}, 1, False),
    ],
)
@pytest.mark.parametrize("posted_first", [False, True])
async def test_a_posted_form_is_found_by_link_or_by_likeness_in_either_order(
    bench: Bench,
    clock: SteppedClock,
    pending: dict[str, object],
    posted: dict[str, object],
    days: int,
    same: bool,
    posted_first: bool,
) -> None:
    """Each row says why above it; it holds whichever form arrives first."""
    first, second = dict(pending), dict(posted)
    forms: list[Transaction] = [
        transaction(1, str(first.pop("amount")), clock.now(), clock.now(), status=PENDING, **first),
        transaction(2, str(second.pop("amount")), clock.now() + timedelta(days=days), clock.now(), **second),
    ]
    for form in reversed(forms) if posted_first else forms:
        await bench.put(form)
    purchases = await _purchases(bench)
    assert (purchases[1] == purchases[2]) is same


async def test_an_estimate_that_crosses_a_limit_only_when_posted_stays_a_purchase_of_its_own(
    bench: Bench, clock: SteppedClock
) -> None:
    """Or its message would be taken for the one the pending form has had."""
    await bench.create(SHOP)
    await bench.create(TransactionLimit(Decimal("110"), "USD", None, MoneyFlow.ANY))
    await bench.put(transaction(1, "-100", clock.now(), clock.now(), status=PENDING, is_estimate=True))
    await bench.put(transaction(2, "-115", clock.now(), clock.now()))
    assert await bench.keys() == ["1:purchase:1", "1:purchase:2", "1:purchase:2"]


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "in one batch"])
@pytest.mark.parametrize("hold", ["here", "deleted"])
async def test_two_bookings_of_one_hold_are_two_purchases(
    bench: Bench, clock: SteppedClock, together: bool, hold: str
) -> None:
    """An order sent in two parts: the first is the hold's purchase, the second one of its own."""
    await bench.create(SHOP)
    await bench.put(transaction(1, "-100", clock.now(), clock.now(), status=PENDING))
    if hold == "deleted":
        await delete_facts(bench.engine, PARTNER, [("transactions", 1)], clock.now())
    clock.advance(timedelta(hours=1))
    parts = [transaction(n, amount, clock.now(), clock.now(), pending_transaction_id=1) for n, amount in PARTS]
    for batch in [parts] if together else [[part] for part in parts]:
        await bench.put(*batch)
    assert await bench.keys() == ["1:purchase:1", "1:purchase:3"]


async def test_two_equal_purchases_are_two(bench: Bench, clock: SteppedClock) -> None:
    """Two pending and two posted ones of the same amount pair one to one."""
    await bench.create(SHOP)
    now = clock.now()
    await bench.put(*[transaction(n, "-5", now, now, status=PENDING) for n in (1, 2)])
    await bench.put(*[transaction(n, "-5", now + timedelta(hours=1), now) for n in (3, 4)])
    assert await bench.keys() == ["1:purchase:1", "1:purchase:2"]
    assert sorted((await _purchases(bench)).values()) == [1, 1, 2, 2]


async def test_a_row_that_is_posted_again_under_its_own_id_fires_once(bench: Bench, clock: SteppedClock) -> None:
    """Amended, booked and taken back: one purchase."""
    await bench.create(SHOP)
    for status in (PENDING, TransactionStatus.POSTED, TransactionStatus.REVERSED):
        clock.advance(timedelta(minutes=1))
        await bench.put(transaction(1, "-5", clock.now(), clock.now(), status=status))
    assert await bench.keys() == ["1:purchase:1"]


async def _spent(bench: Bench) -> list[Decimal]:
    return [row.spent for row in await bench.rows("SELECT spent FROM budgets ORDER BY id")]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
async def test_a_hold_that_is_released_is_still_the_pending_form_its_posted_one_names(
    bench: Bench, clock: SteppedClock, together: bool
) -> None:
    """Banks take the hold back when they book: the purchase was told with the hold, and on the hold's day."""
    await bench.create(SHOP)
    await bench.create(replace(SHOP, frequency=Frequency.FIRST_OF_DAY))
    held = clock.now()
    await bench.put(transaction(1, "-20", held, held, status=PENDING))
    told = await bench.keys()
    clock.advance(timedelta(days=1))
    now = clock.now()
    released = transaction(1, "-20", held, now, status=TransactionStatus.REVERSED)
    booked = transaction(2, "-26", now, now, pending_transaction_id=1)
    for batch in ([released, booked],) if together else ([released], [booked]):
        await bench.put(*batch)
    assert await bench.keys() == told == ["1:day:2025-11-03", "1:purchase:1"]


async def test_a_pending_form_that_is_deleted_is_still_the_one_its_posted_form_names(
    bench: Bench, clock: SteppedClock
) -> None:
    """Its id is all that is needed to know that the purchase was told."""
    await bench.create(SHOP)
    await bench.put(transaction(1, "-20", clock.now(), clock.now(), status=PENDING))
    clock.advance(timedelta(days=1))
    now = clock.now()
    await delete_facts(bench.engine, PARTNER, [("transactions", 1)], now)
    await bench.put(transaction(2, "-20", now, now, pending_transaction_id=1))
    assert await bench.keys() == ["1:purchase:1"]


async def test_a_link_that_a_later_version_says_joins_the_forms(bench: Bench, clock: SteppedClock) -> None:
    """The bank's own cleaning up: the name that the alert knows and the link come with the second version."""
    await bench.create(SHOP)
    now = clock.now()
    await bench.put(budget(1, now), transaction(1, "-20", now, now, status=PENDING))
    await bench.put(transaction(2, "-26", now, now, merchant="CRNR 0815"))
    assert await _spent(bench) == [46]
    clock.advance(timedelta(minutes=1))
    await bench.put(transaction(2, "-26", now, clock.now(), pending_transaction_id=1))
    assert await bench.keys() == ["1:purchase:1"]
    assert await _spent(bench) == [26]


async def test_a_link_that_comes_after_the_message_sends_no_second_one(bench: Bench, clock: SteppedClock) -> None:
    """The posted form alone reached the limit, and was told before the bank said whose posted form it is."""
    await bench.create(TransactionLimit(Decimal("110"), "USD", None, MoneyFlow.ANY))
    now = clock.now()
    await bench.put(budget(1, now), transaction(1, "-100", now, now, status=PENDING), transaction(2, "-150", now, now))
    assert await bench.keys() == ["1:purchase:2"]
    clock.advance(timedelta(minutes=1))
    await bench.put(transaction(2, "-150", now, clock.now(), pending_transaction_id=1))
    assert await bench.keys() == ["1:purchase:2"]
    assert await _spent(bench) == [150]


async def test_a_purchase_that_is_booked_under_its_own_id_is_no_other_ones_posted_form(
    bench: Bench, clock: SteppedClock
) -> None:
    """The same fare each day: today's booking of yesterday's does not swallow today's."""
    await bench.create(SHOP)
    await bench.put(budget(1, clock.now()), transaction(1, "-5", clock.now(), clock.now(), status=PENDING))
    clock.advance(timedelta(days=1))
    now = clock.now()
    await bench.put(transaction(1, "-5", now, now))
    await bench.put(transaction(2, "-5", now, now, status=PENDING))
    assert await bench.keys() == ["1:purchase:1", "1:purchase:2"]
    assert await _spent(bench) == [10]
    clock.advance(timedelta(minutes=1))
    await bench.put(transaction(1, "-5", now, clock.now(), status=PENDING))
    assert await _spent(bench) == [10], "also when the bank takes its booking back"


async def test_an_estimate_that_crosses_a_limit_is_spent_once(bench: Bench, clock: SteppedClock) -> None:
    """Two messages, one purchase's money."""
    await bench.create(TransactionLimit(Decimal("110"), "USD", None, MoneyFlow.ANY))
    now = clock.now()
    await bench.put(budget(1, now), transaction(1, "-100", now, now, status=PENDING, is_estimate=True))
    await bench.put(transaction(2, "-115", now, now))
    assert await bench.keys() == ["1:purchase:2"]
    assert await _spent(bench) == [115]


async def test_a_purchase_that_changes_its_category_when_posted_is_spent_there_only(
    bench: Bench, clock: SteppedClock
) -> None:
    """The pending form's budget is summed anew with the posted form's."""
    now = clock.now()
    await bench.put(budget(1, now), budget(2, now, category="shopping"))
    await bench.put(transaction(1, "-100", now, now, status=PENDING, category="shopping"))
    assert await _spent(bench) == [0, 100]
    await bench.put(transaction(2, "-100", now, now))
    assert await _spent(bench) == [100, 0]


async def test_a_pending_form_stands_for_its_purchase_again_when_the_posted_one_is_deleted(
    bench: Bench, clock: SteppedClock
) -> None:
    """Also where they were told apart."""
    await bench.create(TransactionLimit(Decimal("110"), "USD", None, MoneyFlow.ANY))
    now = clock.now()
    await bench.put(budget(1, now), transaction(1, "-100", now, now, status=PENDING, is_estimate=True))
    await bench.put(transaction(2, "-115", now, now))
    await delete_facts(bench.engine, PARTNER, [("transactions", 2)], now)
    assert await _spent(bench) == [100]


async def test_a_posted_form_waits_for_no_other_when_its_pending_one_is_deleted(
    bench: Bench, clock: SteppedClock
) -> None:
    """Banks delete a hold once it is booked; an equal purchase of the same day is still another."""
    await bench.create(SHOP)
    now = clock.now()
    await bench.put(transaction(1, "-5", now, now, status=PENDING), transaction(2, "-5", now, now))
    await delete_facts(bench.engine, PARTNER, [("transactions", 1)], now)
    await bench.put(transaction(3, "-5", now, now, status=PENDING))
    assert await bench.keys() == ["1:purchase:1", "1:purchase:3"]


@given(
    st.lists(
        st.builds(
            Candidate,
            st.just(1),
            st.integers(1, 6),
            st.integers(11, 16),
            st.booleans(),
            st.booleans(),
            st.booleans(),
            st.timedeltas(timedelta(0), timedelta(days=8)),
        ),
        max_size=20,
    ),
    st.randoms(),
)
def test_pairs_are_disjoint_and_do_not_depend_on_order(candidates: list[Candidate], random: object) -> None:
    """Each transaction is in at most one pair; a shuffle changes nothing; no pair that could be made is left."""
    pairs = chosen_pairs(candidates)
    members = [id_ for pair in pairs for id_ in (pair.pending_id, pair.posted_id)]
    assert len(members) == len(set(members))
    assert chosen_pairs(candidates[::-1]) == pairs
    assert all({each.pending_id, each.posted_id} & set(members) for each in candidates)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("  Corner   SHOP ", "corner shop"),  # case and white space
        ("Ｃｏｒｎｅｒ", "corner"),  # full width
        ("STRASSE", "straße"),  # case folding, not lowering
        ("ﬁne", "FINE"),  # ligature
        ("café", "café"),  # composed and decomposed
    ],
)
def test_names_that_read_alike_are_alike(one: str, other: str) -> None:
    """Each row names what differs."""
    assert normalised(one) == normalised(other)


@given(st.text(max_size=50))
def test_normalising_twice_changes_nothing(name: str) -> None:
    """Or a stored name would differ from a pattern made of it."""
    assert normalised(normalised(name)) == normalised(name)
