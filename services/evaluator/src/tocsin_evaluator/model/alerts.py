"""What a user asked to be told about, as values."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

from tocsin_evaluator.model.words import (
    Channel,
    Direction,
    Frequency,
    KindName,
    MatchType,
    MoneyFlow,
    Reason,
    Repeat,
)


@dataclass(frozen=True)
class AccountThreshold:
    """A balance below or above a threshold."""

    account_id: int
    threshold: Decimal
    currency: str
    direction: Direction
    repeat: Repeat


@dataclass(frozen=True)
class GoalMilestones:
    """Milestones of a goal, in percent of its target, ascending."""

    goal_id: int
    milestones: tuple[int, ...]


@dataclass(frozen=True)
class MerchantName:
    """Purchases at a merchant."""

    merchant_pattern: str
    match_type: MatchType
    frequency: Frequency


@dataclass(frozen=True)
class SpendingTarget:
    """Shares of a budget, in percent of its amount, ascending."""

    budget_id: int
    thresholds: tuple[int, ...]


@dataclass(frozen=True)
class TransactionLimit:
    """Transactions of at least an amount, of one account or of all."""

    amount: Decimal
    currency: str
    account_id: int | None
    direction: MoneyFlow


@dataclass(frozen=True)
class UpcomingBill:
    """A bill that is due within some calendar days."""

    bill_id: int
    days_before: int


Condition: TypeAlias = (
    AccountThreshold | GoalMilestones | MerchantName | SpendingTarget | TransactionLimit | UpcomingBill
)

KIND_OF_CONDITION: dict[type[Condition], KindName] = {
    AccountThreshold: KindName.ACCOUNT_THRESHOLD,
    GoalMilestones: KindName.GOAL,
    MerchantName: KindName.MERCHANT_NAME,
    SpendingTarget: KindName.SPENDING_TARGET,
    TransactionLimit: KindName.TRANSACTION_LIMIT,
    UpcomingBill: KindName.UPCOMING_BILL,
}


@dataclass(frozen=True)
class Wish:
    """What a user says about an alert; the rest of `Alert` is ours to say."""

    name: str
    condition: Condition
    active: bool
    channels: frozenset[Channel]
    critical: bool
    cooldown: timedelta | None
    snoozed_until: datetime | None

    @property
    def kind(self) -> KindName:
        """The kind its condition names."""
        return KIND_OF_CONDITION[type(self.condition)]


@dataclass(frozen=True)
class Alert:
    """A stored alert."""

    partner_id: int
    id: int
    user_id: int
    wish: Wish
    condition_version: int
    last_triggered_at: datetime | None
    trigger_count: int
    last_evaluated_at: datetime | None
    evaluation_count: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class StoredFiring:
    """A firing as it was written: immutable, with everything the dispatcher is told."""

    partner_id: int
    id: UUID
    user_id: int
    alert_id: int
    kind: KindName
    work_class: str
    occurrence_key: str
    context: dict[str, str | int]
    fired_at: datetime
    alert_name: str
    critical: bool
    channels: frozenset[Channel]
    daily_digest: bool
    time_zone: str
    locale: str
    profile_version: int


@dataclass(frozen=True)
class Outcome:
    """What evaluating one alert came to: its firings, or the one reason why it did not fire."""

    firing_ids: tuple[UUID, ...]
    reason: Reason | None
