"""GetLedger: the books as an operator reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.notifications.v1 import delivery_pb2
from tocsin.types.v1 import types_pb2
from tocsin_dispatcher.doors.dead_letters import DeadLetterRpcs
from tocsin_dispatcher.doors.delivery_service import DeliveryServicer
from tocsin_dispatcher.values import Firing
from tocsin_kit.rpc.errors import Reason, TocsinError, unavailable

from .bench import Bench
from .conftest import MakeBench
from .evaluators_books import EvaluatorsBooks

NO_CONTEXT = cast(Any, None)
MINUTE = timedelta(minutes=1)


def stamp(instant: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(instant)
    return made


async def _ledger(bench: Bench, evaluator: EvaluatorsBooks, **asked: Any) -> delivery_pb2.GetLedgerResponse:
    letters = cast(DeadLetterRpcs, None)  # nobody asks for them
    servicer = DeliveryServicer(bench.engine, evaluator, {}, bench.clock, bench.ids, letters)
    return await servicer.GetLedger(delivery_pb2.GetLedgerRequest(**asked), NO_CONTEXT)


def _lines(ledger: delivery_pb2.GetLedgerResponse) -> list[tuple[datetime, int, int, bool]]:
    return [(one.minute.ToDatetime(UTC), one.firings, one.notifications, one.balanced) for one in ledger.minutes]


async def _two_banks(bench: Bench) -> list[Firing]:
    """Two firings of bank 1, one of bank 2, all in the minute that begins now; the last of each has not arrived."""
    await bench.profile()
    await bench.profile(partner_id=2)
    firings = [
        bench.firing(),
        bench.firing(fired_at=bench.clock.now() + timedelta(seconds=9)),
        bench.firing(partner_id=2),
    ]
    await bench.intake.take_in(firings[:1])
    return firings


@pytest.mark.parametrize(
    ("partner_id", "firings", "notifications", "missing"), [(0, 3, 1, [1, 2]), (1, 2, 1, [1]), (2, 1, 0, [2])]
)
async def test_the_books_are_compared_when_asked_though_no_audit_was_ever_made(
    benches: MakeBench, partner_id: int, firings: int, notifications: int, missing: list[int]
) -> None:
    bench = await benches()
    fired, minute = await _two_banks(bench), bench.clock.now()
    bench.clock.advance(timedelta(minutes=4))
    ledger = await _ledger(bench, EvaluatorsBooks(bench, fired), partner_id=partner_id)
    assert await bench.rows("SELECT 1 FROM ledger_minutes") == [], "no audit was made"
    assert _lines(ledger) == [(minute, firings, notifications, False)]
    assert ledger.gap == firings - notifications
    assert sorted(ledger.missing_firing_ids) == sorted(str(fired[place].id) for place in missing)
    assert ledger.compared_until.ToDatetime(UTC) == bench.clock.now() - 2 * MINUTE


async def test_what_has_arrived_since_the_last_audit_is_no_gap(benches: MakeBench) -> None:
    bench = await benches()
    fired, minute = await _two_banks(bench), bench.clock.now()
    gap = "INSERT INTO ledger_minutes VALUES (:minute, 3, 1, true, :minute, :minute)"
    await bench.execute(gap, minute=minute)
    await bench.intake.take_in(fired)
    bench.clock.advance(timedelta(minutes=4))
    ledger = await _ledger(bench, EvaluatorsBooks(bench, fired))
    assert _lines(ledger) == [(minute, 3, 3, True)]
    assert (ledger.gap, list(ledger.missing_firing_ids)) == (0, [])


async def test_an_earlier_gap_is_told_as_long_as_it_stands(benches: MakeBench) -> None:
    """An operator is called for it, and asks about the last hour."""
    bench = await benches()
    minute, fired = bench.clock.now(), [bench.firing()]
    healed = minute + MINUTE
    gap = "INSERT INTO ledger_minutes VALUES (:minute, 1, 0, true, :minute, :minute)"
    for one in (minute, healed):
        await bench.execute(gap, minute=one)
    bench.clock.advance(timedelta(hours=2))
    ledger = await _ledger(bench, EvaluatorsBooks(bench, fired))
    assert _lines(ledger) == [(minute, 1, 0, False)]
    assert (ledger.gap, list(ledger.missing_firing_ids)) == (1, [str(fired[0].id)])
    ledger = await _ledger(bench, EvaluatorsBooks(bench, fired), since=stamp(minute + timedelta(seconds=30)))
    assert _lines(ledger) == [(minute, 1, 0, False)], "an hour ago was in the middle of a minute"
    assert list(ledger.missing_firing_ids) == [str(fired[0].id)]


async def test_many_gaps_that_never_close_are_asked_about_by_the_day(benches: MakeBench) -> None:
    """As after an old backup of the evaluator."""
    bench = await benches()
    gaps = (
        "INSERT INTO ledger_minutes SELECT at, 1, 0, true, at, at FROM"
        " generate_series(CAST(:now AS timestamptz) - interval '3 days', :now, interval '1 minute') AS at"
    )
    await bench.execute(gaps, now=bench.clock.now())
    bench.clock.advance(timedelta(hours=2))
    evaluator = EvaluatorsBooks(bench, [])
    assert (await _ledger(bench, evaluator)).gap == 0
    assert len(evaluator.asked) < 10


async def test_firings_of_the_last_two_minutes_may_be_on_their_way(benches: MakeBench) -> None:
    bench = await benches()
    began = bench.clock.now()
    evaluator = EvaluatorsBooks(bench, [bench.firing()])
    bench.clock.advance(2 * MINUTE)
    ledger = await _ledger(bench, evaluator)
    assert (ledger.gap, ledger.compared_until.ToDatetime(UTC)) == (0, began)
    bench.clock.advance(timedelta(seconds=1))
    assert (await _ledger(bench, evaluator)).gap == 1
    ledger = await _ledger(bench, evaluator, since=stamp(bench.clock.now() - MINUTE))
    assert ledger.compared_until.ToDatetime(UTC) < bench.clock.now() - MINUTE, "nothing in it could be compared"
    assert _lines(ledger) == []
    ledger = await _ledger(bench, evaluator, until=stamp(began))
    assert (ledger.gap, ledger.compared_until.ToDatetime(UTC)) == (0, began), "before what was asked for"


async def test_a_minute_in_part_is_compared_in_part(benches: MakeBench) -> None:
    bench = await benches()
    began = bench.clock.now()
    fired = [bench.firing(fired_at=began + timedelta(seconds=second)) for second in (5, 25, 45)]
    bench.clock.advance(timedelta(minutes=9))
    span = {"since": stamp(began + timedelta(seconds=10)), "until": stamp(began + timedelta(seconds=40))}
    ledger = await _ledger(bench, EvaluatorsBooks(bench, fired), **span)
    assert _lines(ledger) == [(began, 1, 0, False)]
    assert list(ledger.missing_firing_ids) == [str(fired[1].id)]


async def test_a_month_is_compared_a_day_at_a_time_and_no_more_at_once(benches: MakeBench) -> None:
    bench = await benches()
    now = bench.clock.now()
    lost = bench.firing(fired_at=now - timedelta(days=31))
    evaluator = EvaluatorsBooks(bench, [lost])
    month = {"since": stamp(now - timedelta(days=31))}
    assert list((await _ledger(bench, evaluator, **month)).missing_firing_ids) == [str(lost.id)]
    for since in (now - timedelta(days=31, seconds=1), now, now + MINUTE):
        with pytest.raises(TocsinError) as refused:
            await _ledger(bench, evaluator, since=stamp(since))
        assert refused.value.reason is Reason.INVALID_FIELD, since


@pytest.mark.parametrize(("partner_id", "count"), [(0, 2), (1, 1), (2, 1)])
async def test_what_must_not_be_is_counted_and_named_when_asked(
    benches: MakeBench, partner_id: int, count: int
) -> None:
    bench = await benches()
    expected: dict[str, set[tuple[int, str]]] = {name: set() for name in ("unplanned", "lost", "overdue", "orphans")}
    banks = (partner_id,) if partner_id else (1, 2)
    for bank in (1, 2):
        await bench.profile(partner_id=bank)
        without, kept, late = firings = [bench.firing(partner_id=bank) for _ in range(3)]
        await bench.intake.take_in(firings)
        rows = await bench.rows("SELECT id, notification_id FROM deliveries WHERE channel = 'email'")
        of = {row.notification_id: str(row.id) for row in rows}
        await bench.execute("DELETE FROM deliveries WHERE id = :id", id=of[without.id])
        await bench.execute("UPDATE deliveries SET status = 'sending' WHERE id = :id", id=of[kept.id])
        hollow = bench.ids.uuid7()
        await bench.execute(
            "INSERT INTO deliveries (partner_id, id, purpose, user_id, channel, class, status, expires_at, created_at)"
            " VALUES (:bank, :id, 'digest', 1, 'email', 'realtime', 'sent', :now, :now)",
            bank=bank,
            id=hollow,
            now=bench.clock.now(),
        )
        if bank in banks:
            expected["unplanned"].add((bank, str(without.id)))
            expected["lost"].add((bank, of[kept.id]))
            expected["overdue"].add((bank, of[late.id]))
            expected["orphans"].add((bank, str(hollow)))
    bench.clock.advance(timedelta(minutes=5))
    evaluator = EvaluatorsBooks(bench, [])
    young = await _ledger(bench, evaluator, partner_id=partner_id)
    assert (young.lost.count, young.overdue.count) == (0, 0)
    bench.clock.advance(timedelta(seconds=1))
    ledger = await _ledger(bench, evaluator, partner_id=partner_id)
    findings = {name: getattr(ledger, name) for name in expected}
    assert {name: finding.count for name, finding in findings.items()} == dict.fromkeys(expected, count)
    assert {name: {(one.partner_id, one.id) for one in found.first} for name, found in findings.items()} == expected
    later = await _ledger(bench, evaluator, partner_id=partner_id, since=stamp(bench.clock.now() - MINUTE))
    counts = (later.unplanned.count, later.lost.count, later.overdue.count, later.orphans.count)
    assert counts == (0, count, count, 0), "what is late is late whenever it was planned"


async def test_deliveries_are_counted_by_channel_and_state(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing() for _ in range(2)])
    async with bench.working():
        pass
    bench.clock.advance(timedelta(seconds=1))
    ledger = await _ledger(bench, EvaluatorsBooks(bench, []))
    assert [(one.channel, one.status, one.count) for one in ledger.deliveries] == [
        (types_pb2.CHANNEL_EMAIL, delivery_pb2.DELIVERY_STATUS_SENT, 2),
        (types_pb2.CHANNEL_IN_APP, delivery_pb2.DELIVERY_STATUS_SENT, 2),
    ]
    assert (await _ledger(bench, EvaluatorsBooks(bench, []), partner_id=2)).deliveries == []


class Away(EvaluatorsBooks):
    """An evaluator that does not answer."""

    async def summarise(self, *_: Any) -> Any:
        raise unavailable("the evaluator is away")


async def test_without_the_evaluator_nothing_is_said_to_balance(benches: MakeBench) -> None:
    bench = await benches()
    with pytest.raises(TocsinError) as refused:
        await _ledger(bench, Away(bench, []))
    assert refused.value.reason is Reason.UNAVAILABLE
