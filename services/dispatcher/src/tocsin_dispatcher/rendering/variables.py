"""The variables a kind's templates may use, as text in the reader's locale."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom, where and when a text is written: relative days count from `now` in `zone`."""

    locale: Locale
    zone: ZoneInfo
    now: datetime
    hide_amounts: bool = False
    """SMS and push without figures."""


def variables(context: FiringContext, reader: Reader) -> dict[str, Value]:
    """The kind's variables; `amount` without its sign, a balance with it."""
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


def _account_threshold(context: AccountThresholdContext, reader: Reader) -> dict[str, str]:
    return {
        "account": apart(context.account),
        "balance": money(context.balance, context.currency, reader.locale),
        "threshold": money(context.threshold, context.currency, reader.locale),
        "direction": context.direction.value,
        "as_of": instant(context.as_of, reader.zone, reader.locale),
    }


def _goal(context: GoalContext, reader: Reader) -> dict[str, str]:
    return {
        "goal": apart(context.goal),
        "percent": percent(context.percent, reader.locale),
        "current_amount": money(context.current_amount, context.currency, reader.locale),
        "target_amount": money(context.target_amount, context.currency, reader.locale),
    }


def _merchant_name(context: MerchantNameContext, reader: Reader) -> dict[str, str]:
    return {
        "merchant": apart(context.merchant),
        "amount": money(abs(context.amount), context.currency, reader.locale),
        "posted_on": day(context.posted_on, reader.locale),
        "pattern": apart(context.pattern),
    }


def _spending_target(context: SpendingTargetContext, reader: Reader) -> dict[str, str]:
    return {
        "budget": apart(context.budget),
        "percent": percent(context.percent, reader.locale),
        "spent": money(context.spent, context.currency, reader.locale),
        "amount": money(abs(context.amount), context.currency, reader.locale),
        "period": period(context.period, reader.locale),
    }


def _transaction_limit(context: TransactionLimitContext, reader: Reader) -> dict[str, str]:
    return {
        "description": apart(context.description),
        "amount": money(abs(context.amount), context.currency, reader.locale),
        "limit": money(context.limit, context.currency, reader.locale),
        "posted_on": day(context.posted_on, reader.locale),
    }


def _upcoming_bill(context: UpcomingBillContext, reader: Reader) -> dict[str, Value]:
    today = reader.now.astimezone(reader.zone).date()
    return {
        "bill": apart(context.bill),
        "amount": money(abs(context.amount), context.currency, reader.locale),
        "due_on": day(context.due_on, reader.locale),
        "days": (context.due_on - today).days,
        "when": relative_day(context.due_on, today, reader.locale),
    }
