"""A made-up household, the same for the same seed and last day: for when no bank's file is given.

Robin keeps a checking and a savings account: salary, rent, subscriptions, groceries, card purchases that are pending
first, a reversal, two equal purchases in one day, budgets, a goal, bills. Sam studies in another zone, has an account
of their own and a phone nobody verified. `purchases.py` says what they buy, `booking.py` follows the balances.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from random import Random

from tocsin_devstack.bank_scenario import monthly_amount
from tocsin_devstack.bills import bills_of, payments
from tocsin_devstack.booking import booked
from tocsin_devstack.choosing import roundest_between
from tocsin_devstack.feed import Book, Window, daily_postings
from tocsin_devstack.payees import monthly_payees
from tocsin_devstack.purchases import checking_lines, savings_lines, student_lines
from tocsin_devstack.scenario import (
    Account,
    Budget,
    BudgetPeriod,
    Goal,
    Posting,
    Profile,
    Scenario,
    Transaction,
    Wish,
    local_instant,
)
from tocsin_devstack.wishes import (
    Wisher,
    balance_wishes,
    bill_wishes,
    budget_wishes,
    goal_wish,
    limit_wishes,
    merchant_wishes,
)

CURRENCY = "USD"
HISTORY_DAYS = 120
GOAL_ID, FIRST_BUDGET_ID = 201, 301
WEEKS_A_MONTH = Decimal("4.35")
BUDGETED = (("Groceries", BudgetPeriod.MONTHLY), ("Eating out", BudgetPeriod.WEEKLY))
ROBIN = Profile(
    user_id=1,
    name="Robin",
    email="robin@example.com",
    phone="+13125550142",
    phone_verified=True,
    locale="en-US",
    time_zone="America/Chicago",
    currency=CURRENCY,
    quiet_hours=(time(22), time(8)),
)
SAM = Profile(
    user_id=2,
    name="Sam",
    email="sam@example.com",
    phone="+12125550143",
    phone_verified=False,
    locale="en-US",
    time_zone="America/New_York",
    currency=CURRENCY,
    quiet_hours=None,
)


@dataclass(frozen=True)
class _Ledger:
    """An account when the bank first knew it, and everything booked on it since."""

    account: Account
    lines: tuple[Transaction, ...]

    def history(self, window: Window) -> list[Transaction]:
        return [line for line in self.lines if window.instant_of(line) < window.starts_at]

    def book(self, window: Window) -> Book:
        balances = [line.balance_after for line in self.history(window) if line.balance_after is not None]
        balance = balances[-1] if balances else self.account.balance
        inside = tuple(line for line in self.lines if window.instant_of(line) >= window.starts_at)
        return Book(replace(self.account, balance=balance, as_of=window.starts_at), inside)


def household(seed: int, last_day: date, days: int) -> Scenario:
    """The household's last `days` days up to `last_day`, with four months of history before them."""
    window = Window(last_day - timedelta(days=days - 1), days, ROBIN.time_zone)
    checking, savings, sams = ledgers = _ledgers(Random(seed), window)  # noqa: S311  # purchases, no secrets
    history = sorted((line for ledger in ledgers for line in ledger.history(window)), key=window.instant_of)
    books = [checking.book(window), _saving(savings.book(window)), sams.book(window)]
    robin = Wisher(ROBIN.user_id, CURRENCY, window.starts_at)
    payees = monthly_payees(payments(checking.history(window)), window.first_day)
    bills = bills_of(payees, robin, {payee.category: payee.category for payee in payees})
    budgets = _budgets(checking.history(window), books[0].lines)
    goals = [book.goal for book in books if book.goal is not None]
    wishes = (
        *_robins_wishes(robin, window, books, frozenset(payee.payee for payee in payees)),
        *budget_wishes(robin, budgets),
        *bill_wishes(robin, list(bills)),
        *_sams_wishes(Wisher(SAM.user_id, CURRENCY, window.starts_at), window, books[2]),
    )
    opening = Posting(window.starts_at, (*(book.account for book in books), *goals, *budgets, *bills))
    return Scenario(
        title=f"The household, seed {seed}",
        time_zone=window.time_zone,
        first_day=window.first_day,
        days=days,
        setup=(ROBIN, SAM, *(ledger.account for ledger in ledgers)),
        history=tuple(history),
        postings=(opening, *daily_postings(window, books, bills)),
        wishes=wishes,
    )


def _ledgers(random: Random, window: Window) -> tuple[_Ledger, _Ledger, _Ledger]:
    began = window.first_day - timedelta(days=HISTORY_DAYS)
    days = [began + timedelta(days=offset) for offset in range(HISTORY_DAYS + window.days)]
    lines = (
        checking_lines(random, ROBIN.time_zone, days, window.first_day),
        savings_lines(random, ROBIN.time_zone, days),
        student_lines(random, SAM.time_zone, days),
    )
    as_of = local_instant(began, time(), ROBIN.time_zone)
    accounts = (
        Account(101, ROBIN.user_id, "Checking", Decimal("900.00"), CURRENCY, as_of),
        Account(102, ROBIN.user_id, "Savings", Decimal("600.00"), CURRENCY, as_of),
        Account(103, SAM.user_id, "Student account", Decimal("350.00"), CURRENCY, as_of),
    )
    zones = (ROBIN.time_zone, ROBIN.time_zone, SAM.time_zone)

    def ledger(index: int) -> _Ledger:
        up_to_the_end = [line for line in lines[index] if line.at < window.ends_at]
        return _Ledger(accounts[index], tuple(booked(accounts[index], zones[index], up_to_the_end, 1000 * (index + 1))))

    return ledger(0), ledger(1), ledger(2)


def _saving(book: Book) -> Book:
    """The savings book with its goal: an amount that the last transfer within the window reaches."""
    balances = [line.balance_after for line in book.lines if line.balance_after is not None]
    target = roundest_between(book.account.balance, balances[-1]) if balances else None
    if target is None:
        return book
    return replace(book, goal=Goal(GOAL_ID, ROBIN.user_id, "Holiday", CURRENCY, book.account.balance, target))


def _budgets(history: Sequence[Transaction], inside: Sequence[Transaction]) -> list[Budget]:
    return [
        Budget(FIRST_BUDGET_ID + index, ROBIN.user_id, category, category, CURRENCY, amount, period)
        for index, (category, period) in enumerate(BUDGETED)
        if (amount := _amount(history, inside, category, period)) is not None
    ]


def _amount(
    history: Sequence[Transaction], inside: Sequence[Transaction], category: str, period: BudgetPeriod
) -> Decimal | None:
    monthly = monthly_amount(history, inside, category)
    if monthly is None or period is BudgetPeriod.MONTHLY:
        return monthly
    return roundest_between(monthly / WEEKS_A_MONTH / 2, monthly / WEEKS_A_MONTH)


def _robins_wishes(who: Wisher, window: Window, books: Sequence[Book], known: frozenset[str]) -> list[Wish]:
    lines = books[0].lines
    goals = [goal_wish(who, book.goal, who.at) for book in books if book.goal is not None]
    return [
        *balance_wishes(who, books[0].account.id, books[0].balances(window)),
        *goals,
        *merchant_wishes(who, lines, known),
        *limit_wishes(who, lines),
    ]


def _sams_wishes(who: Wisher, window: Window, book: Book) -> list[Wish]:
    wishes = balance_wishes(who, book.account.id, book.balances(window))
    return [*wishes[:1], *merchant_wishes(who, book.lines, frozenset())[:1]]
