"""Facts in the shape of their tables: what is written of each, column by column."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True)
class PersonRow:
    """Of `people`. `content_hash` is of the whole profile, addresses included, which are not stored here."""

    partner_id: int
    user_id: int
    time_zone: str
    currency: str
    locale: str
    content_hash: bytes
    as_of: datetime


@dataclass(frozen=True)
class AccountRow:
    """Of `accounts`."""

    partner_id: int
    id: int
    user_id: int
    name: str
    balance: Decimal
    currency: str
    as_of: datetime
    closed_at: datetime | None
    received_at: datetime


@dataclass(frozen=True)
class TransactionRow:
    """Of `transactions`. A new one is a purchase of its own, or of the pending form it names, until it is paired."""

    partner_id: int
    id: int
    user_id: int
    account_id: int
    purchase_id: int
    purchase_on: date
    other_form_id: int | None
    amount: Decimal
    currency: str
    merchant: str
    merchant_norm: str
    description: str
    category: str
    posted_on: date
    posted_at: datetime
    backfill: bool
    status: str
    pending_transaction_id: int | None
    is_estimate: bool
    balance_after: Decimal | None
    as_of: datetime
    received_at: datetime


@dataclass(frozen=True)
class GoalRow:
    """Of `goals`."""

    partner_id: int
    id: int
    user_id: int
    name: str
    currency: str
    current_amount: Decimal
    target_amount: Decimal
    as_of: datetime
    received_at: datetime


@dataclass(frozen=True)
class BudgetRow:
    """Of `budgets`. `spent` speaks of the days from `spent_from` until before `spent_until`."""

    partner_id: int
    id: int
    user_id: int
    name: str
    category: str
    currency: str
    amount: Decimal
    period: str
    starts_on: date | None
    spent_source: str
    spent: Decimal
    spent_from: date
    spent_until: date
    as_of: datetime
    received_at: datetime


@dataclass(frozen=True)
class BillRow:
    """Of `bills`. `next_due_on` is worked out after the row is in."""

    partner_id: int
    id: int
    user_id: int
    name: str
    currency: str
    amount: Decimal
    due_date: date
    recurrence: str
    paid_through: date | None
    as_of: datetime
    received_at: datetime
