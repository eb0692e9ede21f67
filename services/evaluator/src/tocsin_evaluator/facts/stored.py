"""Facts made ready for their tables: local days and instants, normalised names, running periods."""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tocsin_evaluator.facts.periods import period_of
from tocsin_evaluator.model.facts import Account, Bill, Budget, Goal, Profile, Transaction
from tocsin_evaluator.model.names import normalised
from tocsin_evaluator.store.people import Known
from tocsin_evaluator.store.rows import AccountRow, BillRow, BudgetRow, GoalRow, PersonRow, TransactionRow

#: Where the bank gives only a day, the transaction is taken as made at noon (data model page).
NOON = time(12)
UNKNOWN = Known("UTC", 0)
"""What holds for a person without a profile."""


def zone_of(user: tuple[int, int], people: Mapping[tuple[int, int], Known]) -> ZoneInfo:
    """The zone of (partner, user), UTC where the person is unknown."""
    return ZoneInfo(people.get(user, UNKNOWN).time_zone)


def person_row(profile: Profile) -> PersonRow:
    """A profile without its addresses; the hash tells whether they changed."""
    said = (*astuple(profile)[:-1],)
    return PersonRow(
        partner_id=profile.partner_id,
        user_id=profile.user_id,
        time_zone=profile.time_zone,
        currency=profile.currency,
        locale=profile.locale,
        content_hash=hashlib.sha256(repr(said).encode()).digest(),
        as_of=profile.as_of,
    )


def account_row(account: Account, at: datetime) -> AccountRow:
    """An account that came in at `at`; when it was closed is known as of the fact."""
    return AccountRow(
        partner_id=account.partner_id,
        id=account.id,
        user_id=account.user_id,
        name=account.name,
        balance=account.balance,
        currency=account.currency,
        as_of=account.as_of,
        closed_at=account.as_of if account.closed else None,
        received_at=at,
    )


def transaction_row(
    transaction: Transaction, zone: ZoneInfo, *, at: datetime, backfill: bool, max_age: timedelta
) -> TransactionRow:
    """A transaction with both its instant and its local day; history where it came as such or is too old.

    One that names its pending form is that purchase from the start, whatever has become of the pending form. Where that
    is deleted its day is not known any more: then the purchase's day is the row's own.
    """
    if transaction.posted_at is not None:
        posted_at = transaction.posted_at
        posted_on = posted_at.astimezone(zone).date()
    else:
        if transaction.posted_on is None:
            raise ValueError("a transaction has a time or a day")
        posted_on = transaction.posted_on
        posted_at = datetime.combine(posted_on, NOON, zone).astimezone(UTC)
    too_old = at.astimezone(zone).date() - posted_on > max_age
    pending_id = transaction.pending_transaction_id
    return TransactionRow(
        partner_id=transaction.partner_id,
        id=transaction.id,
        user_id=transaction.user_id,
        account_id=transaction.account_id,
        purchase_id=transaction.id if pending_id is None else pending_id,
        purchase_on=posted_on,
        other_form_id=None,
        amount=transaction.amount,
        currency=transaction.currency,
        merchant=transaction.merchant,
        merchant_norm=normalised(transaction.merchant),
        description=transaction.description,
        category=transaction.category,
        posted_on=posted_on,
        posted_at=posted_at,
        backfill=backfill or too_old,
        status=transaction.status.value,
        pending_transaction_id=pending_id,
        is_estimate=transaction.is_estimate,
        balance_after=transaction.balance_after,
        as_of=transaction.as_of,
        received_at=at,
    )


def goal_row(goal: Goal, at: datetime) -> GoalRow:
    """A goal that came in at `at`."""
    return GoalRow(**vars(goal), received_at=at)


def budget_row(budget: Budget, zone: ZoneInfo, at: datetime) -> BudgetRow:
    """A budget that came in at `at`; what is reported spent belongs to the period in which the bank knew it."""
    period = period_of(budget.period, budget.starts_on, budget.as_of.astimezone(zone).date())
    return BudgetRow(
        partner_id=budget.partner_id,
        id=budget.id,
        user_id=budget.user_id,
        name=budget.name,
        category=budget.category,
        currency=budget.currency,
        amount=budget.amount,
        period=budget.period.value,
        starts_on=budget.starts_on,
        spent_source=budget.spent_source.value,
        spent=budget.spent,
        spent_from=period.first,
        spent_until=period.until,
        as_of=budget.as_of,
        received_at=at,
    )


def bill_row(bill: Bill, at: datetime) -> BillRow:
    """A bill that came in at `at`."""
    return BillRow(**{**vars(bill), "recurrence": bill.recurrence.value, "received_at": at})
