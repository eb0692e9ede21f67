"""What a message can tell: a firing, several at once, a code, or that messages arrive in a browser."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tocsin_dispatcher.values.firing import (
    AccountThresholdContext,
    FiringContext,
    GoalContext,
    MerchantNameContext,
    SpendingTargetContext,
    TransactionLimitContext,
    UpcomingBillContext,
)


class TemplateKind(StrEnum):
    """What templates exist for: the six kinds of alert, and the messages that are no alert's."""

    ACCOUNT_THRESHOLD = "account_threshold"
    GOAL = "goal"
    MERCHANT_NAME = "merchant_name"
    SPENDING_TARGET = "spending_target"
    TRANSACTION_LIMIT = "transaction_limit"
    UPCOMING_BILL = "upcoming_bill"
    DIGEST = "digest"
    VERIFICATION = "verification"
    SYSTEM = "system"
    """A test of a browser."""


@dataclass(frozen=True, slots=True)
class DigestMember:
    """One of the firings that a digest tells together."""

    context: FiringContext
    fired_at: datetime


@dataclass(frozen=True, slots=True)
class Digest:
    """Several firings in one message."""

    members: tuple[DigestMember, ...]
    """At least one; in any order."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A code that proves an address."""

    code: str
    valid_for: timedelta
    """Told in whole minutes."""


@dataclass(frozen=True, slots=True)
class PushTest:
    """That messages arrive, told to somebody who tries a browser of theirs out."""


Told = FiringContext | Digest | Verification | PushTest


_KINDS: Mapping[type, TemplateKind] = {
    AccountThresholdContext: TemplateKind.ACCOUNT_THRESHOLD,
    GoalContext: TemplateKind.GOAL,
    MerchantNameContext: TemplateKind.MERCHANT_NAME,
    SpendingTargetContext: TemplateKind.SPENDING_TARGET,
    TransactionLimitContext: TemplateKind.TRANSACTION_LIMIT,
    UpcomingBillContext: TemplateKind.UPCOMING_BILL,
    Digest: TemplateKind.DIGEST,
    Verification: TemplateKind.VERIFICATION,
    PushTest: TemplateKind.SYSTEM,
}


def kind_told(told: Told) -> TemplateKind:
    """Whose templates tell it."""
    return _KINDS[type(told)]
