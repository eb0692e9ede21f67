"""Makes a scenario of a bank's file: its last days are the window, what came before is history.

Everything said comes from the file: merchants, rent and other monthly bills, budgets by category, and the thresholds,
limits and targets, which are chosen so that each kind of alert has something to say.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from decimal import Decimal

from tocsin_devstack.bank_file import BankLine
from tocsin_devstack.bills import bills_of, payments
from tocsin_devstack.choosing import CENT, budget_amount, month_of, roundest_between, spent_by_month, steepest_rise
from tocsin_devstack.feed import Book, Window, daily_postings
from tocsin_devstack.payees import monthly_payees, payee_of
from tocsin_devstack.scenario import (
    Account,
    Budget,
    BudgetPeriod,
    Goal,
    Posting,
    Profile,
    Scenario,
    Transaction,
    TransactionStatus,
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

USER_ID, ACCOUNT_ID, GOAL_ID, FIRST_BUDGET_ID = 1, 101, 201, 301
CURRENCY, TIME_ZONE = "USD", "America/Chicago"
EVENING = time(18)
BUDGETS_AT_MOST = 3
USUAL_MONTHS = 12


def bank_scenario(title: str, lines: Sequence[BankLine], days: int) -> Scenario:
    """The scenario of a file's last `days` days. `silent` names the kinds the file gives nothing to say about."""
    window = Window(lines[-1].on - timedelta(days=days - 1), days, TIME_ZONE)
    history = tuple(_transaction(line) for line in lines if line.on < window.first_day)
    before = _account_before(lines[0], window)
    book = _book(window, before, lines)
    who = Wisher(USER_ID, CURRENCY, window.starts_at)
    goal = _goal(window, book)
    book = replace(book, goal=goal[0] if goal else None)
    payees = monthly_payees(payments(history), window.first_day)
    bills = bills_of(payees, who, {payee.category: plain_name(payee.category) for payee in payees})
    budgets = _budgets(history, book.lines, {payee.category for payee in payees})
    wishes = (
        *balance_wishes(who, ACCOUNT_ID, book.balances(window)),
        *([goal_wish(who, *goal)] if goal else []),
        *merchant_wishes(who, book.lines, frozenset(payee.payee for payee in payees)),
        *budget_wishes(who, budgets),
        *limit_wishes(who, book.lines),
        *bill_wishes(who, list(bills)),
    )
    opening = Posting(window.starts_at, (book.account, *([goal[0]] if goal else []), *budgets, *bills))
    return Scenario(
        title=title,
        time_zone=TIME_ZONE,
        first_day=window.first_day,
        days=days,
        setup=(_owner(), before),
        history=history,
        postings=(opening, *daily_postings(window, [book], bills)),
        wishes=wishes,
    )


def _account_before(first: BankLine, window: Window) -> Account:
    """The account as it stood before the file's first line."""
    balance = first.balance_after - first.amount
    return Account(ACCOUNT_ID, USER_ID, "Checking", balance, CURRENCY, window.at(first.on, time()))


def _book(window: Window, before: Account, lines: Sequence[BankLine]) -> Book:
    balances = [before.balance, *(line.balance_after for line in lines if line.on < window.first_day)]
    account = replace(before, balance=balances[-1], as_of=window.starts_at)
    return Book(account, tuple(_transaction(line) for line in lines if line.on >= window.first_day))


def _transaction(line: BankLine) -> Transaction:
    payee = payee_of(line.description)
    return Transaction(
        id=line.ordinal,
        user_id=USER_ID,
        account_id=ACCOUNT_ID,
        amount=line.amount,
        currency=CURRENCY,
        merchant=payee,
        description=line.description,
        category=line.category or payee,
        posted_on=line.on,
        posted_at=None,
        status=TransactionStatus.POSTED,
        balance_after=line.balance_after,
        source=line.source,
    )


def _owner() -> Profile:
    return Profile(
        user_id=USER_ID,
        name="Account owner",
        email="owner@example.com",
        phone="+13125550142",
        phone_verified=True,
        locale="en-US",
        time_zone=TIME_ZONE,
        currency=CURRENCY,
        quiet_hours=(time(22), time(8)),
    )


def _goal(window: Window, book: Book) -> tuple[Goal, datetime] | None:
    """A balance to reach that lies within the steepest rise, and when to ask: once the low before it is known."""
    rise = steepest_rise(book.balances(window))
    target = roundest_between(max(rise.low, Decimal(0)), rise.high) if rise else None
    if rise is None or target is None:
        return None
    low_day = window.first_day + timedelta(days=rise.low_index - 1)
    at = window.starts_at if rise.low_index == 0 else window.at(low_day, EVENING)
    saved = max(book.account.balance, Decimal(0))
    return Goal(GOAL_ID, USER_ID, f"Balance of {target:,.0f}", CURRENCY, saved, target), at


def _budgets(history: Sequence[Transaction], inside: Sequence[Transaction], billed: Collection[str]) -> list[Budget]:
    """Monthly budgets of the categories with most payments in the window, their usual cost in the year before."""
    counts = Counter(line.category for line in inside if line.amount < 0 and line.category not in billed)
    categories = sorted(counts, key=lambda category: (-counts[category], category))
    found = ((category, monthly_amount(history, inside, category)) for category in categories)
    chosen = [(category, amount) for category, amount in found if amount is not None][:BUDGETS_AT_MOST]
    return [
        Budget(FIRST_BUDGET_ID + index, USER_ID, plain_name(category), category, CURRENCY, amount, BudgetPeriod.MONTHLY)
        for index, (category, amount) in enumerate(chosen)
    ]


def monthly_amount(history: Sequence[Transaction], inside: Sequence[Transaction], category: str) -> Decimal | None:
    """What a category may cost a month: as in the year before, or as in the window where that year says nothing."""
    spent = spent_by_month(line for line in (*history, *inside) if line.category == category)
    months = {month_of(line.posted_on) for line in inside if line.category == category}
    before = sorted(month for _, month in spent if month not in months)[-USUAL_MONTHS:]
    usual = sum((spent[category, month] for month in before), Decimal(0)) / max(len(before), 1)
    return budget_amount(usual.quantize(CENT), max(spent[category, month] for month in months))


def plain_name(category: str) -> str:
    """`Internet Service` of `Expenses:InternetService`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", category.rsplit(":", 1)[-1]).strip() or category
