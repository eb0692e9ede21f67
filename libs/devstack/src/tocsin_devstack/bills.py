"""Monthly bills made from the payments that were seen, and which payment pays which due date."""

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from tocsin_devstack.payees import MonthlyPayee, Payment
from tocsin_devstack.scenario import Bill, Transaction, TransactionStatus
from tocsin_devstack.wishes import Wisher

FIRST_BILL_ID = 401
BILLS_AT_MOST = 3


def payments(lines: Iterable[Transaction]) -> Iterator[Payment]:
    """What was paid: posted money out."""
    for line in lines:
        if line.amount < 0 and line.status is TransactionStatus.POSTED:
            yield Payment(line.merchant, line.posted_on, -line.amount, line.category, line.source)


def bills_of(payees: Sequence[MonthlyPayee], who: Wisher, names: Mapping[str, str]) -> dict[Bill, MonthlyPayee]:
    """The dearest monthly payees as bills, paid through the last payment seen. `names` by category."""
    return {
        _bill(FIRST_BILL_ID + index, payee, who, names[payee.category]): payee
        for index, payee in enumerate(payees[:BILLS_AT_MOST])
    }


def _bill(bill_id: int, payee: MonthlyPayee, who: Wisher, name: str) -> Bill:
    due_on = nearest_due(payee.payments[-1].on, payee.day_of_month)
    return Bill(bill_id, who.user_id, name, who.currency, payee.amount, due_on, due_on, payee.payee)


def paid_by(lines: Sequence[Transaction], bills: Mapping[Bill, MonthlyPayee]) -> Iterator[Bill]:
    """The bills that these lines pay: of each the due date nearest to the payment."""
    for payment in payments(lines):
        for bill, payee in bills.items():
            if payment.payee.casefold() == payee.payee.casefold():
                due = nearest_due(payment.on, payee.day_of_month)
                yield replace(bill, amount=payment.amount, paid_through=due)


def nearest_due(day: date, day_of_month: int) -> date:
    """The due date nearest to a day, of a bill due on a day of each month (a 31st falls on the month's last day)."""
    month_before = day.replace(day=1) - timedelta(days=1)
    month_after = day.replace(day=1) + timedelta(days=32)
    dues = (_in_month(month, day_of_month) for month in (month_before, day, month_after))
    return min(dues, key=lambda due: (abs((due - day).days), due))


def _in_month(day: date, day_of_month: int) -> date:
    return day.replace(day=min(day_of_month, monthrange(day.year, day.month)[1]))
