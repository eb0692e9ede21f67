"""Who a bank's description names, and which payees are paid every month."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from statistics import median

PREFIXES = ("POS DEBIT ",)
LONGEST_MERCHANT = 100
PAYMENTS_NEEDED = 3
SHORTEST_MONTH_GAP, LONGEST_MONTH_GAP = 24, 38
STILL_PAID_DAYS = 45
AMOUNT_TOLERANCE = Decimal("0.10")

_PHONE = re.compile(r"^\d{3}-?\d{3}-?\d{4}$|^\d{7,}$|^\d{3}-\d{7}$")
_DAY = re.compile(r"^\d{2}/\d{2}$")
_STATE = re.compile(r"^[A-Z]{2}$")
_CODE = re.compile(r"\*(?=\w*\d)\w{6,}$")


@dataclass(frozen=True)
class Payment:
    """Money out to a payee, found at `source`."""

    payee: str
    on: date
    amount: Decimal
    category: str
    source: str


@dataclass(frozen=True)
class MonthlyPayee:
    """A payee paid once a month: the usual day of the month, the last amount, and the payments seen, oldest first."""

    payee: str
    day_of_month: int
    amount: Decimal
    category: str
    payments: tuple[Payment, ...]


def payee_of(description: str) -> str:
    """The payee in a bank statement's line: what stands before card numbers, phones, places, dates and references.

    `AMAZON MKTPL*9C5AU2D Amzn.com/bill WA 12/10` is `AMAZON MKTPL`. Never empty unless the description is.
    """
    text = " ".join(description.split())
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    kept: list[str] = []
    for token in text.split(" "):
        code = _CODE.search(token)
        if code is not None and (kept or code.start() > 0):
            kept.append(token[: code.start()])
            break
        if kept and _is_reference(token):
            break
        kept.append(token)
    while len(kept) > 1 and (_STATE.match(kept[-1]) or _DAY.match(kept[-1])):
        kept.pop()
    return " ".join(word for word in kept if word)[:LONGEST_MERCHANT]


def _is_reference(token: str) -> bool:
    digits = sum(character.isdigit() for character in token)
    return token.startswith("#") or bool(_PHONE.match(token)) or (len(token) >= 6 and digits >= 3)


def monthly_payees(payments: Iterable[Payment], until: date) -> list[MonthlyPayee]:
    """The payees paid about once a month up to `until`, about the same each time; the dearest first."""
    by_payee: dict[str, list[Payment]] = defaultdict(list)
    for payment in payments:
        by_payee[payment.payee.casefold()].append(payment)
    found = [_monthly(sorted(group, key=lambda payment: payment.on), until) for group in by_payee.values()]
    return sorted((payee for payee in found if payee is not None), key=lambda payee: (-payee.amount, payee.payee))


def _monthly(payments: Sequence[Payment], until: date) -> MonthlyPayee | None:
    recent = payments[-PAYMENTS_NEEDED:]
    if len(recent) < PAYMENTS_NEEDED or (until - recent[-1].on).days > STILL_PAID_DAYS:
        return None
    gaps = [(later.on - earlier.on).days for earlier, later in pairwise(recent)]
    usual = median(payment.amount for payment in recent)
    if not all(SHORTEST_MONTH_GAP <= gap <= LONGEST_MONTH_GAP for gap in gaps):
        return None
    if any(abs(payment.amount - usual) > usual * AMOUNT_TOLERANCE for payment in recent):
        return None
    return MonthlyPayee(recent[-1].payee, _usual_day(recent), recent[-1].amount, recent[-1].category, tuple(recent))


def _usual_day(payments: Sequence[Payment]) -> int:
    """The middle of the days of the month; the last one where they lie on both sides of a month's end."""
    days = [payment.on.day for payment in payments]
    return payments[-1].on.day if max(days) - min(days) > 15 else int(median(days))
