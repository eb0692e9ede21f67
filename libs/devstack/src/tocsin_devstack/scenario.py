"""What a simulation lives through: people, their facts at their times, and the alerts they asked for. Pure values.

A scenario is made by `household.py` (from a seed) or `bank_scenario.py` (from a bank's file) and lived through by
`simulation.py`. `evidence.py` answers from it which of its lines made a firing true.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias
from zoneinfo import ZoneInfo

PARTNER_ID = 1
BILL_DAYS_BEFORE = 3


class Kind(StrEnum):
    """The six kinds of alert, in the registry's order."""

    ACCOUNT_THRESHOLD = "account_threshold"
    GOAL = "goal"
    MERCHANT_NAME = "merchant_name"
    SPENDING_TARGET = "spending_target"
    TRANSACTION_LIMIT = "transaction_limit"
    UPCOMING_BILL = "upcoming_bill"


class TransactionStatus(StrEnum):
    """What the bank says of a transaction."""

    PENDING = "pending"
    POSTED = "posted"
    REVERSED = "reversed"


class BudgetPeriod(StrEnum):
    """How often a budget starts anew."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True)
class Profile:
    """A person as the bank knows them; quiet hours are the person's own choice, local times."""

    user_id: int
    name: str
    email: str
    phone: str
    phone_verified: bool
    locale: str
    time_zone: str
    currency: str
    quiet_hours: tuple[time, time] | None


@dataclass(frozen=True)
class Account:
    """An account's balance as of an instant."""

    id: int
    user_id: int
    name: str
    balance: Decimal
    currency: str
    as_of: datetime


@dataclass(frozen=True)
class Transaction:
    """One line of an account. Negative is money out; `source` says where a reader finds it (a line of a file).

    `settles` is the pending form of the same purchase. The bank may or may not name it: `pending_transaction_id`.
    """

    id: int
    user_id: int
    account_id: int
    amount: Decimal
    currency: str
    merchant: str
    description: str
    category: str
    posted_on: date
    posted_at: datetime | None
    status: TransactionStatus
    balance_after: Decimal | None
    source: str
    settles: int | None = None
    pending_transaction_id: int | None = None
    is_estimate: bool = False


@dataclass(frozen=True)
class Goal:
    """What is saved towards a target."""

    id: int
    user_id: int
    name: str
    currency: str
    current_amount: Decimal
    target_amount: Decimal


@dataclass(frozen=True)
class Budget:
    """What may be spent on a category in a period; what was spent is derived from its transactions."""

    id: int
    user_id: int
    name: str
    category: str
    currency: str
    amount: Decimal
    period: BudgetPeriod


@dataclass(frozen=True)
class Bill:
    """A monthly bill: `due_on` is any of its due dates, `paid_through` the last one that is paid.

    `payee` is the merchant of the payments it was made from.
    """

    id: int
    user_id: int
    name: str
    currency: str
    amount: Decimal
    due_on: date
    paid_through: date | None
    payee: str


Fact: TypeAlias = Profile | Account | Transaction | Goal | Budget | Bill


@dataclass(frozen=True)
class Posting:
    """What the bank posts at one instant, in this order."""

    at: datetime
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class AccountThreshold:
    """Balance below or above a threshold."""

    account_id: int
    threshold: Decimal
    currency: str
    direction: str
    repeat: str


@dataclass(frozen=True)
class GoalReached:
    """A goal's milestones, in percent."""

    goal_id: int
    milestones: tuple[int, ...]


@dataclass(frozen=True)
class MerchantName:
    """A purchase at a merchant."""

    merchant_pattern: str
    match_type: str
    frequency: str


@dataclass(frozen=True)
class SpendingTarget:
    """A budget's thresholds, in percent."""

    budget_id: int
    thresholds: tuple[int, ...]


@dataclass(frozen=True)
class TransactionLimit:
    """A transaction of at least an amount."""

    amount: Decimal
    currency: str
    direction: str


@dataclass(frozen=True)
class UpcomingBill:
    """A bill that is due soon."""

    bill_id: int
    days_before: int


Condition: TypeAlias = AccountThreshold | GoalReached | MerchantName | SpendingTarget | TransactionLimit | UpcomingBill
KIND_OF: Mapping[type, Kind] = {
    AccountThreshold: Kind.ACCOUNT_THRESHOLD,
    GoalReached: Kind.GOAL,
    MerchantName: Kind.MERCHANT_NAME,
    SpendingTarget: Kind.SPENDING_TARGET,
    TransactionLimit: Kind.TRANSACTION_LIMIT,
    UpcomingBill: Kind.UPCOMING_BILL,
}


@dataclass(frozen=True)
class Wish:
    """An alert a person asks for, at an instant of the window."""

    at: datetime
    user_id: int
    name: str
    condition: Condition
    sms: bool = False
    cooldown: timedelta | None = None

    @property
    def kind(self) -> Kind:
        """The kind its condition names."""
        return KIND_OF[type(self.condition)]


@dataclass(frozen=True)
class Scenario:
    """Everything a simulation needs. The window is `days` local days of `time_zone`, from `first_day` on."""

    title: str
    time_zone: str
    first_day: date
    days: int
    setup: tuple[Fact, ...]
    history: tuple[Transaction, ...]
    postings: tuple[Posting, ...]
    wishes: tuple[Wish, ...]

    @property
    def silent(self) -> tuple[Kind, ...]:
        """Kinds that nobody asks for, because the data gives them nothing to say."""
        asked_for = {wish.kind for wish in self.wishes}
        return tuple(kind for kind in Kind if kind not in asked_for)

    @property
    def starts_at(self) -> datetime:
        """The first instant of the window."""
        return local_instant(self.first_day, time(), self.time_zone)

    @property
    def ends_at(self) -> datetime:
        """The first instant after the window."""
        return local_instant(self.first_day + timedelta(days=self.days), time(), self.time_zone)

    @property
    def people(self) -> tuple[Profile, ...]:
        """Who lives here."""
        return tuple(fact for fact in self.setup if isinstance(fact, Profile))

    def transactions(self) -> Iterator[Transaction]:
        """History and window, as posted."""
        yield from self.history
        for posting in self.postings:
            yield from (fact for fact in posting.facts if isinstance(fact, Transaction))


def local_instant(day: date, at: time, time_zone: str) -> datetime:
    """The instant of a local wall-clock time (a skipped time moves forward, a repeated one counts first)."""
    wall = datetime.combine(day, at, tzinfo=ZoneInfo(time_zone))
    return wall.astimezone(ZoneInfo("UTC"))
