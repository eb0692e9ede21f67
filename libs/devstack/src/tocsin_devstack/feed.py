"""How a bank posts a window: every morning each balance as it stands, then the lines as they come, with what follows.

The morning post matters: a balance older than 48 hours is stale and fires no threshold.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby

from tocsin_devstack.bills import paid_by
from tocsin_devstack.payees import MonthlyPayee
from tocsin_devstack.scenario import Account, Bill, Goal, Posting, Transaction, local_instant

MORNING, NOON = time(7), time(12)


@dataclass(frozen=True)
class Window:
    """Consecutive local days."""

    first_day: date
    days: int
    time_zone: str

    @property
    def starts_at(self) -> datetime:
        """Local midnight of the first day."""
        return self.at(self.first_day, time())

    @property
    def ends_at(self) -> datetime:
        """Local midnight after the last day."""
        return self.at(self.first_day + timedelta(days=self.days), time())

    def at(self, day: date, wall: time) -> datetime:
        """The instant of a local time."""
        return local_instant(day, wall, self.time_zone)

    def instant_of(self, line: Transaction) -> datetime:
        """When a line posts: noon where the bank gave only a day."""
        return line.posted_at or self.at(line.posted_on, NOON)

    def each_day(self) -> list[date]:
        """Its days in order."""
        return [self.first_day + timedelta(days=offset) for offset in range(self.days)]


@dataclass(frozen=True)
class Book:
    """An account as it stands when the window opens, its lines within the window, and the goal it saves for."""

    account: Account
    lines: tuple[Transaction, ...]
    goal: Goal | None = None

    def balance_before(self, instant: datetime, window: Window) -> Decimal:
        """What the account holds by the lines booked before an instant."""
        booked = (line.balance_after for line in self.lines if window.instant_of(line) < instant)
        return [self.account.balance, *(balance for balance in booked if balance is not None)][-1]

    def balances(self, window: Window) -> list[Decimal]:
        """The opening balance and the one at the end of each day."""
        closing = {line.posted_on: line.balance_after for line in self.lines if line.balance_after is not None}
        balances = [self.account.balance]
        for day in window.each_day():
            balances.append(closing.get(day, balances[-1]))
        return balances


def daily_postings(window: Window, books: Sequence[Book], bills: Mapping[Bill, MonthlyPayee]) -> list[Posting]:
    """All the bank posts in the window, in order of time."""
    postings = [posting for book in books for posting in _of_book(window, book, bills)]
    return sorted(postings, key=lambda posting: posting.at)


def _of_book(window: Window, book: Book, bills: Mapping[Bill, MonthlyPayee]) -> Iterator[Posting]:
    for day in window.each_day():
        morning = window.at(day, MORNING)
        yield Posting(morning, (replace(book.account, balance=book.balance_before(morning, window), as_of=morning),))
    for at, together in groupby(book.lines, key=window.instant_of):
        lines = tuple(together)
        yield Posting(at, (*lines, *_saved(book, lines), *paid_by(lines, bills)))


def _saved(book: Book, lines: Sequence[Transaction]) -> Iterator[Goal]:
    balances = [line.balance_after for line in lines if line.balance_after is not None]
    if book.goal is not None and balances:
        yield replace(book.goal, current_amount=max(balances[-1], Decimal(0)))
