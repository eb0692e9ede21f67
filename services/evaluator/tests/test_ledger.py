"""The evaluation ledger as operators read it: replicas together, newest first, page by page."""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal

from tocsin_evaluator.model.alerts import AccountThreshold, TransactionLimit
from tocsin_evaluator.model.tally import Tally
from tocsin_evaluator.model.words import Direction, KindName, MoneyFlow, Reason, Repeat, Way
from tocsin_evaluator.store.ledger import Asked, Line, Place, Total, add_lines, page
from tocsin_kit.clock import SteppedClock

from .support import Bench, account, transaction

LOW = AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.WHILE_TRUE)
LARGE = TransactionLimit(Decimal(100), "USD", None, MoneyFlow.ANY)


async def read(
    bench: Bench,
    since: datetime,
    until: datetime,
    *,
    kind: KindName | None = None,
    way: Way | None = None,
    before: Place | None = None,
    size: int = 100,
) -> list[Total]:
    """A page of the ledger."""
    async with bench.engine.connect() as connection:
        return await page(connection, Asked(since, until, kind, way), before, size)


async def test_two_replicas_lines_are_added_up(make_bench: Callable[[], Awaitable[Bench]], clock: SteppedClock) -> None:
    """What fired and what did not, by kind and way."""
    one, two = await make_bench(), await make_bench()
    low = await one.create(LOW)
    await one.create(LARGE)
    await one.put(account(1, "100", clock.now()))
    await two.put(account(1, "90", clock.now() + timedelta(seconds=1)))
    await two.put(transaction(1, "-500", clock.now(), clock.now()), transaction(2, "-5", clock.now(), clock.now()))
    await one.evaluate(low)
    for bench in (one, two):
        await bench.ledger.flush()
    minute = clock.now().replace(second=0, microsecond=0)
    found = await read(one, minute, minute + timedelta(minutes=1), way=Way.REALTIME)
    assert [(each.kind, each.tally) for each in found] == [
        ("transaction_limit", Tally(2, 1, Counter())),
        ("account_threshold", Tally(2, 1, Counter({Reason.COOLDOWN: 1}))),
    ]
    assert [each.tally.true for each in found] == [1, 2]
    [asked] = await read(one, minute, minute + timedelta(minutes=1), way=Way.USER, kind=KindName.ACCOUNT_THRESHOLD)
    assert (asked.minute, asked.way, asked.tally) == (minute, Way.USER, Tally(1, 0, Counter({Reason.COOLDOWN: 1})))


async def test_pages_follow_each_other_without_a_gap_or_a_repeat(bench: Bench, clock: SteppedClock) -> None:
    """By minute, kind and way, newest first; the span's end is not part of it."""
    now = clock.now().replace(second=0, microsecond=0)
    lines = [
        Line(now - timedelta(minutes=back), kind, way, replica, Tally(back + 1, 0, Counter()))
        for back in range(5)
        for kind in (KindName.GOAL, KindName.ACCOUNT_THRESHOLD)
        for way in (Way.SWEEP, Way.REALTIME)
        for replica in ("a", "b")
    ]
    async with bench.engine.begin() as connection:
        await add_lines(connection, sorted(lines, key=lambda line: (line.minute, line.kind, line.way, line.replica)))
    since, until = now - timedelta(minutes=3), now
    whole = await read(bench, since, until)
    assert len(whole) == 12, "three minutes, two kinds, two ways: `until` is not in, `since` is"
    assert [each.place for each in whole] == sorted((each.place for each in whole), reverse=True)
    assert [each.tally.evaluated for each in whole] == [4] * 4 + [6] * 4 + [8] * 4
    paged: list[Total] = []
    while len(found := await read(bench, since, until, before=paged[-1].place if paged else None, size=5)):
        paged += found
    assert paged == whole
