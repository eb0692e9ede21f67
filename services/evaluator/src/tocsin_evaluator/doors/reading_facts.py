"""Facts as a bank posts them, read into values. What the contract's rules cannot say is checked here."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.alerts.v1 import fact_pb2
from tocsin_evaluator.doors.words import word_of
from tocsin_evaluator.facts.periods import day_is_usable
from tocsin_evaluator.model.facts import Account, Bill, Budget, Fact, Goal, Profile, Refused, Transaction
from tocsin_evaluator.model.words import BudgetPeriod, Recurrence, Refusal, SpentSource, TransactionStatus
from tocsin_kit.money import is_currency, parse_amount
from tocsin_kit.rpc.stages.validation import Validation

_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)


class Unreadable(ValueError):
    """A field of an item is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.refused = Refused(Refusal.INVALID_FIELD, field, message)


class FactReader:
    """Reads items one by one, so that a bad one is refused alone. `zones` are those the database knows."""

    def __init__(self, validation: Validation, zones: frozenset[str]) -> None:
        self._validation, self._zones = validation, zones

    def fact(self, partner_id: int, item: Message, at: datetime) -> Fact | Refused:
        """The fact in an item of a batch that arrived at `at`, or why it is refused."""
        if found := self._validation.violations_of(item):
            return Refused(Refusal.INVALID_FIELD, found[0].field, found[0].description)
        try:
            return self._read(partner_id, item, at)
        except Unreadable as wrong:
            return wrong.refused

    def _read(self, partner_id: int, item: Message, at: datetime) -> Fact:
        match item:
            case fact_pb2.Profile():
                return self._profile(partner_id, item, at)
            case fact_pb2.Account():
                return _account(partner_id, item, at)
            case fact_pb2.Transaction():
                return _transaction(partner_id, item, at)
            case fact_pb2.Goal():
                return _goal(partner_id, item, at)
            case fact_pb2.Budget():
                return _budget(partner_id, item, at)
            case fact_pb2.Bill():
                return _bill(partner_id, item, at)
        raise TypeError(f"{type(item).__name__} is no fact")

    def _profile(self, partner_id: int, item: fact_pb2.Profile, at: datetime) -> Profile:
        zone = item.time_zone or "UTC"
        if zone not in self._zones:
            raise Unreadable("time_zone", "is no IANA time zone")
        return Profile(
            partner_id=partner_id,
            user_id=item.user_id,
            email=item.email,
            phone=item.phone,
            email_verified=item.email_verified,
            phone_verified=item.phone_verified,
            locale=item.locale or "en-US",
            time_zone=zone,
            currency=_currency(item.currency or "USD"),
            as_of=_as_of(item, at),
        )


def _account(partner_id: int, item: fact_pb2.Account, at: datetime) -> Account:
    return Account(
        partner_id=partner_id,
        id=item.id,
        user_id=item.user_id,
        name=item.name,
        balance=_amount(item.balance, "balance"),
        currency=_currency(item.currency),
        as_of=_as_of(item, at),
        closed=item.closed,
    )


def _transaction(partner_id: int, item: fact_pb2.Transaction, at: datetime) -> Transaction:
    has_time = item.WhichOneof("posted") == "posted_at"
    status = fact_pb2.TransactionStatus.Name(item.status)
    return Transaction(
        partner_id=partner_id,
        id=item.id,
        user_id=item.user_id,
        account_id=item.account_id,
        amount=_amount(item.amount, "amount"),
        currency=_currency(item.currency),
        merchant=item.merchant,
        description=item.description,
        category=item.category,
        posted_at=_instant(item.posted_at, "posted_at") if has_time else None,
        posted_on=None if has_time else _day(item.posted_on, "posted_on"),
        status=word_of(TransactionStatus, status, "TRANSACTION_STATUS_", TransactionStatus.POSTED),
        pending_transaction_id=item.pending_transaction_id if item.HasField("pending_transaction_id") else None,
        is_estimate=item.is_estimate,
        balance_after=_amount(item.balance_after, "balance_after") if item.balance_after else None,
        as_of=_as_of(item, at),
    )


def _goal(partner_id: int, item: fact_pb2.Goal, at: datetime) -> Goal:
    return Goal(
        partner_id=partner_id,
        id=item.id,
        user_id=item.user_id,
        name=item.name,
        currency=_currency(item.currency),
        current_amount=_amount(item.current_amount, "current_amount"),
        target_amount=_amount(item.target_amount, "target_amount"),
        as_of=_as_of(item, at),
    )


def _budget(partner_id: int, item: fact_pb2.Budget, at: datetime) -> Budget:
    source = word_of(SpentSource, fact_pb2.SpentSource.Name(item.spent_source), "SPENT_SOURCE_", SpentSource.REPORTED)
    if source is SpentSource.DERIVED and not item.category:
        raise Unreadable("category", "is needed where spending is derived")
    derived_or_none = source is SpentSource.DERIVED or not item.spent
    return Budget(
        partner_id=partner_id,
        id=item.id,
        user_id=item.user_id,
        name=item.name,
        category=item.category,
        currency=_currency(item.currency),
        amount=_amount(item.amount, "amount"),
        period=word_of(BudgetPeriod, fact_pb2.BudgetPeriod.Name(item.period), "BUDGET_PERIOD_"),
        starts_on=_day(item.starts_on, "starts_on") if item.starts_on else None,
        spent_source=source,
        spent=Decimal(0) if derived_or_none else _amount(item.spent, "spent"),
        as_of=_as_of(item, at),
    )


def _bill(partner_id: int, item: fact_pb2.Bill, at: datetime) -> Bill:
    recurrence = fact_pb2.BillRecurrence.Name(item.recurrence)
    return Bill(
        partner_id=partner_id,
        id=item.id,
        user_id=item.user_id,
        name=item.name,
        currency=_currency(item.currency),
        amount=_amount(item.amount, "amount"),
        due_date=_day(item.due_date, "due_date"),
        recurrence=word_of(Recurrence, recurrence, "BILL_RECURRENCE_", Recurrence.NONE),
        paid_through=_day(item.paid_through, "paid_through") if item.paid_through else None,
        as_of=_as_of(item, at),
    )


def _amount(text: str, field: str) -> Decimal:
    try:
        return parse_amount(text, field)
    except ValueError as error:
        raise Unreadable(field, str(error)) from None


def _currency(code: str) -> str:
    if not is_currency(code):
        raise Unreadable("currency", f"{code} is no ISO 4217 currency")
    return code


def _day(text: str, field: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Unreadable(field, f"{text} is no day of the calendar") from None
    if not day_is_usable(day):
        raise Unreadable(field, "is too far away")
    return day


def _instant(stamp: Timestamp, field: str) -> datetime:
    try:
        instant = stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Unreadable(field, "is no instant") from None
    if not _EARLIEST <= instant < _LATEST:
        raise Unreadable(field, "is too far away")
    return instant


def _as_of(
    item: fact_pb2.Profile | fact_pb2.Account | fact_pb2.Transaction | fact_pb2.Goal | fact_pb2.Budget | fact_pb2.Bill,
    at: datetime,
) -> datetime:
    """When the bank knew it, by default its arrival. The bank's clock may be ahead; then its arrival it is, or a
    time far ahead would shut later facts out."""
    return min(_instant(item.as_of, "as_of"), at) if item.HasField("as_of") else at


ReadOne = Callable[[Message], Fact | Refused]


def read_all(items: Sequence[Message], read: ReadOne) -> tuple[dict[int, Fact], dict[int, Refused]]:
    """Facts and refusals by position."""
    facts: dict[int, Fact] = {}
    refused: dict[int, Refused] = {}
    for position, item in enumerate(items):
        outcome = read(item)
        if isinstance(outcome, Refused):
            refused[position] = outcome
        else:
            facts[position] = outcome
    return facts, refused
