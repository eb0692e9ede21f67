"""What makes each kind true, row by row. Each row is a user of its own; the last column says whether it fires."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tocsin_evaluator.model.alerts import (
    AccountThreshold,
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
    SpentSource,
    TransactionStatus,
)
from tocsin_kit.clock import SteppedClock

from .support import Bench, account, bill, budget, goal, profile, transaction


async def _check(bench: Bench, rows: list[tuple[Any, list[Fact], str | None]]) -> None:
    """Create each row's alert, then bring all facts at once; compare the occurrence each fired."""
    alerts = [(await bench.create(condition, user=user)).id for user, (condition, _, _) in enumerate(rows, start=1)]
    await bench.put(*[fact for _, facts, _ in rows for fact in facts])
    fired = dict(tuple(row) for row in await bench.rows("SELECT alert_id, occurrence_key FROM firings"))
    for alert_id, (condition, facts, wanted) in zip(alerts, rows, strict=True):
        key = fired.get(alert_id)
        told = None if key is None else key.removeprefix("1:")
        assert told == wanted, f"{condition} on {facts[-1]}"


async def test_account_threshold(bench: Bench, clock: SteppedClock) -> None:
    """Beyond it, on an open account, in its currency, known for less than 48 hours."""
    now = clock.now()
    at = "at:2025-11-03T12:00:00.000000Z"

    def row(user: int, direction: Direction, balance: str, fires: bool, **more: Any) -> tuple[Any, list[Fact], Any]:
        condition = AccountThreshold(user, Decimal("500"), "USD", direction, Repeat.WHILE_TRUE)
        fact = account(user, balance, more.pop("as_of", now), user_id=user, **more)
        return condition, [fact], at if fires else None

    await _check(
        bench,
        [
            row(1, Direction.BELOW, "499.9999", True),  # a hundredth of a cent is enough
            row(2, Direction.BELOW, "500", False),  # equality is not below
            row(3, Direction.BELOW, "500.01", False),
            row(4, Direction.BELOW, "-20", True),  # overdrawn
            row(5, Direction.ABOVE, "500", False),  # nor above
            row(6, Direction.ABOVE, "500.0001", True),
            row(7, Direction.BELOW, "1", False, closed=True),
            row(8, Direction.BELOW, "1", False, currency="EUR"),
            row(9, Direction.BELOW, "1", True, as_of=now - timedelta(hours=48)),  # not older than 48 hours
            row(10, Direction.BELOW, "1", False, as_of=now - timedelta(hours=48, seconds=1)),
        ],
    )


async def test_goal(bench: Bench, clock: SteppedClock) -> None:
    """At least the milestone's share; the highest reached is told."""

    def row(user: int, current: str, target: str, wanted: str | None) -> tuple[Any, list[Fact], Any]:
        fact = goal(user, current, clock.now(), target=target, user_id=user)
        return GoalMilestones(user, (25, 50, 75, 100)), [fact], wanted

    await _check(
        bench,
        [
            row(1, "249.99", "1000", None),
            row(2, "250", "1000", "milestone:25"),  # equality reaches
            row(3, "999.99", "1000", "milestone:75"),
            row(4, "1500", "1000", "milestone:100"),  # beyond the target is the target
            row(5, "5", "0", None),  # a target of 0 never fires
            row(6, "0", "0", None),
            row(7, "0.01", "0.03", "milestone:25"),  # a third, without rounding
        ],
    )


async def test_merchant_name(bench: Bench, clock: SteppedClock) -> None:
    """Equal or contained once both are normalised; any currency; not what was taken back."""
    now = clock.now()

    def row(user: int, match: MatchType, pattern: str, merchant: str, fires: bool, **more: Any) -> Any:
        fact = transaction(user, "-5", now, now, user_id=user, account_id=user, merchant=merchant, **more)
        condition = MerchantName(pattern, match, Frequency.IMMEDIATE)
        return condition, [fact], f"purchase:{user}" if fires else None

    await _check(
        bench,
        [
            row(1, MatchType.EXACT, "coffee", "COFFEE", True),
            row(2, MatchType.EXACT, "coffee", "COFFEE #12", False),
            row(3, MatchType.CONTAINS, "coffee", "Blue COFFEE #12", True),
            row(4, MatchType.CONTAINS, "blue  bottle", " BLUE BOTTLE", True),  # white space squeezed
            row(5, MatchType.CONTAINS, "100%", "100 percent", False),  # no wildcards
            row(6, MatchType.CONTAINS, "_", "abc", False),
            row(7, MatchType.CONTAINS, "cafe", "Café", False),  # an accent is a letter
            row(8, MatchType.CONTAINS, "x", "", False),
            row(9, MatchType.EXACT, "coffee", "Coffee", True, currency="EUR"),
            row(10, MatchType.EXACT, "coffee", "Coffee", True, status=TransactionStatus.PENDING),
            row(11, MatchType.EXACT, "coffee", "Coffee", False, status=TransactionStatus.REVERSED),
        ],
    )


async def test_spending_target(bench: Bench, clock: SteppedClock) -> None:
    """At least the share of the amount, in the period that runs now."""
    now = clock.now()

    def row(user: int, spent: str, wanted: str | None, **more: Any) -> tuple[Any, list[Fact], Any]:
        values = {"spent_source": SpentSource.REPORTED, "spent": Decimal(spent), "user_id": user, **more}
        return SpendingTarget(user, (50, 80, 100, 120)), [budget(user, values.pop("as_of", now), **values)], wanted

    await _check(
        bench,
        [
            row(1, "199.99", None),
            row(2, "200", "2025-11:50"),  # equality reaches
            row(3, "480", "2025-11:120"),  # only the highest
            row(4, "0", None, amount=Decimal(0)),  # an amount of 0 never fires
            row(5, "-50", None),  # more refunded than spent
            row(6, "400", None, as_of=datetime(2025, 10, 31, 23, tzinfo=now.tzinfo)),  # last month's spending
            row(7, "400", "2025-10-15:100", starts_on=date(2020, 1, 15)),
            row(8, "400", "2025-11-03:100", period=BudgetPeriod.WEEKLY),
            row(9, "400", "2025:100", period=BudgetPeriod.YEARLY),
            row(10, "400", "2025-04-06:100", period=BudgetPeriod.YEARLY, starts_on=date(2024, 4, 6)),
        ],
    )


async def test_transaction_limit(bench: Bench, clock: SteppedClock) -> None:
    """At least the limit without the sign; account and direction where they are given; its currency."""
    now = clock.now()

    def row(user: int, flow: MoneyFlow, account_id: int | None, amount: str, fires: bool, **more: Any) -> Any:
        values = {"user_id": user, "account_id": 7, **more}
        fact = transaction(user, amount, now, now, **values)
        return TransactionLimit(Decimal("200"), "USD", account_id, flow), [fact], f"purchase:{user}" if fires else None

    await _check(
        bench,
        [
            row(1, MoneyFlow.ANY, None, "-200", True),  # equality reaches
            row(2, MoneyFlow.ANY, None, "-199.9999", False),
            row(3, MoneyFlow.ANY, None, "200", True),
            row(4, MoneyFlow.DEBIT, None, "200", False),
            row(5, MoneyFlow.DEBIT, None, "-200", True),
            row(6, MoneyFlow.CREDIT, None, "-200", False),
            row(7, MoneyFlow.ANY, 7, "-200", True),
            row(8, MoneyFlow.ANY, 8, "-200", False),  # another account
            row(9, MoneyFlow.ANY, None, "-900", False, currency="CAD"),
            row(10, MoneyFlow.ANY, None, "-900", False, status=TransactionStatus.REVERSED),
        ],
    )


async def test_upcoming_bill(bench: Bench, clock: SteppedClock) -> None:
    """Unpaid, due within the days, by the calendar where the person lives, from 06:00 there."""
    now = clock.now()  # Monday 3 November 2025, 12:00 UTC: 06:00 in Chicago, 04:00 in Los Angeles

    def row(user: int, days: int, due: date, wanted: str | None, zone: str = "America/Chicago", **more: Any) -> Any:
        values = {"recurrence": Recurrence.NONE, "user_id": user, **more}
        return UpcomingBill(user, days), [profile(zone, now, user=user), bill(user, due, now, **values)], wanted

    await _check(
        bench,
        [
            row(1, 3, date(2025, 11, 6), "due:2025-11-06"),
            row(2, 3, date(2025, 11, 7), None),  # four days
            row(3, 0, date(2025, 11, 3), "due:2025-11-03"),  # today
            row(4, 3, date(2025, 11, 2), None),  # yesterday
            row(5, 3, date(2025, 11, 5), None, zone="America/Los_Angeles"),  # not morning yet
            row(6, 1, date(2025, 11, 4), "due:2025-11-04", zone="Asia/Tokyo"),  # 21:00 of the same day
            row(7, 3, date(2025, 11, 5), None, paid_through=date(2025, 11, 5)),
            row(8, 21, date(2025, 10, 24), "due:2025-11-24", recurrence=Recurrence.MONTHLY),
            row(9, 5, date(2025, 10, 31), "due:2025-11-07", recurrence=Recurrence.WEEKLY),
            row(10, 0, date(2025, 8, 3), "due:2025-11-03", recurrence=Recurrence.QUARTERLY),
        ],
    )
