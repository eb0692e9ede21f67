"""The household and a bank's file give every kind something to say, the same for the same input."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin_devstack.bank_file import BankLine, read_bank_file
from tocsin_devstack.bank_scenario import bank_scenario
from tocsin_devstack.household import ROBIN, SAM, household
from tocsin_devstack.scenario import (
    Account,
    AccountThreshold,
    Bill,
    Budget,
    Goal,
    GoalReached,
    Kind,
    Scenario,
    SpendingTarget,
    Transaction,
    TransactionLimit,
    TransactionStatus,
    UpcomingBill,
)

Found = TypeVar("Found")
LAST_DAY = date(2026, 1, 29)


def _facts(scenario: Scenario, kind: type[Found]) -> list[Found]:
    return [fact for posting in scenario.postings for fact in posting.facts if isinstance(fact, kind)]


def test_the_same_seed_makes_the_same_household_and_another_one_another() -> None:
    assert household(7, LAST_DAY, 60) == household(7, LAST_DAY, 60)
    assert household(7, LAST_DAY, 60) != household(8, LAST_DAY, 60)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.dates(date(2020, 1, 1), date(2030, 12, 31)))
def test_each_kind_has_something_to_say_whatever_the_seed_and_the_day(seed: int, last_day: date) -> None:
    _every_kind_is_asked_for_and_comes_true(household(seed, last_day, 60))


def test_each_kind_has_something_to_say_about_the_real_account(bank_data: Path) -> None:
    scenario = _real(bank_data)
    assert (scenario.first_day, scenario.days) == (date(2025, 12, 1), 60)
    _every_kind_is_asked_for_and_comes_true(scenario)
    bills = {bill.name: bill for bill in _facts(scenario, Bill)}
    assert {"Rent", "Internet Service"} <= bills.keys()
    assert bills["Rent"].amount == Decimal("1494.00")


def _real(bank_data: Path) -> Scenario:
    return bank_scenario("The account", read_bank_file(bank_data / "sshc_checking" / "transactions.csv"), 60)


def _every_kind_is_asked_for_and_comes_true(scenario: Scenario) -> None:
    assert scenario.silent == ()
    for kind, comes_true in COMES_TRUE.items():
        wishes = [wish.condition for wish in scenario.wishes if wish.kind is kind]
        assert any(comes_true(scenario, condition) for condition in wishes), kind


def _balances(scenario: Scenario, account_id: int) -> list[Decimal]:
    """Every balance that becomes known in the window, in order: those posted and those that follow a line."""
    known = [_balance_of(fact) for posting in scenario.postings for fact in posting.facts]
    return [balance for account, balance in known if account == account_id and balance is not None]


def _balance_of(fact: object) -> tuple[int | None, Decimal | None]:
    """(account, balance) that a fact makes known."""
    match fact:
        case Account():
            return fact.id, fact.balance
        case Transaction():
            return fact.account_id, fact.balance_after
        case _:
            return None, None


def _crossed(scenario: Scenario, condition: AccountThreshold) -> bool:
    balances = _balances(scenario, condition.account_id)
    if condition.direction == "below":
        return min(balances) < condition.threshold
    return max(balances) > condition.threshold


def _reached(scenario: Scenario, condition: GoalReached) -> bool:
    saved = [goal for goal in _facts(scenario, Goal) if goal.id == condition.goal_id]
    return saved[0].current_amount < saved[0].target_amount <= max(goal.current_amount for goal in saved)


def _spent(scenario: Scenario, condition: SpendingTarget) -> bool:
    budget = next(budget for budget in _facts(scenario, Budget) if budget.id == condition.budget_id)
    lines = [line for line in scenario.transactions() if line.category == budget.category]
    posted = [line for line in lines if line.status is TransactionStatus.POSTED]
    months = {(line.posted_on.year, line.posted_on.month) for line in _facts(scenario, Transaction)}
    spent = (
        sum(-line.amount for line in posted if (line.posted_on.year, line.posted_on.month) == month) for month in months
    )
    return max(spent) * 100 >= 50 * budget.amount


def _exceeded(scenario: Scenario, condition: TransactionLimit) -> bool:
    return any(-line.amount >= condition.amount for line in _facts(scenario, Transaction))


def _comes_due(scenario: Scenario, condition: UpcomingBill) -> bool:
    bill = next(bill for bill in _facts(scenario, Bill) if bill.id == condition.bill_id)
    return bill.due_on < scenario.first_day + timedelta(days=31)


def _matches(scenario: Scenario, condition: object) -> bool:
    pattern = getattr(condition, "merchant_pattern", "").casefold()
    return any(pattern in line.merchant.casefold() for line in _facts(scenario, Transaction))


COMES_TRUE: dict[Kind, Callable[..., bool]] = {
    Kind.ACCOUNT_THRESHOLD: _crossed,
    Kind.GOAL: _reached,
    Kind.MERCHANT_NAME: _matches,
    Kind.SPENDING_TARGET: _spent,
    Kind.TRANSACTION_LIMIT: _exceeded,
    Kind.UPCOMING_BILL: _comes_due,
}


@pytest.fixture(scope="module")
def home() -> Scenario:
    return household(7, LAST_DAY, 60)


def test_postings_and_wishes_lie_in_the_window_and_history_before_it(home: Scenario) -> None:
    instants = [posting.at for posting in home.postings]
    assert instants == sorted(instants)
    assert home.starts_at == instants[0]
    assert instants[-1] < home.ends_at
    assert all(home.starts_at <= wish.at < home.ends_at for wish in home.wishes)
    assert home.history
    assert all(line.posted_at is not None and line.posted_at < home.starts_at for line in home.history)


def test_no_account_goes_stale(home: Scenario) -> None:
    for account_id in (101, 102, 103):
        known = sorted(fact.as_of for fact in _facts(home, Account) if fact.id == account_id)
        assert all(later - earlier <= timedelta(hours=26) for earlier, later in pairwise(known))


def test_the_household_does_what_trips_naive_systems(home: Scenario) -> None:
    lines = _facts(home, Transaction)
    by_id = {line.id: line for line in home.transactions()}
    named = [line for line in lines if line.pending_transaction_id is not None]
    assert any(by_id[line.pending_transaction_id or 0].status is TransactionStatus.PENDING for line in named)
    estimate = next(line for line in lines if line.is_estimate)
    assert any(line.merchant == estimate.merchant and line.amount != estimate.amount for line in lines)
    undone = next(line for line in lines if line.status is TransactionStatus.REVERSED)
    assert sum(line.id == undone.id for line in lines) == 2, "the same transaction, first posted"
    vending = [line for line in lines if line.merchant == "Metro Vending"]
    assert len({line.id for line in vending}) == 2
    assert len({(line.amount, line.posted_on) for line in vending}) == 1, "two equal purchases"
    assert ROBIN.quiet_hours is not None
    assert not SAM.phone_verified


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.dates(date(2020, 1, 1), date(2030, 12, 31)))
def test_each_balance_the_household_is_posted_is_the_one_booked_last(seed: int, last_day: date) -> None:
    _each_balance_posted_is_the_one_booked_last(household(seed, last_day, 60))


def test_each_balance_of_the_real_account_that_is_posted_is_the_one_booked_last(bank_data: Path) -> None:
    _each_balance_posted_is_the_one_booked_last(_real(bank_data))


def _each_balance_posted_is_the_one_booked_last(scenario: Scenario) -> None:
    """Over all postings: an account is posted as it stands at that instant, whatever the day will bring or brought."""
    opening = (fact for fact in scenario.setup if isinstance(fact, Account))
    booked = {account.id: account.balance for account in opening}
    booked |= {line.account_id: line.balance_after for line in scenario.history if line.balance_after is not None}
    mornings = 0
    for posting in scenario.postings:
        for fact in posting.facts:
            if isinstance(fact, Account):
                assert (fact.as_of, fact.balance) == (posting.at, booked[fact.id])
                mornings += 1
            account, balance = _balance_of(fact)
            if account is not None and balance is not None:
                booked[account] = balance
    assert mornings == len(booked) * (1 + scenario.days), "as the window opens, and every morning"


def test_posted_and_reversed_lines_move_the_balance_and_pending_ones_do_not(home: Scenario) -> None:
    moving = [line for line in home.transactions() if line.account_id == 101 and line.balance_after is not None]
    for before, line in pairwise(moving):
        moved = -line.amount if line.status is TransactionStatus.REVERSED else line.amount
        assert before.balance_after is not None
        assert before.balance_after + moved == line.balance_after, line


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 200),
            st.integers(-100_000, 100_000),
            st.sampled_from(["A", "B*X12345", "", "CC DD"]),
            st.sampled_from([0, 0, 0, 17]),  # what the file leaves out between two lines
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 90),
)
def test_any_file_makes_a_scenario_that_says_what_is_missing(rows: list[tuple[int, int, str, int]], days: int) -> None:
    balance, lines = Decimal(0), []
    for number, (day, cents, text, left_out) in enumerate(sorted(rows), start=1):
        balance += (amount := Decimal(cents) / 100) + left_out
        on = date(2025, 1, 1) + timedelta(days=day)
        lines.append(BankLine(number + 1, number, on, text or "(no description)", amount, balance, ""))
    scenario = bank_scenario("Any", lines, days)
    assert len(scenario.history) + len(_facts(scenario, Transaction)) == len(lines)
    assert set(scenario.silent) == set(Kind) - {wish.kind for wish in scenario.wishes}
    assert all(scenario.starts_at <= wish.at < scenario.ends_at for wish in scenario.wishes)
    _each_balance_posted_is_the_one_booked_last(scenario)
