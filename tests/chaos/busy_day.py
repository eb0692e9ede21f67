"""The busiest day of the household's sixty, lived through today by ten households at once. Pure values.

The services' clock is the real one, so the day is moved: to today, in a time zone where it is late in the evening now,
so that all of it has happened, nobody's quiet hours matter and no bill waits for six in the morning.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tocsin_devstack.bills import nearest_due
from tocsin_devstack.household import household
from tocsin_devstack.scenario import (
    Account,
    AccountThreshold,
    Bill,
    Budget,
    BudgetPeriod,
    Condition,
    Fact,
    Goal,
    GoalReached,
    MerchantName,
    Profile,
    Scenario,
    SpendingTarget,
    Transaction,
    TransactionLimit,
    TransactionStatus,
    UpcomingBill,
    Wish,
    local_instant,
)

HOUSEHOLDS = 10
#: The household whose busiest day has something to say for each of the six kinds.
SEED, LAST_DAY, DAYS = 5, date(2025, 10, 22), 60
_EVENING = 22
#: Far enough apart for a household's own numbers: accounts from 101, transactions from 1000.
_APART = 10_000


@dataclass(frozen=True)
class Day:
    """A household's day: who lives there, how things stood before it, what they ask for, what the bank posts."""

    number: int
    people: tuple[Profile, ...]
    stood: tuple[Fact, ...]
    spent: tuple[Transaction, ...]
    """What counts for the budgets already: bookings of their periods before the day."""
    wishes: tuple[Wish, ...]
    postings: tuple[tuple[Fact, ...], ...]


def busiest_days(now: datetime) -> list[Day]:
    """The day of each household, numbered from 1; `now` is the real clock's."""
    scenario = household(SEED, LAST_DAY, DAYS)
    day = _busiest(scenario)
    zone = _zone_of_evening(now)
    today = now.astimezone(ZoneInfo(zone)).date()
    return [_Move(scenario.time_zone, day, zone, today, number).day(scenario) for number in range(1, HOUSEHOLDS + 1)]


def household_of(user_id: int) -> int:
    """The number of a user's household."""
    return user_id // _APART


def _busiest(scenario: Scenario) -> date:
    """The day with the most postings, the first of several."""
    counts = Counter(_day_of(posting.at, scenario) for posting in scenario.postings)
    return min(counts, key=lambda day: (-counts[day], day))


def _day_of(instant: datetime, scenario: Scenario) -> date:
    return instant.astimezone(ZoneInfo(scenario.time_zone)).date()


def _zone_of_evening(now: datetime) -> str:
    """A zone where it is between ten and eleven in the evening (the sign in its name is the other way round)."""
    ahead = (_EVENING - now.astimezone(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}"


@dataclass(frozen=True)
class _Move:
    """From the scenario's `day` and zone to `today` in `to_zone`, as household `number`."""

    from_zone: str
    from_day: date
    to_zone: str
    today: date
    number: int

    def day(self, scenario: Scenario) -> Day:
        before = [posting for posting in scenario.postings if _day_of(posting.at, scenario) < self.from_day]
        on_it = [posting for posting in scenario.postings if _day_of(posting.at, scenario) == self.from_day]
        known = _latest([fact for posting in before for fact in posting.facts])
        budgets = [fact for fact in known if isinstance(fact, Budget)]
        return Day(
            number=self.number,
            people=tuple(self._person(person) for person in scenario.people),
            stood=tuple(self.fact(fact) for fact in known),
            spent=tuple(self._spent(line) for line in scenario.transactions() if _counts(line, budgets, self.from_day)),
            wishes=tuple(self._wish(wish) for wish in scenario.wishes),
            postings=tuple(tuple(self.fact(fact) for fact in posting.facts) for posting in on_it),
        )

    def fact(self, fact: Fact) -> Fact:
        match fact:
            case Profile():
                return self._person(fact)
            case Account():
                return replace(
                    fact, id=self._id(fact.id), user_id=self._id(fact.user_id), as_of=self._instant(fact.as_of)
                )
            case Transaction():
                return replace(
                    self._line(fact),
                    posted_on=self._date(fact.posted_on),
                    posted_at=self._instant(fact.posted_at) if fact.posted_at else None,
                )
            case Goal():
                return replace(fact, id=self._id(fact.id), user_id=self._id(fact.user_id))
            case Budget():
                return replace(fact, id=self._id(fact.id), user_id=self._id(fact.user_id))
            case Bill():
                due_on = nearest_due(self.from_day, fact.due_on.day)  # months are not all as long
                return replace(
                    fact,
                    id=self._id(fact.id),
                    user_id=self._id(fact.user_id),
                    due_on=self._date(due_on),
                    paid_through=self._date(fact.paid_through) if fact.paid_through else None,
                )

    def _person(self, person: Profile) -> Profile:
        user_id = self._id(person.user_id)
        return replace(
            person,
            user_id=user_id,
            email=f"{person.name.lower()}.{self.number}@example.com",
            phone=f"+1312555{100 + 2 * self.number + person.user_id:04}",
            phone_verified=True,
            time_zone=self.to_zone,
            quiet_hours=None,
        )

    def _spent(self, line: Transaction) -> Transaction:
        """Booked at the day's first instant: so it lies in the same week and month, whatever today is."""
        midnight = local_instant(self.today, time(), self.to_zone)
        return replace(self._line(line), posted_on=self.today, posted_at=midnight, balance_after=None)

    def _line(self, line: Transaction) -> Transaction:
        pending = line.pending_transaction_id
        return replace(
            line,
            id=self._id(line.id),
            user_id=self._id(line.user_id),
            account_id=self._id(line.account_id),
            pending_transaction_id=None if pending is None else self._id(pending),
        )

    def _wish(self, wish: Wish) -> Wish:
        return replace(wish, user_id=self._id(wish.user_id), condition=self._condition(wish.condition), sms=True)

    def _condition(self, condition: Condition) -> Condition:
        match condition:
            case AccountThreshold():
                return replace(condition, account_id=self._id(condition.account_id))
            case GoalReached():
                return replace(condition, goal_id=self._id(condition.goal_id))
            case SpendingTarget():
                return replace(condition, budget_id=self._id(condition.budget_id))
            case UpcomingBill():
                return replace(condition, bill_id=self._id(condition.bill_id))
            case MerchantName() | TransactionLimit():
                return condition

    def _id(self, number: int) -> int:
        return self.number * _APART + number

    def _date(self, day: date) -> date:
        return day + (self.today - self.from_day)

    def _instant(self, instant: datetime) -> datetime:
        """The same wall-clock time; what lies before the day stands at its beginning."""
        wall = instant.astimezone(ZoneInfo(self.from_zone))
        at = wall.time() if wall.date() == self.from_day else time()
        return local_instant(self.today, at, self.to_zone)


def _latest(facts: Sequence[Fact]) -> list[Fact]:
    """Balances, goals, budgets and bills as they were posted last."""
    known = {(type(fact), fact.id): fact for fact in facts if isinstance(fact, Account | Goal | Budget | Bill)}
    return list(known.values())


def _counts(line: Transaction, budgets: Sequence[Budget], day: date) -> bool:
    """Whether a booking before `day` counts for one of the budgets in the period that holds the day."""
    return (
        line.posted_on < day
        and line.status is TransactionStatus.POSTED
        and any(
            line.category == budget.category
            and line.user_id == budget.user_id
            and _first_day(budget.period, line.posted_on) == _first_day(budget.period, day)
            for budget in budgets
        )
    )


def _first_day(period: BudgetPeriod, day: date) -> date:
    return day.replace(day=1) if period is BudgetPeriod.MONTHLY else day - timedelta(days=day.weekday())
