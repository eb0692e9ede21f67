"""What happened, as taken in from the evaluator: a firing and the values that made it true."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar
from uuid import UUID


class AlertKind(StrEnum):
    """The six kinds of alert."""

    ACCOUNT_THRESHOLD = "account_threshold"
    GOAL = "goal"
    MERCHANT_NAME = "merchant_name"
    SPENDING_TARGET = "spending_target"
    TRANSACTION_LIMIT = "transaction_limit"
    UPCOMING_BILL = "upcoming_bill"


class Channel(StrEnum):
    """A way to reach a person."""

    EMAIL = "email"
    SMS = "sms"
    IN_APP = "in_app"
    PUSH = "push"
    WEBHOOK = "webhook"


class WorkClass(StrEnum):
    """The lane work travels in; each has reserved capacity."""

    REALTIME = "realtime"
    USER = "user"
    PERIODIC = "periodic"
    BILLS = "bills"


class ThresholdDirection(StrEnum):
    """Which side of a threshold fires."""

    BELOW = "below"
    ABOVE = "above"


@dataclass(frozen=True, slots=True)
class AccountThresholdContext:
    """The balance and the threshold as they stood."""

    kind: ClassVar[AlertKind] = AlertKind.ACCOUNT_THRESHOLD
    account_id: int
    account: str
    balance: Decimal
    threshold: Decimal
    currency: str
    direction: ThresholdDirection
    as_of: datetime


@dataclass(frozen=True, slots=True)
class GoalContext:
    """The milestone reached, in percent of the target."""

    kind: ClassVar[AlertKind] = AlertKind.GOAL
    goal_id: int
    goal: str
    percent: int
    current_amount: Decimal
    target_amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class MerchantNameContext:
    """The purchase at the merchant; the amount is signed, negative is money out."""

    kind: ClassVar[AlertKind] = AlertKind.MERCHANT_NAME
    transaction_id: int
    purchase_id: int
    merchant: str
    amount: Decimal
    currency: str
    posted_on: date
    pattern: str


@dataclass(frozen=True, slots=True)
class SpendingTargetContext:
    """The share of the budget that is spent; period is `2025-10`, `2025` or its first local day."""

    kind: ClassVar[AlertKind] = AlertKind.SPENDING_TARGET
    budget_id: int
    budget: str
    percent: int
    spent: Decimal
    amount: Decimal
    currency: str
    period: str


@dataclass(frozen=True, slots=True)
class TransactionLimitContext:
    """The transaction and the limit it exceeds; the amount is signed, negative is money out."""

    kind: ClassVar[AlertKind] = AlertKind.TRANSACTION_LIMIT
    transaction_id: int
    purchase_id: int
    description: str
    amount: Decimal
    limit: Decimal
    currency: str
    posted_on: date


@dataclass(frozen=True, slots=True)
class UpcomingBillContext:
    """The bill and the calendar day it is due, in the user's zone."""

    kind: ClassVar[AlertKind] = AlertKind.UPCOMING_BILL
    bill_id: int
    bill: str
    amount: Decimal
    currency: str
    due_on: date


FiringContext = (
    AccountThresholdContext
    | GoalContext
    | MerchantNameContext
    | SpendingTargetContext
    | TransactionLimitContext
    | UpcomingBillContext
)

JsonContext = Mapping[str, str | int]
"""A context as `notifications.metadata` stores it: ids and percents as numbers, money, days and instants as text."""


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert's condition came true once, for one occurrence; its id is the notification's id."""

    id: UUID
    partner_id: int
    user_id: int
    alert_id: int
    kind: AlertKind
    work_class: WorkClass
    occurrence_key: str
    context: FiringContext
    fired_at: datetime
    critical: bool
    channels: tuple[Channel, ...]
    """Channels the alert asks for; the inbox gets every firing, named here or not."""
    daily_digest: bool
    profile_version: int
    """The profile's version the evaluator knew; 0 where it knew none."""
    time_zone: str
    locale: str
    alert_name: str
    traceparent: str | None = None
    tracestate: str | None = None
