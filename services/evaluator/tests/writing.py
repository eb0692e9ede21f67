"""The traffic of `test_writers.py`: households, the writers that own them and meddle with all, and who moves the clock.

A household's accounts and goal belong to one writer, which awaits every posting: the order of what is committed is
known, and with it what must have fired (`committed.py`). The other writers bring older versions of the same facts, buy
for the same users, rename their alerts and sweep.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from tocsin_evaluator.alerts.desk import Owner
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.facts import Fact
from tocsin_evaluator.model.words import (
    BudgetPeriod,
    Direction,
    Frequency,
    MatchType,
    MoneyFlow,
    Recurrence,
    Repeat,
    TransactionStatus,
)
from tocsin_kit.clock import SteppedClock

from .committed import THRESHOLD, Cooldowns, Crossings, Milestones, Purchases
from .support import NO_TRACE, PARTNER, Bench, account, bill, budget, goal, transaction

#: Six ticks of the clock are one cooldown.
TICK, COOLDOWN = timedelta(seconds=50), timedelta(minutes=5)
#: How far the clock goes on whenever it is looked at; all of a run's looks together are far shorter than a tick.
INSTANT = timedelta(microseconds=1)
BALANCES = [Decimal(each) for each in ("100", "499.99", "500", "500.01", "900")]
#: Those that are low whichever is chosen.
LOW = BALANCES[:2]
PERCENTS = tuple(range(1, 101))
LIMIT = Decimal("50")
TARGET = Decimal("100000")


class RunningClock(SteppedClock):
    """A clock that never says the same twice, as in life: no two firings are kept apart or together by its standing."""

    def now(self) -> datetime:
        """The next instant."""
        self.advance(INSTANT)
        return super().now()


@dataclass
class Household:
    """One user: the numbers of their facts, their alerts, and what must have fired."""

    user: int
    alerts: dict[str, int] = field(default_factory=dict)
    crossings: dict[str, Crossings] = field(default_factory=dict)
    cooldowns: dict[str, Cooldowns] = field(default_factory=dict)
    milestones: Milestones = field(default_factory=lambda: Milestones(PERCENTS))
    purchases: Purchases = field(default_factory=Purchases)

    @property
    def told(self) -> int:
        """The account whose balances come as news."""
        return self.user * 10 + 1

    @property
    def found(self) -> int:
        """The account whose balances come as history: only a sweep finds them."""
        return self.user * 10 + 2

    @property
    def unknown(self) -> int:
        """An account of which no row is known, so that none is locked."""
        return self.user * 10 + 9

    @property
    def low(self) -> int:
        """The account whose alerts have a cooldown."""
        return self.user * 10 + 3

    async def move_in(self, bench: Bench, now: datetime) -> None:
        """The facts and the alerts, none of which is true but the bill's."""
        accounts = [account(each, "500", now, user_id=self.user) for each in (self.told, self.found, self.low)]
        spending = budget(self.user, now, user_id=self.user, amount=TARGET, period=BudgetPeriod.YEARLY)
        saving = goal(self.user, "0", now, target=str(TARGET), user_id=self.user)
        await bench.put(*accounts, spending, saving, self.rent(now, 0))
        for direction in Direction:
            for name, account_id in (("told", self.told), ("found", self.found)):
                crossing = AccountThreshold(account_id, THRESHOLD, "USD", direction, Repeat.ON_CROSSING)
                self.crossings[f"{name} {direction}"] = Crossings(direction)
                await self._wants(bench, f"{name} {direction}", crossing)
            lasting = AccountThreshold(self.low, THRESHOLD, "USD", direction, Repeat.WHILE_TRUE)
            self.cooldowns[f"low {direction}"] = Cooldowns(direction, COOLDOWN // TICK)
            await self._wants(bench, f"low {direction}", lasting, cooldown=COOLDOWN)
        await self._wants(bench, "goal", GoalMilestones(self.user, PERCENTS))
        await self._wants(bench, "budget", SpendingTarget(self.user, PERCENTS))
        await self._wants(bench, "bill", UpcomingBill(self.user, 3))
        await self._wants(bench, "each", MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE))
        await self._wants(bench, "first", MerchantName("shop", MatchType.CONTAINS, Frequency.FIRST_OF_DAY))
        await self._wants(bench, "limit", TransactionLimit(LIMIT, "USD", None, MoneyFlow.DEBIT))

    async def _wants(self, bench: Bench, name: str, condition: Condition, **more: Any) -> None:
        self.alerts[name] = (await bench.create(condition, user=self.user, **more)).id

    def sees(self, name: str, balance: Decimal) -> None:
        """A balance of the account that is `told` or `found` was committed and evaluated."""
        for direction in Direction:
            self.crossings[f"{name} {direction}"].sees(balance)

    def rent(self, now: datetime, number: int) -> Fact:
        """A bill due in two days; its amount changes."""
        amount = Decimal(1200 + number)
        due = date(2025, 11, 5)
        return bill(self.user, due, now, user_id=self.user, recurrence=Recurrence.NONE, amount=amount)

    def outdated(self, now: datetime) -> list[Fact]:
        """The owner's facts as they were the day before: whatever they say, it is overtaken."""
        before = now - timedelta(days=1)
        accounts = [account(each, "1", before, user_id=self.user) for each in (self.told, self.found, self.low)]
        return [*accounts, goal(self.user, str(TARGET), before, target=str(TARGET), user_id=self.user)]


@dataclass
class Writer:
    """One replica's traffic: it owns `own`, and meddles with all the others."""

    bench: Bench
    neighbour: Bench
    clock: SteppedClock
    own: Household
    all: Sequence[Household]
    numbers: "itertools.count[int]"
    random: Random
    begun: datetime
    _saved: Decimal = Decimal(0)
    _found: Decimal = THRESHOLD

    async def round(self, number: int) -> None:
        """Write, meddle, sweep."""
        for _ in range(2):
            await self._put_news()
            await self._buy_in_two_forms()
        if number % 2:
            await self._put_history_and_sweep()
        else:
            await self._rename()
            await self.bench.sweep()
        if number % 10 == 0:
            await self.bench.bills()

    async def _put(self, bench: Bench, *facts: Fact, backfill: bool = False) -> None:
        answer = await bench.put(*facts, backfill=backfill)
        assert not answer.refused

    async def _put_news(self) -> None:
        """The owner's next balance and savings, purchases for three users, and what is overtaken, in any order."""
        now, balance = self.clock.now(), self.random.choice(BALANCES)
        self._saved = max(Decimal(0), self._saved + self.random.randint(-300, 700))
        user, others = self.own.user, self.random.sample(self.all, 3)
        bought = [(each, next(self.numbers), self.random.choice(["49.99", "50", "60"])) for each in others]
        facts = [
            account(self.own.told, str(balance), now, user_id=user),
            goal(user, str(self._saved), now, target=str(TARGET), user_id=user),
            *[
                transaction(id_, f"-{cost}", now, now, user_id=each.user, account_id=each.told, merchant="Bike Shop")
                for each, id_, cost in bought
            ],
            *[each.rent(now, number) for each, number, _ in bought],
            *[fact for each in self.random.sample(self.all, 2) for fact in each.outdated(self.begun)],
        ]
        self.random.shuffle(facts)
        await self._put(self.bench, *facts)
        self.own.sees("told", balance)
        self.own.milestones.sees(self._saved, TARGET)
        for each, id_, cost in bought:
            each.purchases.made([id_], Decimal(cost), now.date())

    async def _buy_in_two_forms(self) -> None:
        """Pending and posted at the same moment, by two replicas: one purchase. No other costs as much."""
        now, whose = self.clock.now(), self.random.choice(self.all)
        pending, posted = next(self.numbers), next(self.numbers)
        cost = 20 + pending % 60 + Decimal(pending).scaleb(-4)
        form = {"user_id": whose.user, "account_id": whose.unknown}
        await asyncio.gather(
            self._put(self.bench, transaction(pending, f"-{cost}", now, now, status=TransactionStatus.PENDING, **form)),
            self._put(self.neighbour, transaction(posted, f"-{cost}", now, now, **form)),
        )
        whose.purchases.made([pending, posted], cost, now.date())

    async def _put_history_and_sweep(self) -> None:
        """A balance that comes as history fires nothing itself; the sweep after it, by whichever replica, must."""
        now, balance = self.clock.now(), self.random.choice([each for each in BALANCES if each != self._found])
        self._found = balance
        await self._put(self.bench, account(self.own.found, str(balance), now, user_id=self.own.user), backfill=True)
        await self.bench.sweep()
        self.own.sees("found", balance)

    async def _rename(self) -> None:
        """An edit that changes no condition evaluates the alert, and fires nothing that was told before."""
        whose = self.random.choice(self.all)
        alert, name = self.random.choice(list(whose.alerts.values())), f"Name {next(self.numbers)}"
        owner = Owner(PARTNER, whose.user)
        await self.bench.desk.change(owner, alert, lambda wish: replace(wish, name=name), NO_TRACE)


@dataclass
class Conductor:
    """Moves the clock, and owns the accounts with a cooldown: what they are in each tick is known."""

    bench: Bench
    sweeping: Sequence[Bench]
    clock: SteppedClock
    all: Sequence[Household]
    random: Random
    balances: list[Decimal]
    ticks: list[datetime] = field(default_factory=list)

    async def tick(self) -> None:
        """Go on by a tick, have all sweep at once, then bring the next balances: half of the users' are always low."""
        self.clock.advance(TICK)
        self.ticks.append(self.clock.now())
        await asyncio.gather(*[each.sweep() for each in self.sweeping])
        self._note()
        now = self.clock.now()
        self.balances = [self.random.choice(LOW if each.user % 2 else BALANCES) for each in self.all]
        pairs = zip(self.all, self.balances, strict=True)
        await self.bench.put(*[account(each.low, str(balance), now, user_id=each.user) for each, balance in pairs])
        self._note()

    def _note(self) -> None:
        for each, balance in zip(self.all, self.balances, strict=True):
            for cooldowns in each.cooldowns.values():
                cooldowns.sees(balance, len(self.ticks))
