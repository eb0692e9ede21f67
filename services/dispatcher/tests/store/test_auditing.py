"""The audit and retention jobs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from tocsin_dispatcher.auditing.audit import Audit, spans
from tocsin_dispatcher.auditing.profiles import ProfileAudit
from tocsin_dispatcher.auditing.retention import Retention
from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.store.contact_sums import ProfileSum
from tocsin_dispatcher.store.ledger import Books, Found, Named, books
from tocsin_dispatcher.values import Channel, Outcome, OutcomeKind
from tocsin_dispatcher.values.minutes import Minute
from tocsin_kit.messaging.jobs import JobFailure, JobOrder
from tocsin_kit.rpc.errors import unavailable

from .bench import Bench, ScriptedWay
from .conftest import MakeBench
from .evaluators_books import EvaluatorsBooks

ORDER = JobOrder(UUID(int=1), "dispatch.audit", {}, "periodic", 1, datetime(2025, 11, 3, tzinfo=UTC), None)


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
    with capture_logs() as logs:
        found = await audit(ORDER, _progress)
        assert (found["gap"], found["republished"]) == (1, 3)
        assert (await audit(ORDER, _progress))["gap"] == 0
    assert [(one["event"], one["gap"]) for one in logs] == [("books_do_not_balance", 1)], "once, and no alarm"
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


PATIENCE = timedelta(minutes=5)
NOTHING = Found(0, ())


async def _books(bench: Bench, partner_id: int = 0, since: timedelta = timedelta(days=1)) -> Books:
    now = bench.clock.now()
    async with bench.engine.connect() as connection:
        return await books(connection, now - since, now, now - PATIENCE, partner_id)


async def _row(bench: Bench, **changes: Any) -> Named:
    """A delivery that is sent, unless changed."""
    now = bench.clock.now()
    row: dict[str, Any] = {
        "id": bench.ids.uuid7(),
        "partner_id": 1,
        "purpose": "alert",
        "status": "sent",
        "merged_into": None,
    }
    row |= {"due_at": None, "created_at": now} | changes
    await bench.execute(
        "INSERT INTO deliveries (partner_id, id, purpose, user_id, channel, class, status, due_at, merged_into,"
        " expires_at, created_at) VALUES (:partner_id, :id, :purpose, 1, 'email', 'realtime', :status, :due_at,"
        " :merged_into, :now, :created_at)",
        now=now,
        **row,
    )
    return Named(row["partner_id"], row["id"])


async def test_a_planned_delivery_that_is_not_there_is_found(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firings = [bench.firing(), bench.firing()]
    await bench.intake.take_in(firings)
    await bench.execute(
        "DELETE FROM deliveries WHERE channel = 'email' AND notification_id = :id", id=str(firings[0].id)
    )
    bench.clock.advance(timedelta(minutes=4))
    audit = _audit(bench, EvaluatorsBooks(bench, firings))
    assert (await audit(ORDER, _progress))["unplanned"] == 1
    assert (await _books(bench)).unplanned == Found(1, (Named(1, firings[0].id),))
    assert (await _books(bench, partner_id=2)).unplanned == NOTHING
    assert (await _books(bench, since=timedelta(minutes=3))).unplanned == NOTHING


async def test_what_no_worker_takes_is_overdue_after_five_minutes(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    audit = _audit(bench, EvaluatorsBooks(bench, []))
    bench.clock.advance(PATIENCE)
    assert (await audit(ORDER, _progress))["overdue"] == 0
    bench.clock.advance(timedelta(seconds=1))
    counts = await audit(ORDER, _progress)
    assert (counts["overdue"], counts["lost"]) == (1, 0)
    found = await _books(bench)
    assert found.overdue == Found(1, (Named(1, (await bench.delivery()).id),))
    assert (found.lost, (await _books(bench, partner_id=2)).overdue) == (NOTHING, NOTHING)
    async with bench.working():
        pass
    assert (await audit(ORDER, _progress))["overdue"] == 0, "it is sent"


async def test_what_a_worker_keeps_past_its_lease_is_lost_after_five_minutes(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    lease = bench.clock.now() + timedelta(minutes=1)
    await bench.execute(
        "UPDATE deliveries SET status = 'sending', due_at = :lease, leased_until = :lease WHERE channel = 'email'",
        lease=lease,
    )
    audit = _audit(bench, EvaluatorsBooks(bench, []))
    bench.clock.move_to(lease + PATIENCE)
    assert (await audit(ORDER, _progress))["lost"] == 0
    bench.clock.advance(timedelta(seconds=1))
    counts = await audit(ORDER, _progress)
    assert (counts["lost"], counts["overdue"]) == (1, 0)
    found = await _books(bench)
    assert found.lost == Found(1, (Named(1, (await bench.delivery()).id),))
    assert (found.overdue, (await _books(bench, partner_id=2)).lost) == (NOTHING, NOTHING)


@pytest.mark.parametrize("fate", ["suppressed", "expired", "failed"])
async def test_what_is_merged_into_one_that_ended_untold_is_an_orphan(benches: MakeBench, fate: str) -> None:
    bench = await benches()
    told, untold = await _row(bench), await _row(bench, status=fate)
    await _row(bench, status="merged", merged_into=told.id)
    await _row(bench, status="merged", merged_into=untold.id, created_at=bench.clock.now() - timedelta(days=2))
    bench.clock.advance(timedelta(seconds=1))
    audit = _audit(bench, EvaluatorsBooks(bench, []))
    assert (await audit(ORDER, _progress))["orphans"] == 0
    orphan = await _row(bench, status="merged", merged_into=untold.id)
    bench.clock.advance(timedelta(seconds=1))
    assert (await audit(ORDER, _progress))["orphans"] == 1
    assert (await _books(bench)).orphans == Found(1, (orphan,))
    assert (await _books(bench, partner_id=2)).orphans == NOTHING


async def test_a_digest_that_tells_nothing_is_an_orphan(benches: MakeBench) -> None:
    """Unless it tells nobody: then its members are on their own again."""
    bench = await benches()
    whole = await _row(bench, purpose="digest")
    await _row(bench, status="merged", merged_into=whole.id)
    for fate in ("suppressed", "expired", "failed"):
        await _row(bench, purpose="digest", status=fate)
    bench.clock.advance(timedelta(seconds=1))
    audit = _audit(bench, EvaluatorsBooks(bench, []))
    assert (await audit(ORDER, _progress))["orphans"] == 0
    hollow = await _row(bench, purpose="digest")
    await _row(bench, merged_into=hollow.id)
    bench.clock.advance(timedelta(seconds=1))
    assert (await audit(ORDER, _progress))["orphans"] == 1
    assert (await _books(bench)).orphans == Found(1, (hollow,))
    assert (await _books(bench, partner_id=2)).orphans == NOTHING


async def test_all_that_is_wrong_is_counted_and_the_first_twenty_are_named(benches: MakeBench) -> None:
    bench = await benches()
    at = [bench.clock.now() + timedelta(seconds=place) for place in range(22)]
    late = [await _row(bench, status="pending", due_at=due_at) for due_at in reversed(at)]
    hollow = [await _row(bench, purpose="digest", created_at=created_at) for created_at in reversed(at)]
    bench.clock.advance(timedelta(minutes=6))
    found = await _books(bench)
    assert found.overdue == Found(22, tuple(reversed(late))[:20])
    assert found.orphans == Found(22, tuple(reversed(hollow))[:20])


@pytest.mark.parametrize("place", range(4))
def test_books_in_which_anything_is_found_do_not_balance(place: int) -> None:
    found = [NOTHING] * 4
    assert Books(*found).balanced
    found[place] = Found(1, ())
    assert not Books(*found).balanced


async def test_books_that_do_not_balance_are_an_error_with_ids_whenever_what_is_wrong_changes(
    benches: MakeBench,
) -> None:
    bench = await benches()
    await bench.profile()
    evaluator = EvaluatorsBooks(bench, [])
    audit = _audit(bench, evaluator)

    async def logged() -> list[Any]:
        with capture_logs() as logs:
            counts = await audit(ORDER, _progress)
        assert all(one.items() >= counts.items() for one in logs), "all counts are told"
        return logs

    assert await logged() == []
    evaluator.firings = firings = [bench.firing() for _ in range(4)]
    await bench.intake.take_in(firings)
    rows = await bench.rows("SELECT notification_id, id FROM deliveries WHERE channel = 'email'")
    deliveries = {row.notification_id: row.id for row in rows}
    unplanned, kept, untold, told = (firing.id for firing in firings)
    await bench.execute("DELETE FROM deliveries WHERE id = :id", id=str(deliveries[unplanned]))
    await bench.execute("UPDATE deliveries SET status = 'sending' WHERE id = :id", id=str(deliveries[kept]))
    orphan = await _row(bench, status="merged", merged_into=(await _row(bench, status="failed")).id)
    bench.clock.advance(timedelta(minutes=6))
    (error,) = await logged()
    assert (error["event"], error["log_level"], error["gap"]) == ("books_do_not_balance", "error", 0)
    assert error["unplanned_notifications"] == [f"1/{unplanned}"]
    assert error["lost_deliveries"] == [f"1/{deliveries[kept]}"]
    assert sorted(error["overdue_deliveries"]) == sorted(f"1/{deliveries[one]}" for one in (untold, told))
    assert error["orphaned_deliveries"] == [f"1/{orphan.id}"]
    assert await logged() == [], "nothing has changed"
    await bench.execute(
        "UPDATE deliveries SET due_at = :now WHERE status <> 'sending' AND due_at < :now", now=bench.clock.now()
    )
    (error,) = await logged()
    assert (error["overdue"], error["lost"]) == (0, 1)
    evaluator.firings = []
    for sql in ("DELETE FROM deliveries", "DELETE FROM notifications"):
        await bench.execute(sql)
    assert await logged() == [], "they balance"


async def test_a_gap_that_does_not_heal_until_the_next_audit_is_an_error_with_the_missing_firings(
    benches: MakeBench,
) -> None:
    bench = await benches()
    await bench.profile()
    firings = []
    for _ in range(6):
        firings.append(bench.firing())
        bench.clock.advance(timedelta(seconds=25))
    lost, there = firings[::2], firings[1::2]
    await bench.intake.take_in(there)
    evaluator = EvaluatorsBooks(bench, firings)
    evaluator.heals, audit = False, _audit(bench, evaluator)

    async def alarms() -> list[Any]:
        with capture_logs() as logs:
            await audit(ORDER, _progress)
        return [one for one in logs if one["event"] == "ledger_gap_does_not_heal"]

    bench.clock.advance(timedelta(minutes=4))
    assert await alarms() == [], "it was just seen"
    bench.clock.advance(timedelta(minutes=4, seconds=59))
    minutes = sorted({firing.fired_at.replace(second=0) for firing in lost})
    assert await alarms() == [
        {
            "event": "ledger_gap_does_not_heal",
            "log_level": "error",
            "minutes": len(minutes),
            "named": [minute.isoformat() for minute in minutes],
            "missing": 3,
            "firings": [str(firing.id) for firing in lost],
        }
    ]
    bench.clock.advance(PATIENCE)
    assert await alarms() == [], "it was said"
    await bench.intake.take_in(lost[:1])
    (left,) = await alarms()
    assert left["firings"] == [str(firing.id) for firing in lost[1:]]
    evaluator.heals = True
    assert await alarms() == []
    assert (await audit(ORDER, _progress))["gap"] == 0


class OnlyForAudits(EvaluatorsBooks):
    """It does not answer the questions that find out what is missing."""

    async def summarise(self, partner_id: int, since: datetime, until: datetime) -> list[Minute]:
        if until - since <= MINUTE:
            raise unavailable("the evaluator is away")
        return await super().summarise(partner_id, since, until)


async def test_an_alarm_is_raised_even_when_what_is_missing_cannot_be_asked_for(benches: MakeBench) -> None:
    bench = await benches()
    evaluator = OnlyForAudits(bench, [bench.firing()])
    evaluator.heals, audit = False, _audit(bench, evaluator)
    bench.clock.advance(timedelta(minutes=4))
    await audit(ORDER, _progress)
    bench.clock.advance(PATIENCE)
    with capture_logs() as logs:
        assert (await audit(ORDER, _progress))["gap"] == 1
    assert [one["event"] for one in logs] == ["missing_firings_not_named", "ledger_gap_does_not_heal"]
    assert (logs[1]["missing"], logs[1]["firings"]) == (1, [])
    with capture_logs() as again:
        bench.clock.advance(PATIENCE)
        await audit(ORDER, _progress)
    assert [one["event"] for one in again] == ["missing_firings_not_named"], "it is not said by every audit"
    back = EvaluatorsBooks(bench, evaluator.firings)
    back.heals, audit = False, replace(audit, evaluator=back)
    with capture_logs() as named:
        for _ in range(2):
            bench.clock.advance(PATIENCE)
            await audit(ORDER, _progress)
    (told,) = [one for one in named if one["event"] == "ledger_gap_does_not_heal"]
    assert told["firings"] == [str(one.id) for one in evaluator.firings]


class Away(EvaluatorsBooks):
    """It does not answer."""

    async def summarise(self, partner_id: int, since: datetime, until: datetime) -> list[Minute]:
        raise unavailable("the evaluator is away")


async def test_without_the_evaluator_our_own_books_are_looked_at_before_the_job_fails(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    await bench.execute("UPDATE notifications SET planned = planned + 1")
    bench.clock.advance(MINUTE)
    with capture_logs() as logs, pytest.raises(JobFailure):
        await _audit(bench, Away(bench, []))(ORDER, _progress)
    (wrong,) = [one for one in logs if one["event"] == "books_do_not_balance"]
    assert wrong["unplanned"] == 1


async def test_without_the_evaluator_no_gap_is_said_not_to_have_healed(benches: MakeBench) -> None:
    """It may have: nobody has compared it since."""
    bench = await benches()
    audit = _audit(bench, EvaluatorsBooks(bench, [bench.firing()]))
    bench.clock.advance(timedelta(minutes=4))
    assert (await audit(ORDER, _progress))["republished"] == 1
    bench.clock.advance(PATIENCE)
    with capture_logs() as logs, pytest.raises(JobFailure):
        await replace(audit, evaluator=Away(bench, []))(ORDER, _progress)
    assert "ledger_gap_does_not_heal" not in [one["event"] for one in logs]


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
