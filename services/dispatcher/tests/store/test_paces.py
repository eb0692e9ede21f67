"""A provider that takes no more for now: who waits, how long, and who goes first."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.delivering.way import Sent
from tocsin_dispatcher.values import Attempt, Channel, Notification, Outcome, OutcomeKind, Recipient

from .bench import Bench, ScriptedWay
from .conftest import MakeBench


@dataclass
class LimitedWay(ScriptedWay):
    """Refuses every call before `reset`; keeps who was called for, and when."""

    reset: datetime | None = None
    told: bool = True
    sent_to: list[tuple[datetime, int]] = field(default_factory=list)
    refused: int = 0

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        if self.reset is not None and now < self.reset:
            self.refused += 1
            return Sent(Outcome(OutcomeKind.THROTTLED, status=429, not_before=self.reset if self.told else None))
        self.sent_to.append((now, notification.user_id))
        return await super().send(key, attempt, notification, recipient, now)


async def planned(bench: Bench, users: Sequence[int], critical: bool = False) -> None:
    for user_id in users:
        await bench.profile(user_id)
    await bench.intake.take_in([bench.firing(user_id=user_id, critical=critical) for user_id in users])


async def until_sent(bench: Bench, count: int, within: timedelta) -> None:
    last = bench.clock.now() + within
    while (await bench.states()).get("sent", 0) < count:
        assert await bench.step() <= last, await bench.states()


async def test_after_a_429_only_what_was_under_way_is_refused_and_the_rest_leaves_at_a_pace(
    benches: MakeBench,
) -> None:
    way = LimitedWay(Channel.EMAIL)
    bench = await benches(way, slots=8)
    way.reset = bench.clock.now() + timedelta(seconds=60)
    await planned(bench, range(1, 41))
    async with bench.working():
        assert 1 <= way.refused <= 8
        rows = await bench.rows("SELECT status, reason, token_taken FROM deliveries WHERE channel = 'email'")
        assert {(row.status, row.reason) for row in rows} == {("pending", None)}
        assert sum(row.token_taken for row in rows) == way.refused, "who was not called for has paid nothing"
        await until_sent(bench, 40, timedelta(minutes=3))
    assert way.refused <= 8
    times = sorted(at for at, _ in way.sent_to)
    assert times[0] == way.reset
    assert all(later - at >= timedelta(milliseconds=900) for at, later in pairwise(times))
    rows = await bench.rows("SELECT failures, attempt FROM deliveries WHERE channel = 'email'")
    assert {row.failures for row in rows} == {0}
    assert sum(row.attempt for row in rows) == 40 + way.refused, "no attempt but for a call"


async def test_another_replica_makes_no_call_before_the_reset_and_keeps_the_pace(benches: MakeBench) -> None:
    one_way, other_way = LimitedWay(Channel.EMAIL), LimitedWay(Channel.EMAIL)
    one, other = await benches(one_way, slots=8), await benches(other_way)
    reset = one_way.reset = one.clock.now() + timedelta(seconds=60)
    await planned(one, [1])
    async with one.working():
        assert one_way.refused == 1
    await planned(other, range(2, 12))
    async with other.working():
        assert other_way.sent_to == []
        await until_sent(other, 11, timedelta(minutes=2))
    times = sorted(at for at, _ in other_way.sent_to)
    assert times[0] == reset
    assert times[-1] >= reset + timedelta(seconds=9)


async def test_critical_ones_leave_first_after_a_pause(benches: MakeBench) -> None:
    way = LimitedWay(Channel.EMAIL)
    bench = await benches(way, slots=8)
    way.reset = bench.clock.now() + timedelta(seconds=60)
    await planned(bench, range(1, 31))
    async with bench.working():
        bench.clock.advance(timedelta(seconds=30))
        await planned(bench, range(101, 104), critical=True)
        await bench.quiet()
        await until_sent(bench, 33, timedelta(minutes=3))
    left_at = {user_id: at for at, user_id in way.sent_to}
    assert {left_at[user_id] for user_id in range(101, 104)} == {way.reset}
    assert sum(at == way.reset for at in left_at.values()) <= 4, "of the others at most one"


async def test_a_refusal_without_a_reset_pauses_a_second_and_longer_each_time(benches: MakeBench) -> None:
    way = LimitedWay(Channel.EMAIL, told=False)
    bench = await benches(way)
    began = bench.clock.now()
    way.reset = began + timedelta(seconds=6)
    await planned(bench, range(1, 4))
    async with bench.working():
        await until_sent(bench, 3, timedelta(seconds=30))
    assert way.refused <= 3 + 2
    rows = await bench.rows("SELECT paused_until, calls_a_minute, state FROM breakers")
    assert [(row.calls_a_minute, row.state) for row in rows] == [(60, "closed")]


async def test_that_we_are_busy_ourselves_slows_no_other_message(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.EMAIL)
    way.answers = [Outcome(OutcomeKind.THROTTLED, wait=timedelta(seconds=5), ours=True)]
    bench = await benches(way)
    began = bench.clock.now()
    await planned(bench, [1])
    async with bench.working():
        assert await bench.states() == {"pending": 1}
        await planned(bench, [2])
        await bench.quiet()
        assert await bench.states() == {"pending": 1, "sent": 1}
        assert await bench.step() == began + timedelta(seconds=5)
        assert await bench.states() == {"sent": 2}
    assert await bench.rows("SELECT provider FROM breakers") == []


async def test_a_call_that_we_were_too_busy_to_make_takes_no_other_s_place_in_the_pace(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.EMAIL)
    way.answers = [Outcome(OutcomeKind.THROTTLED, wait=timedelta(minutes=5), ours=True)]
    bench = await benches(way, paces={"first": 1})
    await planned(bench, [1])
    async with bench.working():
        await planned(bench, [2])
        await bench.quiet()
        assert await bench.states() == {"pending": 1, "sent": 1}


async def test_a_paced_provider_is_no_reason_to_use_the_next_one(benches: MakeBench) -> None:
    chain = (BreakerKey("first", "key"), BreakerKey("second", "key"))
    way = LimitedWay(Channel.EMAIL, chain)
    bench = await benches(way)
    way.reset = bench.clock.now() + timedelta(seconds=60)
    await planned(bench, [1])
    async with bench.working():
        await planned(bench, [2])
        await bench.quiet()
        await until_sent(bench, 2, timedelta(minutes=2))
    assert {key.provider for key, _ in way.calls} == {"first"}


async def test_a_pace_that_is_set_is_kept(benches: MakeBench) -> None:
    way = LimitedWay(Channel.EMAIL)
    bench = await benches(way, paces={"first": 120})
    began = bench.clock.now()
    await planned(bench, range(1, 21))
    async with bench.working():
        await until_sent(bench, 20, timedelta(seconds=20))
    took = max(at for at, _ in way.sent_to) - began
    assert timedelta(seconds=8.5) <= took <= timedelta(seconds=11)
    assert [row.failures for row in await bench.rows("SELECT failures FROM deliveries WHERE failures > 0")] == []
