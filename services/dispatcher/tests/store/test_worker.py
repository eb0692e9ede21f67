"""The worker, from a due row to an outcome."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.delivering.way import Sent
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.attempts import Settlement, settle
from tocsin_dispatcher.values import (
    AlertStanding,
    Attempt,
    Channel,
    Notification,
    Outcome,
    OutcomeKind,
    Recipient,
    WorkClass,
)

from .bench import ScriptedWay
from .conftest import MakeBench

FAILED = Outcome(OutcomeKind.TRANSIENT, status=500, answer="HTTP 500")
SILENT = Outcome(OutcomeKind.UNKNOWN, answer="no answer")


async def test_a_due_delivery_is_sent_and_its_attempt_is_written(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    async with bench.working():
        await bench.intake.take_in([bench.firing()])
        await bench.quiet()
    sent = await bench.delivery()
    assert (sent.status, sent.attempt, sent.provider, sent.due_at) == ("sent", 1, "first", None)
    attempts = await bench.rows("SELECT number, outcome, possible_duplicate FROM attempts")
    assert [tuple(row) for row in attempts] == [(1, "accepted", False)]


async def test_two_workers_do_not_exceed_a_users_limit_together(benches: MakeBench) -> None:
    one, other = await benches(), await benches()
    await one.profile()
    await one.intake.take_in([one.firing() for _ in range(100)])
    await one.intake.take_in([one.firing() for _ in range(100)])
    async with one.working(), other.working():
        await one.quiet()
        await other.quiet()
    assert await one.states() == {"sent": 10, "held": 190}
    assert len(one.way.calls) + len(other.way.calls) == 10
    assert {row.reason for row in await one.rows("SELECT reason FROM deliveries WHERE status = 'held'")} == {
        "rate_limited"
    }


async def test_what_is_held_for_the_limit_leaves_in_the_next_hour_as_one(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing() for _ in range(25)])
    async with bench.working():
        await bench.step()
    assert await bench.states() == {"sent": 11, "merged": 15}


async def test_critical_ones_pass_the_limit_up_to_their_own(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing(critical=True) for _ in range(35)])
    async with bench.working():
        pass
    assert await bench.states() == {"sent": 30, "held": 5}
    assert {row.reason for row in await bench.rows("SELECT reason FROM deliveries WHERE status = 'held'")} == {"flood"}


async def test_transient_failures_are_retried_by_rows_until_they_pass(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED, FAILED]))
    await bench.profile()
    began = bench.clock.now()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        assert (await bench.delivery()).status == "retrying"
        await bench.step()
        waited = await bench.step() - began
    assert timedelta(seconds=2.25) <= waited <= timedelta(seconds=3.75)
    sent = await bench.delivery()
    assert (sent.status, sent.attempt, sent.failures) == ("sent", 3, 2)


async def test_a_throttled_call_waits_for_the_reset_and_costs_no_retry(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.EMAIL)
    bench = await benches(way)
    reset = bench.clock.now() + timedelta(seconds=40)
    way.answers = [Outcome(OutcomeKind.THROTTLED, status=429, not_before=reset)]
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        waiting = await bench.delivery()
        assert (waiting.status, waiting.failures) == ("pending", 0)
        assert await bench.step() == reset
    assert (await bench.delivery()).status == "sent"


async def test_a_permanent_failure_ends_and_suppresses_a_bad_address(benches: MakeBench) -> None:
    bad = Outcome(OutcomeKind.PERMANENT, status=400, code="21610", suppress=SuppressionCause.STOPPED)
    bench = await benches(ScriptedWay(Channel.SMS, answers=[bad]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        assert (await bench.delivery()).status == "failed"
        await bench.intake.take_in([bench.firing(critical=True)])
        await bench.quiet()
    rows = await bench.rows("SELECT status, reason FROM deliveries WHERE channel = 'sms' ORDER BY created_at, id")
    assert Counter((row.status, row.reason) for row in rows) == {
        ("failed", None): 1,
        ("suppressed", "suppressed_stopped"): 1,
    }


async def test_an_open_breaker_lets_deliveries_wait_without_burning_retries(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED] * 5))
    await bench.profile()
    for user_id in range(1, 6):
        await bench.profile(user_id)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in range(1, 6)])
    async with bench.working():
        assert [tuple(row) for row in await bench.rows("SELECT state, failures FROM breakers")] == [("open", 5)]
        await bench.intake.take_in([bench.firing()])
        await bench.quiet()
        calls = len(bench.way.calls)
        waits = await bench.rows("SELECT * FROM deliveries WHERE status = 'pending'")
        assert [(row.reason, row.attempt, row.failures) for row in waits] == [("breaker_open", 0, 0)]
        while (await bench.states()).get("sent", 0) < 6:
            await bench.step()
    assert calls == 5
    assert [row.state for row in await bench.rows("SELECT state FROM breakers")] == ["closed"]


async def test_a_breaker_that_is_being_tried_is_shown_half_open(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.EMAIL, answers=[FAILED] * 5)
    bench = await benches(way)
    for user_id in range(1, 6):
        await bench.profile(user_id)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in range(1, 6)])
    async with bench.working():
        opened = await bench.rows("SELECT state, since FROM breakers")
        assert [row.state for row in opened] == ["open"]
        way.begun, way.block = asyncio.Semaphore(0), asyncio.Event()
        bench.clock.advance(timedelta(seconds=70))
        async with asyncio.timeout(20):
            await way.begun.acquire()
        tried = await bench.rows("SELECT state, since FROM breakers")
        level = bench.metrics.get_sample_value("circuit_breaker_state", {"service": "first"})
        way.block.set()
        await bench.quiet()
    assert [(row.state, row.since) for row in tried] == [("half_open", bench.clock.now())]
    assert level == 1


async def test_another_replica_follows_an_open_breaker(benches: MakeBench) -> None:
    one, other = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED] * 5)), await benches()
    for user_id in range(1, 6):
        await one.profile(user_id)
    await one.intake.take_in([one.firing(user_id=user_id) for user_id in range(1, 6)])
    async with one.working():
        pass
    await other.intake.take_in([other.firing()])
    async with other.working():
        pass
    assert other.way.calls == []


@pytest.mark.parametrize("others", [WorkClass.REALTIME, WorkClass.PERIODIC])
async def test_a_delivery_that_is_always_refused_for_the_account_is_not_each_probe(
    benches: MakeBench, others: WorkClass
) -> None:
    class RefusingOne(ScriptedWay):
        async def send(
            self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
        ) -> Sent:
            if notification.user_id == 1:
                return Sent(Outcome(OutcomeKind.ACCOUNT, status=400, code="99999"))
            return await super().send(key, attempt, notification, recipient, now)

    bench = await benches(RefusingOne(Channel.SMS))
    for user_id in range(1, 8):
        await bench.profile(user_id)
    began = bench.clock.now()
    await bench.intake.take_in([bench.firing(critical=True)])
    async with bench.working():
        bench.clock.advance(timedelta(seconds=1))
        await bench.intake.take_in([bench.firing(user_id=user_id, work_class=others) for user_id in range(2, 8)])
        await bench.quiet()
        assert await bench.states() == {"pending": 7}, "its refusal has opened the breaker"
        while (await bench.states()).get("sent", 0) < 6:
            assert await bench.step() - began < timedelta(minutes=2), await bench.states()
    assert await bench.states() == {"sent": 6, "pending": 1}


async def test_an_account_fault_sends_by_the_next_provider(benches: MakeBench) -> None:
    chain = (BreakerKey("first", "key"), BreakerKey("second", "key"))
    refused = Outcome(OutcomeKind.ACCOUNT, status=401, answer="HTTP 401")
    bench = await benches(ScriptedWay(Channel.EMAIL, chain, answers=[refused]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        pass
    sent = await bench.delivery()
    assert (sent.status, sent.provider, sent.failures) == ("sent", "second", 0)


async def test_an_e_mail_nobody_answered_for_is_sent_again_and_marked(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[SILENT]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        await bench.step()
    marks = await bench.rows("SELECT outcome, possible_duplicate FROM attempts ORDER BY number")
    assert [tuple(row) for row in marks] == [("unknown", False), ("accepted", True)]


async def test_an_sms_nobody_answered_for_is_looked_up_and_repeated_once(benches: MakeBench) -> None:
    never = Outcome(OutcomeKind.TRANSIENT, answer="never arrived")
    way = ScriptedWay(Channel.SMS, answers=[SILENT, SILENT], found=[never, never])
    way.look_up = way
    bench = await benches(way)
    await bench.profile()
    began = bench.clock.now()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        assert (await bench.delivery()).status == "unknown"
        assert await bench.step() == began + timedelta(seconds=120)
        assert len(way.calls) == 2
        await bench.step()
    assert (await bench.delivery()).status == "failed"
    assert len(way.calls) == 2, "one repeat, never a second"
    marks = await bench.rows("SELECT possible_duplicate FROM attempts ORDER BY number")
    assert [row.possible_duplicate for row in marks] == [False, True]


async def test_an_sms_that_is_found_is_sent_and_not_repeated(benches: MakeBench) -> None:
    found = Outcome(OutcomeKind.ACCEPTED, provider_id="SM1")
    way = ScriptedWay(Channel.SMS, answers=[SILENT], found=[found])
    way.look_up = way
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        await bench.step()
    sent = await bench.delivery()
    assert (sent.status, sent.provider_id, len(way.calls)) == ("sent", "SM1", 1)


async def test_a_worker_lost_during_a_call_leaves_an_attempt_that_is_repeated_and_marked(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    row = await bench.delivery()
    lease = bench.clock.now() + timedelta(seconds=60)
    await bench.execute(
        "UPDATE deliveries SET status = 'sending', attempt = 1, token_taken = true, due_at = :at, leased_until = :at"
        " WHERE id = :id",
        at=lease,
        id=row.id,
    )
    await bench.execute(
        "INSERT INTO attempts (partner_id, delivery_id, number, provider, credential, started_at, possible_duplicate)"
        " VALUES (1, :id, 1, 'first', 'key', :at, false)",
        id=row.id,
        at=bench.clock.now(),
    )
    async with bench.working():
        assert bench.way.calls == [], "its lease still stands"
        assert await bench.step() == lease
        await bench.step()
    marks = await bench.rows("SELECT outcome, possible_duplicate FROM attempts ORDER BY number")
    assert [tuple(mark) for mark in marks] == [("unknown", False), ("accepted", True)]


async def test_an_outcome_that_comes_too_late_overwrites_nothing(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        await bench.step()
    before = await bench.delivery()
    assert (before.status, before.attempt) == ("sent", 2)
    late = Settlement(
        key=DeliveryKey(1, before.id),
        attempt=1,
        status=DeliveryState.FAILED,
        due_at=None,
        failures=9,
        possible_duplicate=False,
        repeated_after_unknown=False,
        outcome=OutcomeKind.PERMANENT,
        provider_id="late",
        status_code=None,
        code=None,
        answer="late",
        segments=None,
        cost=None,
    )
    async with bench.engine.begin() as connection:
        assert await settle(connection, [late], bench.clock.now()) == {}
    assert await bench.delivery() == before


async def test_a_released_delivery_that_is_no_longer_true_is_not_sent(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firings = [bench.firing() for _ in range(11)]
    await bench.intake.take_in(firings)
    async with bench.working():
        for firing in firings:
            bench.standings[firing.id] = AlertStanding.ALERT_GONE
        await bench.step()
    assert await bench.states() == {"sent": 10, "suppressed": 1}


async def test_a_merged_delivery_is_due_again_when_the_one_it_joined_fails(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[Outcome(OutcomeKind.PERMANENT, status=400)]))
    await bench.profile()
    await bench.intake.take_in([bench.firing(purchase_id=5), bench.firing(purchase_id=5)])
    async with bench.working():
        await bench.quiet()
    assert await bench.states() == {"failed": 1, "sent": 1}


async def test_realtime_slots_are_kept_while_others_hang(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.EMAIL, block=asyncio.Event())
    bench = await benches(way, slots=8)
    for user_id in range(1, 31):
        await bench.profile(user_id)
    await bench.intake.take_in([bench.firing(user_id=u, work_class=WorkClass.PERIODIC) for u in range(1, 21)])
    part = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        for _ in range(6):
            await way.begun.acquire()
        await bench.intake.take_in([bench.firing(user_id=30)])
        await way.begun.acquire()
    realtime = await bench.rows("SELECT status FROM deliveries WHERE user_id = 30 AND channel = 'email'")
    assert [row.status for row in realtime] == ["sending"], "a hanging flood leaves room for the class realtime"
    assert way.block is not None
    way.block.set()
    bench.stopping.set()
    await part


async def test_the_database_refuses_a_step_that_is_not_allowed(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    with pytest.raises(IntegrityError, match="may not go from pending to delivered"):
        await bench.execute("UPDATE deliveries SET status = 'delivered', due_at = NULL WHERE channel = 'email'")
