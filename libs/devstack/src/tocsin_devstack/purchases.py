"""What the made-up household buys and earns: a visible list of habits, drawn from a seeded random."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from random import Random

from tocsin_devstack.scenario import TransactionStatus, local_instant

PAYDAY_EVERY = 14
FRIDAY = 5  # ordinal % 14 of the household's paydays; ordinal 1 is a Monday
MONTHLY = (  # day of the month, payee, category, amount
    (1, "Lakeside Apartments", "Rent", "-1350.00"),
    (5, "Prairie Mobile", "Phone", "-45.00"),
    (12, "Iron Works Gym", "Gym", "-39.00"),
    (19, "Tunestream", "Subscriptions", "-10.99"),
    (24, "Windy City Fiber", "Internet", "-59.99"),
    (7, "Filmbox", "Subscriptions", "-15.99"),
)
GROCERS = ("Jewel Market", "Green Cart", "Corner Foods")
EATERIES = ("Blue Door Coffee", "Taqueria Sol", "Noodle House", "Blue Door Coffee")
SHOPS = ("Hardware Barn", "Page & Ink Books", "Northside Outfitters")
WEEKDAY_GROCERIES = (1, 5)
POSTS_AFTER = timedelta(days=1, hours=6)


@dataclass(frozen=True)
class Line:
    """One thing the bank will say. Lines with one key are one transaction.

    `settles` is the key of its pending form, which the bank may or may not name.
    """

    key: str
    at: datetime
    amount: Decimal
    merchant: str
    category: str
    status: TransactionStatus = TransactionStatus.POSTED
    settles: str | None = None
    names_pending: bool = False
    is_estimate: bool = False


@dataclass(frozen=True)
class Habits:
    """A person's shopping, drawn day by day."""

    random: Random
    time_zone: str
    person: str

    def line(self, day: date, wall: time, amount: str | Decimal, merchant: str, category: str) -> Line:
        """A posted line at a local time."""
        at = local_instant(day, wall, self.time_zone)
        return Line(f"{self.person}/{merchant}/{at:%Y%m%dT%H%M}", at, Decimal(amount), merchant, category)

    def price(self, low: int, high: int) -> Decimal:
        """Money out of between `low` and `high` dollars."""
        return -Decimal(self.random.randint(low * 100, high * 100)) / 100

    def wall(self, first_hour: int, last_hour: int) -> time:
        """Some local time between two hours."""
        return time(self.random.randint(first_hour, last_hour), self.random.randrange(60))


def checking_lines(random: Random, time_zone: str, days: list[date], first_day: date) -> list[Line]:
    """Robin's checking account over `days`; `first_day` is the window's, where the rarer things happen."""
    habits = Habits(random, time_zone, "robin")
    lines = [line for day in days for line in _ordinary_day(habits, day)]
    lines += _rare(habits, [day for day in days if day >= first_day])
    return sorted(lines, key=lambda line: line.at)


def savings_lines(random: Random, time_zone: str, days: list[date]) -> list[Line]:
    """What Robin puts aside on paydays."""
    habits = Habits(random, time_zone, "robin-savings")
    return [
        habits.line(day, time(9, 30), "250.00", "Transfer from checking", "Savings") for day in days if _payday(day)
    ]


def student_lines(random: Random, time_zone: str, days: list[date]) -> list[Line]:
    """Sam's account: a weekly allowance, coffee, books."""
    habits = Habits(random, time_zone, "sam")
    lines: list[Line] = []
    for day in days:
        if day.weekday() == 0:
            lines.append(habits.line(day, time(8, 15), "55.00", "Allowance", "Income"))
        if random.random() < 0.5:
            lines.append(habits.line(day, habits.wall(9, 20), habits.price(4, 12), "Campus Coffee", "Eating out"))
        if day.day == 9:
            lines.append(habits.line(day, habits.wall(10, 17), habits.price(60, 110), "Campus Books", "Books"))
    return sorted(lines, key=lambda line: line.at)


def _payday(day: date) -> bool:
    return day.toordinal() % PAYDAY_EVERY == FRIDAY


def _ordinary_day(habits: Habits, day: date) -> Iterator[Line]:
    if _payday(day):
        yield habits.line(day, time(6, 30), "1720.00", "Midwest Payroll", "Income")
        yield habits.line(day, time(9, 30), "-250.00", "Transfer to savings", "Savings")
    for day_of_month, payee, category, amount in MONTHLY:
        if day.day == day_of_month:
            yield habits.line(day, time(9), amount, payee, category)
    if day.weekday() in WEEKDAY_GROCERIES:
        yield from _card(habits, day, habits.random.choice(GROCERS), "Groceries", habits.price(45, 120))
    if habits.random.random() < 0.5:
        yield from _card(habits, day, habits.random.choice(EATERIES), "Eating out", habits.price(5, 38))
    if habits.random.random() < 0.1:
        yield from _card(habits, day, habits.random.choice(SHOPS), "Shopping", habits.price(20, 90))


def _card(habits: Habits, day: date, merchant: str, category: str, price: Decimal) -> Iterator[Line]:
    """A card purchase: pending when it is made, posted later; every second one names its pending form."""
    line = habits.line(day, habits.wall(10, 21), price, merchant, category)
    pending = replace(line, status=TransactionStatus.PENDING)
    yield pending
    yield _posted(pending, price, named=habits.random.randrange(2) == 0)


def _posted(pending: Line, price: Decimal, named: bool) -> Line:
    return replace(
        pending,
        key=f"{pending.key}/posted",
        at=pending.at + POSTS_AFTER,
        amount=price,
        status=TransactionStatus.POSTED,
        settles=pending.key,
        names_pending=named,
        is_estimate=False,
    )


def _rare(habits: Habits, days: list[date]) -> list[Line]:
    """What happens once in the window: a tip on an estimate, a reversal, two equal purchases, late and large ones."""

    def at_share(tenths: int) -> date:
        return days[len(days) * tenths // 10]

    dinner = habits.line(at_share(2), time(20, 15), "-60.00", "Harbor Grill", "Eating out")
    estimate = replace(dinner, status=TransactionStatus.PENDING, is_estimate=True)
    wrong = habits.line(at_share(4), time(13, 5), "-129.00", "Page & Ink Books", "Shopping")
    undone = replace(wrong, at=wrong.at + timedelta(hours=20), status=TransactionStatus.REVERSED)
    return [
        estimate,
        _posted(estimate, Decimal("-68.40"), named=False),
        wrong,
        undone,
        habits.line(at_share(3), time(17, 20), "-2.50", "Metro Vending", "Eating out"),
        habits.line(at_share(3), time(17, 30), "-2.50", "Metro Vending", "Eating out"),
        habits.line(at_share(5), time(23, 10), "-640.00", "Northside Furniture", "Home"),
        habits.line(at_share(6), time(22, 40), "-6.20", "Blue Door Coffee", "Eating out"),
    ]
