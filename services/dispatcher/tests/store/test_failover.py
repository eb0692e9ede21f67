"""A channel with two providers: while the first one is out messages leave by the second, then by the first again."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tocsin_dispatcher.breakers import FAILURES_IN_A_ROW, BreakerKey
from tocsin_dispatcher.store.moving_on import _BRING_FORWARD, bring_forward
from tocsin_dispatcher.values import Attempt, Channel, Notification, Outcome, OutcomeKind, Recipient
from tocsin_kit.clock import SteppedClock

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

FIRST, SECOND = BreakerKey("first", "key"), BreakerKey("second", "key")
OUT = Outcome(OutcomeKind.TRANSIENT, status=500, answer="HTTP 500")


class FirstIsOut(ScriptedWay):
    """The first provider answers `out` as long as there is one; if `slow`, to user 1 after five calls of the second."""

    out: Outcome | None = OUT
    slow: bool = False
    taken_over: asyncio.Event

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: Any
    ) -> Any:
        sent = await super().send(key, attempt, notification, recipient, now)
        if Counter(key for key, _ in self.calls)[SECOND] == 5:
            self.taken_over.set()
        if self.slow and key == FIRST and notification.user_id == 1:
            await self.taken_over.wait()
        return type(sent)(self.out) if key == FIRST and self.out is not None else sent


def a_way() -> FirstIsOut:
    """E-mail by two providers."""
    way = FirstIsOut(Channel.EMAIL, (FIRST, SECOND))
    way.taken_over = asyncio.Event()
    return way


async def take_in(bench: Bench, users: range) -> None:
    """One message to each user."""
    for user_id in users:
        await bench.profile(user_id)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in users])


def by(bench: Bench, since: int = 0) -> Counter[str]:
    """How many calls each provider got."""
    return Counter(key.provider for key, _ in bench.way.calls[since:])


async def test_what_the_first_provider_failed_to_take_leaves_by_the_second_as_its_breaker_opens(
    benches: MakeBench, clock: SteppedClock
) -> None:
    bench = await benches(a_way())
    began = clock.now()
    await take_in(bench, range(1, 5))
    async with bench.working():
        assert await bench.states() == {"retrying": 4}, "four failures open nothing"
        await take_in(bench, range(5, 6))
        await bench.quiet()
        assert await bench.states() == {"sent": 5}
    assert clock.now() == began, "nobody waited"
    rows = await bench.rows("SELECT DISTINCT provider, failures FROM deliveries WHERE channel = 'email'")
    assert [tuple(row) for row in rows] == [("second", 1)]


async def test_a_call_that_ends_after_the_breaker_opened_leaves_by_the_second_at_once(
    benches: MakeBench, clock: SteppedClock
) -> None:
    way = a_way()
    way.slow = True
    bench = await benches(way)
    began = clock.now()
    await take_in(bench, range(1, 7))
    async with bench.working():
        assert await bench.states() == {"sent": 6}
    assert clock.now() == began
    assert by(bench) == {"first": 6, "second": 6}


async def test_without_a_second_provider_a_retry_waits_its_time(benches: MakeBench, clock: SteppedClock) -> None:
    way = a_way()
    way.chain = (FIRST,)
    bench = await benches(way)
    await take_in(bench, range(1, 9))
    async with bench.working():
        assert await bench.states() == {"retrying": 8}
    due = await bench.rows("SELECT min(due_at) AS first FROM deliveries")
    assert due[0].first > clock.now()


async def test_messages_go_back_to_the_first_provider_when_its_breaker_closes(
    benches: MakeBench, clock: SteppedClock
) -> None:
    way = a_way()
    bench = await benches(way)
    await take_in(bench, range(1, 6))
    async with bench.working():
        clock.advance(timedelta(seconds=30))
        before = len(way.calls)
        await take_in(bench, range(6, 16))
        await bench.quiet()
        assert by(bench, before) == {"second": 10}
        clock.advance(timedelta(seconds=31))
        before = len(way.calls)
        await take_in(bench, range(16, 18))
        await bench.quiet()
        assert by(bench, before) == {"first": 1, "second": 2}, "one probe, which failed: both left by the second"
        way.out = None
        clock.advance(timedelta(seconds=61))
        for user in (18, 19):
            await take_in(bench, range(user, user + 1))
            await bench.quiet()
        before = len(way.calls)
        await take_in(bench, range(20, 30))
        await bench.quiet()
        assert by(bench, before) == {"first": 10}
    assert (await bench.states()) == {"sent": 29}


async def test_an_account_fault_costs_no_retry_and_no_time(benches: MakeBench, clock: SteppedClock) -> None:
    way = a_way()
    way.out = Outcome(OutcomeKind.ACCOUNT, status=401)
    bench = await benches(way)
    began = clock.now()
    await take_in(bench, range(1, 4))
    async with bench.working():
        assert await bench.states() == {"sent": 3}
    rows = await bench.rows("SELECT DISTINCT provider, failures FROM deliveries WHERE channel = 'email'")
    assert ([tuple(row) for row in rows], clock.now()) == ([("second", 0)], began)


async def test_another_replica_leaves_the_provider_alone_within_a_second(
    benches: MakeBench, clock: SteppedClock
) -> None:
    one, other = await benches(a_way()), await benches(a_way())
    async with other.working():
        await take_in(one, range(1, 6))
        stopped = asyncio.create_task(_until_stopped(one))
        await stopped
        clock.advance(timedelta(seconds=1))
        before = len(other.way.calls)
        await take_in(other, range(6, 16))
        await other.quiet()
    assert by(other, before) == {"second": 10}


async def _until_stopped(bench: Bench) -> None:
    async with bench.working():
        pass


async def test_what_is_held_claimed_or_another_provider_s_is_not_brought_forward(benches: MakeBench) -> None:
    bench = await benches(a_way())
    await take_in(bench, range(1, 5))
    now = bench.clock.now()
    later = now + timedelta(seconds=30)
    of = "WHERE channel = 'email' AND user_id"
    await bench.execute(f"UPDATE deliveries SET status = 'sending', provider = 'first' {of} < 4")  # noqa: S608
    await bench.execute(f"UPDATE deliveries SET status = 'retrying', due_at = :later {of} < 4", later=later)  # noqa: S608
    await bench.execute(f"UPDATE deliveries SET provider = 'second' {of} = 2")  # noqa: S608 - the test's own
    await bench.execute(f"UPDATE deliveries SET leased_until = :later {of} = 3", later=later)  # noqa: S608
    await bench.execute(f"UPDATE deliveries SET status = 'held', due_at = :later {of} = 4", later=later)  # noqa: S608
    async with bench.engine.begin() as connection:
        await bring_forward(connection, Channel.EMAIL, "first", now)
    rows = await bench.rows("SELECT user_id FROM deliveries WHERE channel = 'email' AND due_at <= :now", now=now)
    assert [row.user_id for row in rows] == [1]


@pytest.mark.parametrize("held", [20_000])
async def test_bringing_forward_reads_the_next_minutes_of_the_queue_only(benches: MakeBench, held: int) -> None:
    bench = await benches(a_way())
    await take_in(bench, range(1, 2))
    await bench.execute(
        """
        INSERT INTO deliveries (partner_id, id, purpose, user_id, channel, destination, class, status, due_at,
                                expires_at, created_at)
        SELECT 1, gen_random_uuid(), 'test', 9, 'email', 'x', 'periodic', 'held', :at, :at, :at
          FROM generate_series(1, :held)
        """,
        at=bench.clock.now() + timedelta(hours=8),
        held=held,
    )
    await bench.execute("ANALYZE deliveries")
    now = bench.clock.now()
    words = {"channel": "email", "provider": "first", "now": now, "until": now + timedelta(minutes=7)}
    async with bench.engine.begin() as connection:
        plan = await connection.execute(text(f"EXPLAIN {_BRING_FORWARD.text}"), words)
        lines = "\n".join(row[0] for row in plan)
    assert "deliveries_due" in lines, lines
    assert "Seq Scan" not in lines, lines


async def test_calls_that_hang_at_the_first_provider_take_no_room_from_those_to_the_second(
    benches: MakeBench, clock: SteppedClock
) -> None:
    """The second takes four at once, the urgent must not wait for what hangs."""
    first, second = BreakerKey("first", "key"), BreakerKey("second", "key")
    bench = await benches(ScriptedWay(Channel.EMAIL, (first, second), rooms={second: 4}))
    board, chain = bench.gatekeeper._board, (first, second)
    assert board.room(chain) is None
    called = [board.admit_first(chain, critical=False) for _ in range(10)]
    assert called == [first] * 10
    for _ in range(FAILURES_IN_A_ROW):
        board.record(first, OUT, clock.now())
    assert board.room(chain) == 4 + 10 - FAILURES_IN_A_ROW
    assert board.admit_first(chain, critical=True) == second
    assert board.room(chain) == 4 + 10 - FAILURES_IN_A_ROW, "its own calls are what the room is for"
    board.release([first] * (10 - FAILURES_IN_A_ROW))
    assert board.room(chain) == 4
