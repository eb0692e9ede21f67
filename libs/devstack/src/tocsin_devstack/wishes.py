"""The alerts a person of a scenario asks for, their numbers chosen from what the window brings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from tocsin_devstack.choosing import high_balance, large_purchase, low_balance
from tocsin_devstack.scenario import (
    BILL_DAYS_BEFORE,
    AccountThreshold,
    Bill,
    Budget,
    Goal,
    GoalReached,
    MerchantName,
    SpendingTarget,
    Transaction,
    TransactionLimit,
    UpcomingBill,
    Wish,
)

ONCE_A_DAY = timedelta(hours=24)
MILESTONES = (25, 50, 75, 100)
BUDGET_THRESHOLDS = (50, 80, 90, 100)


@dataclass(frozen=True)
class Wisher:
    """Who asks for alerts, from which instant on."""

    user_id: int
    currency: str
    at: datetime


def balance_wishes(who: Wisher, account_id: int, balances: Sequence[Decimal]) -> list[Wish]:
    """Told daily while the balance is low, and once whenever it becomes high; `balances` in the order they come."""
    low, high = low_balance(balances), high_balance(balances)
    wishes = []
    if low is not None:
        condition = AccountThreshold(account_id, low, who.currency, "below", "while_true")
        wishes.append(Wish(who.at, who.user_id, "Balance is low", condition, sms=True, cooldown=ONCE_A_DAY))
    if high is not None:
        condition = AccountThreshold(account_id, high, who.currency, "above", "on_crossing")
        wishes.append(Wish(who.at, who.user_id, "Balance is high", condition))
    return wishes


def goal_wish(who: Wisher, goal: Goal, at: datetime) -> Wish:
    """Told at each quarter of a goal; asked for at `at`."""
    return Wish(at, who.user_id, f"Goal {goal.name}", GoalReached(goal.id, MILESTONES))


def merchant_wishes(who: Wisher, lines: Sequence[Transaction], known: frozenset[str]) -> list[Wish]:
    """Told of the merchant bought from most, of the second one once a day, and of the commonest payer by digest.

    `known` are payees that have a bill: nobody asks for both.
    """
    bought = Counter(line.merchant for line in lines if line.amount < 0 and line.merchant not in known)
    paid_in = Counter(line.merchant for line in lines if line.amount > 0)
    buys, pays = _commonest(bought), _commonest(paid_in)
    conditions = [MerchantName(_first_word(name), "contains", "immediate") for name in buys[:1]]
    conditions += [MerchantName(name, "exact", "first_of_day") for name in _not_containing(buys)[:1]]
    conditions += [MerchantName(name, "exact", "daily_digest") for name in pays[:1]]
    return [Wish(who.at, who.user_id, f"Merchant {each.merchant_pattern}", each) for each in conditions]


def _commonest(names: Counter[str]) -> list[str]:
    return sorted(names, key=lambda name: (-names[name], name))


def _first_word(name: str) -> str:
    """`AMAZON` of `AMAZON MKTPL`; the whole name where its first word says little."""
    word = name.replace("*", " ").replace(".", " ").split()[0]
    return word if len(word) >= 4 else name


def _not_containing(names: Sequence[str]) -> list[str]:
    pattern = _first_word(names[0]).casefold() if names else ""
    return [name for name in names if pattern not in name.casefold()]


def budget_wishes(who: Wisher, budgets: Sequence[Budget]) -> list[Wish]:
    """Told when a budget is half spent, nearly spent, spent."""
    return [
        Wish(who.at, who.user_id, f"Budget {budget.name}", SpendingTarget(budget.id, BUDGET_THRESHOLDS))
        for budget in budgets
    ]


def limit_wishes(who: Wisher, lines: Sequence[Transaction]) -> list[Wish]:
    """Told of the few largest payments out, by text too."""
    limit = large_purchase(line.amount for line in lines)
    if limit is None:
        return []
    condition = TransactionLimit(limit, who.currency, "debit")
    return [Wish(who.at, who.user_id, "Large payment", condition, sms=True)]


def bill_wishes(who: Wisher, bills: Sequence[Bill]) -> list[Wish]:
    """Told of each bill three days before it is due; of the dearest by text too."""
    return [
        Wish(who.at, who.user_id, f"Bill {bill.name}", UpcomingBill(bill.id, BILL_DAYS_BEFORE), sms=index == 0)
        for index, bill in enumerate(bills)
    ]
