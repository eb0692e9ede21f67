"""Which lines of a scenario made a firing true: what a reader looks up to check it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from tocsin_devstack.bills import payments
from tocsin_devstack.feed import NOON
from tocsin_devstack.scenario import (
    Bill,
    Budget,
    Kind,
    Scenario,
    Transaction,
    TransactionStatus,
    local_instant,
)

LINES_NAMED, PAYMENTS_NAMED = 12, 3
A_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Fired:
    """A firing as its notification tells it; `context` is the notification's metadata."""

    kind: Kind
    user_id: int
    context: Mapping[str, object]
    fired_at: datetime


class Evidence:
    """Answers for one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._zone = scenario.time_zone
        self._lines = sorted(scenario.transactions(), key=self._instant)
        self._by_id: dict[int, list[Transaction]] = {}
        for line in self._lines:
            self._by_id.setdefault(line.id, []).append(line)
        facts = [fact for posting in scenario.postings for fact in posting.facts]
        self._budgets = {fact.id: fact for fact in facts if isinstance(fact, Budget)}
        self._bills = {fact.id: fact for fact in facts if isinstance(fact, Bill)}

    def of(self, fired: Fired) -> str:
        """The lines to look at; empty where the scenario has none for it."""
        context = fired.context
        match fired.kind:
            case Kind.ACCOUNT_THRESHOLD:
                return self._balance(fired, Decimal(str(context["balance"])), int(str(context["account_id"])))
            case Kind.GOAL:
                return self._balance(fired, Decimal(str(context["current_amount"])), None)
            case Kind.MERCHANT_NAME | Kind.TRANSACTION_LIMIT:
                return self._line(int(str(context["transaction_id"])), fired.fired_at)
            case Kind.SPENDING_TARGET:
                return self._spending(int(str(context["budget_id"])), str(context["period"]), fired.fired_at)
            case Kind.UPCOMING_BILL:
                return self._payments(int(str(context["bill_id"])), fired.fired_at)

    def _instant(self, line: Transaction) -> datetime:
        return line.posted_at or local_instant(line.posted_on, NOON, self._zone)

    def _until(self, instant: datetime) -> Iterator[Transaction]:
        """Lines posted up to an instant, the latest first."""
        return (line for line in reversed(self._lines) if self._instant(line) <= instant)

    def _balance(self, fired: Fired, balance: Decimal, account_id: int | None) -> str:
        for line in self._until(fired.fired_at):
            same_account = line.user_id == fired.user_id and account_id in (None, line.account_id)
            if same_account and line.balance_after == balance:
                return f"balance {balance:.2f} after {line.source} of {line.posted_on}"
        return ""

    def _line(self, transaction_id: int, fired_at: datetime) -> str:
        forms = [line for line in self._by_id.get(transaction_id, ()) if self._instant(line) <= fired_at]
        if not forms:
            return ""
        line = forms[-1]
        return f"{line.source}: {line.posted_on} {line.amount:.2f} {line.description}"

    def _spending(self, budget_id: int, period: str, fired_at: datetime) -> str:
        budget = self._budgets.get(budget_id)
        if budget is None:
            return ""
        lines = [
            line
            for line in self._purchases(budget.user_id, fired_at)
            if line.category == budget.category and _within(line.posted_on, period)
        ]
        return f"{budget.category}, {period}: {_named(lines)}"

    def _purchases(self, user_id: int, instant: datetime) -> list[Transaction]:
        """A person's purchases as they stand at an instant, each once: in its latest form, unless that is reversed."""
        known = reversed([line for line in self._until(instant) if line.user_id == user_id])
        latest = {line.id: line for line in known}
        settled = {line.settles for line in latest.values()}
        return [
            line for line in latest.values() if line.status is not TransactionStatus.REVERSED and line.id not in settled
        ]

    def _payments(self, bill_id: int, fired_at: datetime) -> str:
        bill = self._bills.get(bill_id)
        if bill is None:
            return ""
        paid = payments(self._purchases(bill.user_id, fired_at))
        its_own = [payment for payment in paid if payment.payee.casefold() == bill.payee.casefold()]
        named = [f"{payment.source} {-payment.amount:.2f} ({payment.on})" for payment in its_own[-PAYMENTS_NAMED:]]
        return f"paid before: {', '.join(named)}" if named else ""


def _within(day: date, period: str) -> bool:
    """Whether a day lies in a period as firings name it: a month `2025-10`, or the week that begins on a day."""
    if len(period) == len("2025-10"):
        return day.isoformat().startswith(period)
    begins = date.fromisoformat(period)
    return begins <= day < begins + A_WEEK


def _named(lines: Sequence[Transaction]) -> str:
    """The last lines with their amounts, and the sum of those before them: together what was spent."""
    earlier, shown = lines[:-LINES_NAMED], lines[-LINES_NAMED:]
    sum_of_earlier = [f"{len(earlier)} earlier {sum(line.amount for line in earlier):.2f}"] if earlier else []
    return ", ".join([*sum_of_earlier, *(f"{line.source} {line.amount:.2f}" for line in shown)])
