"""The variables a kind's templates may use, as text in the reader's locale."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel.core import Locale

from tocsin_dispatcher.rendering.formats import apart, day, instant, money, percent, period, relative_day
from tocsin_dispatcher.values import (
    AccountThresholdContext,
    FiringContext,
    GoalContext,
    MerchantNameContext,
    SpendingTargetContext,
    TransactionLimitContext,
    UpcomingBillContext,
)

Value = str | bool | int
Variables = Mapping[str, Value]
"""By name, as templates of banks see them too."""

HIDDEN = "***"
"""What a figure is told as where the reader has figures hidden: in GSM-7, so that a text message gets no longer."""


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom, where and when a text is written: relative days count from `now` in `zone`."""

    locale: Locale
    zone: ZoneInfo
    now: datetime
    hide_amounts: bool = False
    """Tell them no money and no percents. SMS and push do so for who asks for it, no other channel does."""


def variables(context: FiringContext, reader: Reader) -> dict[str, Value]:
    """The kind's variables; `amount` without its sign, a balance with it; figures as HIDDEN where the reader has them
    hidden, so that no template, whatever it does, can tell one."""
    return {**_of_kind(context, reader), "hide_amounts": reader.hide_amounts}


def _of_kind(context: FiringContext, reader: Reader) -> Variables:
    match context:
        case AccountThresholdContext():
            return _account_threshold(context, reader)
        case GoalContext():
            return _goal(context, reader)
        case MerchantNameContext():
            return _merchant_name(context, reader)
        case SpendingTargetContext():
            return _spending_target(context, reader)
        case TransactionLimitContext():
            return _transaction_limit(context, reader)
        case UpcomingBillContext():
            return _upcoming_bill(context, reader)


def _money(amount: Decimal, currency: str, reader: Reader) -> str:
    return HIDDEN if reader.hide_amounts else money(amount, currency, reader.locale)


def _percent(whole: int, reader: Reader) -> str:
    return HIDDEN if reader.hide_amounts else percent(whole, reader.locale)


def _account_threshold(context: AccountThresholdContext, reader: Reader) -> dict[str, str]:
    return {
        "account": apart(context.account),
        "balance": _money(context.balance, context.currency, reader),
        "threshold": _money(context.threshold, context.currency, reader),
        "direction": context.direction.value,
        "as_of": instant(context.as_of, reader.zone, reader.locale),
    }


def _goal(context: GoalContext, reader: Reader) -> dict[str, str]:
    return {
        "goal": apart(context.goal),
        "percent": _percent(context.percent, reader),
        "current_amount": _money(context.current_amount, context.currency, reader),
        "target_amount": _money(context.target_amount, context.currency, reader),
    }


def _merchant_name(context: MerchantNameContext, reader: Reader) -> dict[str, str]:
    return {
        "merchant": apart(context.merchant),
        "amount": _money(abs(context.amount), context.currency, reader),
        "posted_on": day(context.posted_on, reader.locale),
        "pattern": apart(context.pattern),
    }


def _spending_target(context: SpendingTargetContext, reader: Reader) -> dict[str, str]:
    return {
        "budget": apart(context.budget),
        "percent": _percent(context.percent, reader),
        "spent": _money(context.spent, context.currency, reader),
        "amount": _money(abs(context.amount), context.currency, reader),
        "period": period(context.period, reader.locale),
    }


def _transaction_limit(context: TransactionLimitContext, reader: Reader) -> dict[str, str]:
    return {
        "description": apart(context.description),
        "amount": _money(abs(context.amount), context.currency, reader),
        "limit": _money(context.limit, context.currency, reader),
        "posted_on": day(context.posted_on, reader.locale),
    }


def _upcoming_bill(context: UpcomingBillContext, reader: Reader) -> dict[str, Value]:
    today = reader.now.astimezone(reader.zone).date()
    return {
        "bill": apart(context.bill),
        "amount": _money(abs(context.amount), context.currency, reader),
        "due_on": day(context.due_on, reader.locale),
        "days": (context.due_on - today).days,
        "when": relative_day(context.due_on, today, reader.locale),
    }
