"""The audit and retention jobs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tocsin_dispatcher.auditing.audit import Audit, spans
from tocsin_dispatcher.auditing.profiles import ProfileAudit
from tocsin_dispatcher.auditing.retention import Retention
from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.store.contact_sums import ProfileSum, contact_sums
from tocsin_dispatcher.values import Channel, Firing, Outcome, OutcomeKind
from tocsin_dispatcher.values.minutes import Minute
from tocsin_kit.messaging.jobs import JobOrder

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

ORDER = JobOrder(UUID(int=1), "dispatch.audit", {}, "periodic", 1, datetime(2025, 11, 3, tzinfo=UTC), None)


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


class EvaluatorsBooks:
    """The evaluator's side, kept by hand: what is republished is taken in again."""

    def __init__(self, bench: Bench, firings: list[Firing]) -> None:
        self.bench, self.firings, self.republished = bench, firings, 0
        self.heals = True
        self.asked: list[tuple[datetime, datetime]] = []
        self.lost_profiles: list[ProfileSum] = []
        self.asked_profiles: list[tuple[int, list[int], int | None]] = []

    async def summarise(self, partner_id: int, since: datetime, until: datetime) -> list[Minute]:
        assert timedelta() < until - since <= timedelta(days=1), "as the evaluator demands"
        self.asked.append((since, until))
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
        if not self.heals:
            return 0
        await self.bench.intake.take_in(again)
        self.republished += len(again)
        return len(again)

    async def profile_sums(self, partner_id: int) -> list[ProfileSum]:
        async with self.bench.engine.connect() as connection:
            ours = await contact_sums(connection, partner_id or None)
        lost = [each for each in self.lost_profiles if partner_id in (0, each.partner_id)]
        return [*ours, *[replace(each, part=each.part if partner_id else 0) for each in lost]]

    async def republish_profiles(
        self, partner_id: int, parts: Sequence[int], after: int | None
    ) -> tuple[int, int | None]:
        self.asked_profiles.append((partner_id, list(parts), after))
        if after is None:
            return 1, 41
        if self.heals:
            self.lost_profiles = []
        return 1, None


def _audit(bench: Bench, books: EvaluatorsBooks) -> Audit:
    return Audit(bench.engine, books, bench.clock, bench.applier, ProfileAudit(bench.engine, books, bench.clock))


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
    counts = await _audit(bench, EvaluatorsBooks(bench, firings))(ORDER, _progress)
    assert counts == {
        "minutes": 1,
        "gap": 0,
        "republished": 0,
        "profiles": 0,
        "receipts": 0,
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
    audit = _audit(bench, EvaluatorsBooks(bench, firings))
    found = await audit(ORDER, _progress)
    assert (found["gap"], found["republished"]) == (1, 3)
    assert (await audit(ORDER, _progress))["gap"] == 0
    assert len(await bench.rows("SELECT 1 FROM notifications")) == 3


async def test_profiles_that_were_lost_are_asked_for_part_by_part(benches: MakeBench) -> None:
    """When they differ in a second audit, for the first may have seen them on their way; page by page."""
    bench = await benches()
    await bench.profile()
    books = EvaluatorsBooks(bench, [])
    books.lost_profiles = [ProfileSum(7, 3, 2, 99), ProfileSum(7, 255, 1, -5)]
    audit = _audit(bench, books)
    assert (await audit(ORDER, _progress))["profiles"] == 0
    assert (await audit(ORDER, _progress))["profiles"] == 2
    assert books.asked_profiles == [(7, [3, 255], None), (7, [3, 255], 41)]
    assert (await audit(ORDER, _progress))["profiles"] == 0


async def test_what_does_not_heal_is_asked_for_once_an_hour(benches: MakeBench) -> None:
    """A copy that is gone does not come however often it is asked for."""
    bench = await benches()
    books = EvaluatorsBooks(bench, [])
    books.lost_profiles, books.heals = [ProfileSum(7, 3, 2, 99)], False
    audit = _audit(bench, books)
    sent = []
    for _ in range(16):
        sent.append((await audit(ORDER, _progress))["profiles"])
        bench.clock.advance(timedelta(minutes=5))
    assert sent == [0, 2, *[0] * 11, 2, 0, 0]


async def test_a_planned_delivery_that_is_not_there_is_found(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firings = [bench.firing()]
    await bench.intake.take_in(firings)
    await bench.execute("DELETE FROM deliveries WHERE channel = 'email'")
    bench.clock.advance(timedelta(minutes=4))
    audit = _audit(bench, EvaluatorsBooks(bench, firings))
    assert (await audit(ORDER, _progress))["unplanned"] == 1


async def test_the_first_audit_looks_a_day_back_and_each_later_one_to_where_the_last_one_ended(
    benches: MakeBench,
) -> None:
    bench = await benches()
    await bench.profile()
    began, books = bench.clock.now(), EvaluatorsBooks(bench, [])
    audit = _audit(bench, books)
    await audit(ORDER, _progress)
    assert books.asked == [(began - timedelta(days=1, minutes=2), began - timedelta(minutes=2))]
    books.firings, books.asked = [bench.firing()], []
    bench.clock.advance(timedelta(minutes=5))
    await audit(ORDER, _progress)
    assert books.asked == [(began - timedelta(minutes=57), began + timedelta(minutes=3))], "an hour in any case"
    await audit(ORDER, _progress)  # finds that the gap has healed
    books.asked = []
    bench.clock.advance(timedelta(hours=60))
    lost = bench.firing(fired_at=began + timedelta(hours=2))
    books.firings.append(lost)
    counts = await audit(ORDER, _progress)
    assert (counts["gap"], counts["republished"]) == (1, 1), "of a minute in which no audit was made"
    at = [began + timedelta(minutes=3) + timedelta(days=day) for day in range(3)]
    assert books.asked == [(at[0], at[1]), (at[1], at[2]), (at[2], began + timedelta(hours=60, minutes=3))]


async def test_an_old_gap_is_counted_and_looked_at_again_until_it_heals(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    lost = bench.firing()
    books = EvaluatorsBooks(bench, [lost])
    books.heals, audit = False, _audit(bench, books)
    bench.clock.advance(timedelta(minutes=4))
    assert (await audit(ORDER, _progress))["gap"] == 1
    for _ in range(3):
        bench.clock.advance(timedelta(days=1))
        assert (await audit(ORDER, _progress))["gap"] == 1
    books.heals, books.asked = True, []
    await audit(ORDER, _progress)
    assert (await audit(ORDER, _progress))["gap"] == 0
    minute = lost.fired_at.replace(second=0, microsecond=0)
    assert (minute, minute + timedelta(minutes=1)) in books.asked, "that minute alone, not the days since"
    assert len(books.asked) == 4


async def test_a_gap_that_both_books_have_forgotten_is_closed(benches: MakeBench) -> None:
    bench = await benches()
    books = EvaluatorsBooks(bench, [bench.firing()])
    books.heals, audit = False, _audit(bench, books)
    bench.clock.advance(timedelta(minutes=4))
    assert (await audit(ORDER, _progress))["gap"] == 1
    books.firings = []
    bench.clock.advance(timedelta(days=2))
    assert (await audit(ORDER, _progress))["gap"] == 0


MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SINCE = datetime(2025, 11, 3, 12, tzinfo=UTC)
SPANS = [
    ("a span of less than a day", [], SINCE + 2 * MINUTE, [(SINCE, SINCE + 2 * MINUTE)]),
    ("nothing yet", [], SINCE, []),
    ("more than a day", [], SINCE + DAY + MINUTE, [(SINCE, SINCE + DAY), (SINCE + DAY, SINCE + DAY + MINUTE)]),
    ("a gap within the span", [SINCE], SINCE + MINUTE, [(SINCE, SINCE + MINUTE)]),
    ("gaps of one day", [SINCE - DAY, SINCE - 9 * MINUTE], SINCE, [(SINCE - DAY, SINCE - 8 * MINUTE)]),
    (
        "gaps of several",
        [SINCE - 2 * DAY, SINCE - DAY, SINCE - MINUTE],
        SINCE,
        [(SINCE - 2 * DAY, SINCE - 2 * DAY + MINUTE), (SINCE - DAY, SINCE)],
    ),
]


@pytest.mark.parametrize(("gaps", "until", "want"), [case[1:] for case in SPANS], ids=[case[0] for case in SPANS])
def test_what_is_compared(gaps: list[datetime], until: datetime, want: list[tuple[datetime, datetime]]) -> None:
    assert spans(gaps, SINCE, until) == want


async def test_a_receipt_and_its_outcome_that_missed_each_other_are_brought_together(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[Outcome(OutcomeKind.ACCEPTED, provider_id="a.b")]))
    bench.way.chain = (BreakerKey("sendgrid", "key"),)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        pass
    # As both transactions leave it, each of which read before the other one committed.
    sql = """
INSERT INTO receipts (provider, event_key, event, provider_id, callback_id, happened_at, received_at, details)
VALUES ('sendgrid', :key, :event, :message, uuidv7(), :at, :at, '{"code": null, "detail": ""}')
"""
    for key, event, message in [("e1", "delivered", "a.b.filter-7"), ("e2", "opened", "a.b"), ("e3", "sent", "z")]:
        await bench.execute(sql, key=key, event=event, message=message, at=bench.clock.now())
    counts = await _audit(bench, EvaluatorsBooks(bench, []))(ORDER, _progress)
    assert counts["receipts"] == 2
    delivered = await bench.delivery()
    assert (delivered.status, delivered.delivered_at) == ("delivered", bench.clock.now())
    waiting = await bench.rows("SELECT event_key FROM receipts WHERE applied_at IS NULL")
    assert [row.event_key for row in waiting] == ["e3"], "another system's message of the same account"
    assert len(bench.spans.get_finished_spans()) == 2
    assert (await _audit(bench, EvaluatorsBooks(bench, []))(ORDER, _progress))["receipts"] == 0


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
