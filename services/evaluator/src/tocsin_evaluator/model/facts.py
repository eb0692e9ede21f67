"""What a bank knows, as values. Ids are the bank's own and mean something together with the partner only."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeAlias

from tocsin_evaluator.model.words import (
    BudgetPeriod,
    FactKind,
    Recurrence,
    Refusal,
    SpentSource,
    TransactionStatus,
)


@dataclass(frozen=True)
class Profile:
    """A person. Addresses go to the dispatcher only; zone, currency and locale are kept here too."""

    partner_id: int
    user_id: int
    email: str
    phone: str
    email_verified: bool
    phone_verified: bool
    locale: str
    time_zone: str
    currency: str
    as_of: datetime

    @property
    def id(self) -> int:
        """A profile is named by its person."""
        return self.user_id


@dataclass(frozen=True)
class Account:
    """An account with its balance."""

    partner_id: int
    id: int
    user_id: int
    name: str
    balance: Decimal
    currency: str
    as_of: datetime
    closed: bool


@dataclass(frozen=True)
class Transaction:
    """A movement of money; negative is money out. One of `posted_at` and `posted_on` is set."""

    partner_id: int
    id: int
    user_id: int
    account_id: int
    amount: Decimal
    currency: str
    merchant: str
    description: str
    category: str
    posted_at: datetime | None
    posted_on: date | None
    status: TransactionStatus
    pending_transaction_id: int | None
    is_estimate: bool
    balance_after: Decimal | None
    as_of: datetime


@dataclass(frozen=True)
class Goal:
    """What is saved towards a target."""

    partner_id: int
    id: int
    user_id: int
    name: str
    currency: str
    current_amount: Decimal
    target_amount: Decimal
    as_of: datetime


@dataclass(frozen=True)
class Budget:
    """What may be spent on a category in a period. `starts_on` is the first day of any one of its periods."""

    partner_id: int
    id: int
    user_id: int
    name: str
    category: str
    currency: str
    amount: Decimal
    period: BudgetPeriod
    starts_on: date | None
    spent_source: SpentSource
    spent: Decimal
    as_of: datetime


@dataclass(frozen=True)
class Bill:
    """What has to be paid. `due_date` is its first occurrence; those up to `paid_through` are paid."""

    partner_id: int
    id: int
    user_id: int
    name: str
    currency: str
    amount: Decimal
    due_date: date
    recurrence: Recurrence
    paid_through: date | None
    as_of: datetime


Fact: TypeAlias = Profile | Account | Transaction | Goal | Budget | Bill

KIND_OF_FACT: dict[type[Fact], FactKind] = {
    Profile: FactKind.PROFILE,
    Account: FactKind.ACCOUNT,
    Goal: FactKind.GOAL,
    Transaction: FactKind.TRANSACTION,
    Budget: FactKind.BUDGET,
    Bill: FactKind.BILL,
}


@dataclass(frozen=True)
class FactKey:
    """Names a stored fact."""

    partner_id: int
    kind: FactKind
    id: int


def key_of(fact: Fact) -> FactKey:
    """The key a fact is stored under."""
    return FactKey(fact.partner_id, KIND_OF_FACT[type(fact)], fact.id)


@dataclass(frozen=True)
class Trace:
    """The trace a fact arrived in (W3C Trace Context), carried on by what it fires."""

    traceparent: str | None = None
    tracestate: str | None = None


NO_TRACE = Trace()


@dataclass(frozen=True)
class Arrival:
    """A fact on its way in: whether it came as history, in which trace, and when."""

    fact: Fact
    backfill: bool
    trace: Trace
    at: datetime


@dataclass(frozen=True)
class Refused:
    """Why one item is not taken in, in words of the contract; `field` is empty where it is the whole item."""

    refusal: Refusal
    field: str
    message: str
