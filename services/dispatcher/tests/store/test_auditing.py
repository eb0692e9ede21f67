"""The audit and retention jobs."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prometheus_client import CollectorRegistry

from tocsin_dispatcher.auditing.audit import Audit
from tocsin_dispatcher.auditing.retention import Retention
from tocsin_dispatcher.values import Firing
from tocsin_dispatcher.values.minutes import Minute
from tocsin_kit.messaging.jobs import JobOrder
from tocsin_kit.telemetry.metrics import Metrics

from .bench import Bench
from .conftest import MakeBench

ORDER = JobOrder(UUID(int=1), "dispatch.audit", {}, "periodic", 1, datetime(2025, 11, 3, tzinfo=UTC), None)


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


class EvaluatorsBooks:
    """The evaluator's side, kept by hand: what is republished is taken in again."""

    def __init__(self, bench: Bench, firings: list[Firing]) -> None:
        self.bench, self.firings, self.republished = bench, firings, 0

    async def summarise(self, partner_id: int, since: datetime, until: datetime) -> list[Minute]:
        minutes: dict[datetime, list[int]] = {}
        for firing in self.firings:
            if since <= firing.fired_at < until:
                minutes.setdefault(firing.fired_at.replace(second=0, microsecond=0), []).append(firing.id.int)
        books = []
        for minute, ids in sorted(minutes.items()):
            both = 0
            for number in ids:
                both ^= number
            books.append(Minute(minute, len(ids), _signed(both >> 64), _signed(both & (1 << 64) - 1)))
        return books

    async def republish(self, since: datetime, until: datetime) -> int:
        again = [firing for firing in self.firings if since <= firing.fired_at < until]
        await self.bench.intake.take_in(again)
        self.republished += len(again)
        return len(again)


async def _progress(done: int, total: int) -> None:
    assert done <= total


async def test_books_balance_when_every_firing_has_its_notification(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firings = [bench.firing() for _ in range(20)]
    await bench.intake.take_in(firings)
    async with bench.working():
        pass
    bench.clock.advance(timedelta(minutes=4))
    books, metrics = EvaluatorsBooks(bench, firings), Metrics(CollectorRegistry())
    counts = await Audit(bench.engine, books, bench.clock, metrics)(ORDER, _progress)
    assert counts == {
        "minutes": 1,
        "gap": 0,
        "republished": 0,
        "unplanned": 0,
        "lost": 0,
        "overdue": 0,
        "orphans": 0,
    }


async def test_a_firing_that_was_lost_is_sent_again_and_the_gap_heals(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firings = [bench.firing() for _ in range(3)]
    await bench.intake.take_in(firings[:2])
    bench.clock.advance(timedelta(minutes=4))
    registry = CollectorRegistry()
    audit = Audit(bench.engine, EvaluatorsBooks(bench, firings), bench.clock, Metrics(registry))
    found = await audit(ORDER, _progress)
    assert (found["gap"], found["republished"]) == (1, 3)
    assert registry.get_sample_value("tocsin_ledger_gap") == 1
    assert (await audit(ORDER, _progress))["gap"] == 0
    assert registry.get_sample_value("tocsin_ledger_gap") == 0
    assert len(await bench.rows("SELECT 1 FROM notifications")) == 3


async def test_a_planned_delivery_that_is_not_there_is_found(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firings = [bench.firing()]
    await bench.intake.take_in(firings)
    await bench.execute("DELETE FROM deliveries WHERE channel = 'email'")
    bench.clock.advance(timedelta(minutes=4))
    audit = Audit(bench.engine, EvaluatorsBooks(bench, firings), bench.clock, Metrics(CollectorRegistry()))
    assert (await audit(ORDER, _progress))["unplanned"] == 1


async def test_old_notifications_are_hidden_and_older_ones_forgotten(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    for _ in range(2):
        await bench.intake.take_in([bench.firing()])
    retention = Retention(
        bench.engine,
        bench.clock,
        timedelta(days=90),
        {"notifications": timedelta(days=365), "deliveries": timedelta(days=180)},
    )
    bench.clock.advance(timedelta(days=91))
    assert (await retention(ORDER, _progress))["archived"] == 2
    assert [tuple(row) for row in await bench.rows("SELECT count, version FROM unread")] == [(0, 4)]
    versions = [row.version for row in await bench.rows("SELECT version FROM notifications ORDER BY 1")]
    assert versions == [3, 4], "each change has a version of its own"
    bench.clock.advance(timedelta(days=300))
    await retention(ORDER, _progress)
    assert await bench.rows("SELECT 1 FROM notifications") == []
    assert await bench.rows("SELECT 1 FROM deliveries") == []
