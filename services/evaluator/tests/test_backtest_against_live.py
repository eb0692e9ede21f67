"""A backtest over a history says what fired when the same facts came in live, one by one, with the clock at each."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import UUID

import pytest

from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Alert,
    Condition,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.backtest import Backtested, Window
from tocsin_evaluator.model.facts import Fact, Transaction
from tocsin_evaluator.model.words import (
    BudgetPeriod,
    Direction,
    Frequency,
    KindName,
    MatchType,
    MoneyFlow,
    Recurrence,
    Repeat,
    TransactionStatus,
)
from tocsin_kit.clock import SteppedClock

from .support import Bench, account, bill, budget, profile, transaction

#: Sweeps and facts come on these steps, of which a cooldown is a multiple: so both sides count the same repeats.
STEP, STEPS = timedelta(hours=3), 160
ZONES = ("America/Los_Angeles", "Europe/London", "Asia/Kathmandu", "Pacific/Apia")


def _conditions(random: Random) -> Iterator[Condition]:
    """Alerts of each kind that has a history, several of most."""
    for repeat in Repeat:
        for direction, amount in ((Direction.BELOW, 450), (Direction.BELOW, 200), (Direction.ABOVE, 700)):
            yield AccountThreshold(1, Decimal(amount), "USD", direction, repeat)
    for frequency in Frequency:
        yield MerchantName(random.choice(("SHOP", "corner")), MatchType.CONTAINS, frequency)
    for flow in MoneyFlow:
        yield TransactionLimit(Decimal(random.randint(20, 120)), "USD", random.choice((None, 1)), flow)
    for id_ in (1, 2):
        yield SpendingTarget(id_, tuple(sorted(random.sample(range(5, 200), 4))))
    for id_ in (1, 2, 3):
        yield UpcomingBill(id_, random.randint(0, 21))


class _Days:
    """What happens at each step: purchases and refunds, some pending first, each with the balance after it."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._balance = Decimal(500)
        self._next_id = 1
        self._pending: list[tuple[int, Decimal, str]] = []

    def facts(self, now: datetime) -> Sequence[Transaction]:
        """None to three, the last with the balance after it: two crossings of one instant are one occurrence live."""
        made = [self._one(now) for _ in range(self._random.choice((0, 0, 1, 1, 2, 3)))]
        return [*(replace(fact, balance_after=None) for fact in made[:-1]), *made[-1:]]

    def _one(self, now: datetime) -> Transaction:
        id_, self._next_id = self._next_id, self._next_id + 1
        if self._pending and self._random.random() < 0.5:
            pending_id, amount, merchant = self._pending.pop()
            return self._booked(id_, amount, now, merchant=merchant, category="", pending_transaction_id=pending_id)
        # drawn back to where it began, so that it crosses the thresholds again and again
        middle = float(500 - self._balance) / 4
        amount = Decimal(round(self._random.gauss(middle, 90), 2))
        merchant = self._random.choice(("Corner Shop", "Tea House", "The Shop"))
        if self._random.random() < 0.2:
            self._pending.append((id_, amount, merchant))
            pending = TransactionStatus.PENDING
            return transaction(id_, str(amount), now, now, status=pending, merchant=merchant, category="")
        category = self._random.choice(("groceries", "rent", ""))
        currency = self._random.choice(("USD", "USD", "USD", "EUR"))
        return self._booked(id_, amount, now, merchant=merchant, category=category, currency=currency)

    def _booked(self, id_: int, amount: Decimal, now: datetime, **more: object) -> Transaction:
        self._balance += amount
        return transaction(id_, str(amount), now, now, balance_after=self._balance, **more)


def _subjects(random: Random, zone: str, now: datetime) -> Sequence[Fact]:
    today = now.date()
    return [
        profile(zone, now),
        account(1, "500", now),
        budget(1, now, amount=Decimal(300), period=BudgetPeriod.WEEKLY),
        budget(2, now, category="rent", amount=Decimal(500), starts_on=date(2025, 1, random.randint(1, 31))),
        bill(1, today + timedelta(days=random.randint(0, 40)), now, recurrence=Recurrence.NONE),
        bill(2, date(2025, 1, random.randint(28, 31)), now),
        bill(3, date(2025, 2, random.randint(1, 28)), now, recurrence=Recurrence.WEEKLY),
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_what_fired_live_is_what_a_backtest_says(bench: Bench, clock: SteppedClock, seed: int) -> None:
    """Keys of the kinds with keys, and instants of thresholds with those told again, are the same."""
    random = Random(seed)
    clock.advance(timedelta(minutes=-clock.now().minute))
    start = clock.now()
    await bench.put(*_subjects(random, random.choice(ZONES), start))
    made = [await bench.create(condition) for condition in _conditions(random)]
    born = {id_ for (id_,) in await bench.rows("SELECT id FROM firings")}  # by their creation, before 06:00 as well
    days = _Days(random)
    for _ in range(STEPS):
        clock.advance(STEP)
        for fact in days.facts(clock.now()):
            await bench.put(fact)
        await bench.sweep()
        await bench.bills()
    told: Counter[KindName] = Counter()
    for alert in made:
        tested = await bench.backtest_.of_alert(alert.partner_id, alert.user_id, alert.id, Window(start, clock.now()))
        assert tested is not None
        assert tested.true == tested.fired + tested.reasons.total()
        await _same(bench, alert, tested, born)
        told[alert.wish.kind] += tested.fired
    kinds = {alert.wish.kind for alert in made}
    assert all(told[kind] for kind in kinds), f"a kind that never fired proves nothing: {told}"


async def _same(bench: Bench, alert: Alert, tested: Backtested, born: set[UUID]) -> None:
    found = await bench.rows(
        "SELECT id, occurrence_key, fired_at, context->'percent' AS percent FROM firings WHERE alert_id = :id",
        id=alert.id,
    )
    condition = alert.wish.condition
    if isinstance(condition, AccountThreshold):
        live = Counter(row.fired_at for row in found)
        again = Counter(
            each.at + count * timedelta(hours=6) for each in tested.firings for count in range(1, each.repeats + 1)
        )
        assert Counter(each.at for each in tested.firings) + again == live, condition
        return
    live_keys = {row.occurrence_key: row.percent for row in found}
    past = {each.key: each.context.get("percent") for each in tested.firings}
    if isinstance(condition, UpcomingBill):
        early = {row.occurrence_key for row in found if row.id in born}
        assert past.keys() | early == live_keys.keys(), condition
    else:
        assert past == live_keys, condition
        assert {each.at for each in tested.firings} == {row.fired_at for row in found}, condition
