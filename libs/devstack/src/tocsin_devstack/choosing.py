"""Chooses thresholds, limits and targets from the data itself, so that each kind of alert has something to say."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, Decimal

from tocsin_devstack.scenario import Transaction, TransactionStatus

CENT = Decimal("0.01")
LOW_SHARE = 10
LARGE_PURCHASES = 4
LOWEST_BUDGET_THRESHOLD = 50


@dataclass(frozen=True)
class Rise:
    """The steepest rise of a series: its low and the later high, by index."""

    low_index: int
    low: Decimal
    high: Decimal


def roundest_between(low: Decimal, high: Decimal) -> Decimal | None:
    """The number with the fewest significant digits in (low, high], cents at the finest; None if there is none."""
    exponent = max(high.copy_abs(), low.copy_abs(), CENT).adjusted()
    while exponent >= -2:
        for step in (Decimal(1).scaleb(exponent), Decimal(5).scaleb(exponent - 1)):
            candidate = (high / step).to_integral_value(rounding=ROUND_FLOOR) * step
            if low < candidate and candidate == candidate.quantize(CENT):
                return candidate.quantize(CENT)
        exponent -= 1
    return None


def low_balance(balances: Sequence[Decimal]) -> Decimal | None:
    """A threshold that about a tenth of the balances, the lowest, are below; None where they are all equal."""
    ordered = sorted(balances)
    if not ordered or ordered[0] == ordered[-1]:
        return None
    return roundest_between(ordered[0], _above_lowest(ordered))


def _above_lowest(ordered: Sequence[Decimal]) -> Decimal:
    at_rank = ordered[len(ordered) // LOW_SHARE]
    return at_rank if at_rank > ordered[0] else next(value for value in ordered if value > ordered[0])


def high_balance(balances: Sequence[Decimal]) -> Decimal | None:
    """A threshold that a later balance crosses from below; None where the balance never rises."""
    rise = steepest_rise(balances)
    if rise is None:
        return None
    found = roundest_between(rise.low, rise.high - CENT)
    return found if found is not None and found > 0 else None


def steepest_rise(balances: Sequence[Decimal]) -> Rise | None:
    """The pair (earlier low, later high) with the largest difference; None where nothing rises."""
    best: Rise | None = None
    low_index = 0
    for index, value in enumerate(balances):
        if value < balances[low_index]:
            low_index = index
        low = balances[low_index]
        if value > low and (best is None or value - low > best.high - best.low):
            best = Rise(low_index, low, value)
    return best


def large_purchase(amounts: Iterable[Decimal]) -> Decimal | None:
    """A limit that the few largest payments out (negative amounts) reach; None where nothing is paid."""
    sizes = sorted({-amount for amount in amounts if amount < 0}, reverse=True)
    if not sizes:
        return None
    smallest_large = sizes[min(LARGE_PURCHASES, len(sizes)) - 1]
    next_smaller = sizes[LARGE_PURCHASES] if len(sizes) > LARGE_PURCHASES else Decimal(0)
    return roundest_between(next_smaller, smallest_large)


def spent_by_month(transactions: Iterable[Transaction]) -> Mapping[tuple[str, str], Decimal]:
    """What each category cost in each month (`2025-10`), refunds subtracted."""
    spent: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for line in transactions:
        if line.status is TransactionStatus.POSTED:
            spent[line.category, month_of(line.posted_on)] -= line.amount
    return spent


def month_of(day: date) -> str:
    """A month's name as in occurrence keys, `2025-10`."""
    return f"{day.year:04}-{day.month:02}"


def budget_amount(usual: Decimal, peak: Decimal) -> Decimal | None:
    """A monthly budget for a category that usually costs `usual` and costs `peak` in the window's dearest month.

    The usual amount, unless the window would then not even reach the lowest threshold: then the peak.
    """
    if peak <= 0:
        return None
    wanted = usual if usual > 0 and peak * 100 >= LOWEST_BUDGET_THRESHOLD * usual else peak
    return roundest_between(wanted * Decimal("0.7"), wanted)
