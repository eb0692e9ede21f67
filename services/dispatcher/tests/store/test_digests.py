"""What is held and comes due together leaves as one message, and follows that one's fate."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tocsin_dispatcher.delivering.digesting import whole_digests
from tocsin_dispatcher.planning.digests import HELD_TOGETHER
from tocsin_dispatcher.store.claims import claim
from tocsin_dispatcher.store.conditions import held_together
from tocsin_dispatcher.store.ledger import books
from tocsin_dispatcher.values import (
    AlertStanding,
    Channel,
    Digest,
    Firing,
    Notification,
    Outcome,
    OutcomeKind,
    WorkClass,
)

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

NIGHT = datetime(2025, 11, 4, 5, tzinfo=UTC)
"""23:00 in Chicago."""
MORNING = datetime(2025, 11, 4, 14, tzinfo=UTC)
"""08:00."""
REFUSED = Outcome(OutcomeKind.PERMANENT, status=400, answer="HTTP 400")
FAILED = Outcome(OutcomeKind.TRANSIENT, status=500, answer="HTTP 500")
ALL = tuple(WorkClass)


async def sleeper(bench: Bench, user_id: int = 1) -> None:
    """The user has quiet hours, 22:00 to 08:00, and it is 23:00."""
    await bench.profile(user_id)
    await bench.execute(
        "INSERT INTO preferences (partner_id, user_id, quiet_hours_enabled, updated_at) VALUES (1, :user, true, now())",
        user=user_id,
    )
    bench.clock.move_to(NIGHT)


async def held(bench: Bench, count: int, **changes: object) -> list[Firing]:
    """So many firings, taken in and held for the night."""
    firings = [bench.firing(**changes) for _ in range(count)]
    await bench.intake.take_in(firings)
    async with bench.working():
        pass
    assert bench.way.calls == []
    return firings


async def come_morning(*benches: Bench) -> None:
    benches[0].clock.move_to(MORNING)
    await _work(*benches)


async def _work(*benches: Bench) -> None:
    """All replicas work at once until nothing is due."""

    async def one(bench: Bench) -> None:
        async with bench.working():
            pass

    await asyncio.gather(*(one(bench) for bench in benches))


def members_of(notification: Notification) -> set[object]:
    assert isinstance(notification.context, Digest)
    return {member.context for member in notification.context.members}


async def status_of(bench: Bench, firing: Firing) -> tuple[str, str | None]:
    rows = await bench.rows(
        "SELECT status, reason FROM deliveries WHERE notification_id = :id AND channel = :channel",
        id=firing.id,
        channel=bench.way.channel,
    )
    return rows[0].status, rows[0].reason


async def balanced(bench: Bench) -> bool:
    async with bench.engine.connect() as connection:
        now = bench.clock.now()
        return (await books(connection, NIGHT - timedelta(days=1), now, now - timedelta(minutes=5))).balanced


def test_the_index_knows_what_may_leave_together() -> None:
    assert all(f"'{reason}'" in held_together() for reason in HELD_TOGETHER)
    assert held_together().count("'") == 2 * (len(HELD_TOGETHER) + 3)


@pytest.mark.parametrize("count", [2, 3])
async def test_from_three_up_held_messages_are_one(benches: MakeBench, count: int) -> None:
    bench = await benches()
    await sleeper(bench)
    firings = await held(bench, count)
    await come_morning(bench)
    if count == 2:
        assert len(bench.way.calls) == 2
        assert await bench.states() == {"sent": 2}
    else:
        assert [members_of(told) for told in bench.way.brought] == [{one.context for one in firings}]
        assert await bench.states() == {"sent": 1, "merged": 3}
    assert await balanced(bench)


async def test_a_daily_digest_is_one_message_also_when_it_is_one_alert(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firing = bench.firing(daily_digest=True)
    await bench.intake.take_in([firing])
    async with bench.working():
        assert await status_of(bench, firing) == ("held", "daily_digest")
        await bench.step()
    assert bench.clock.now().astimezone(UTC).hour == 0, "18:00 in Chicago"
    assert [members_of(told) for told in bench.way.brought] == [{firing.context}]
    assert await bench.states() == {"sent": 1, "merged": 1}


async def test_a_daily_digest_that_comes_after_its_hour_is_a_digest_all_the_same(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firing = bench.firing(daily_digest=True)
    bench.clock.advance(timedelta(hours=12))
    await bench.intake.take_in([firing])
    await _work(bench)
    assert [members_of(told) for told in bench.way.brought] == [{firing.context}]


async def test_what_no_longer_holds_is_left_out(benches: MakeBench) -> None:
    bench = await benches()
    await sleeper(bench)
    firings = await held(bench, 4)
    bench.standings[firings[1].id] = AlertStanding.NO_LONGER_TRUE
    await come_morning(bench)
    assert [members_of(told) for told in bench.way.brought] == [{firings[n].context for n in (0, 2, 3)}]
    assert await status_of(bench, firings[1]) == ("suppressed", "no_longer_true")


async def test_two_replicas_make_one_digest_of_two_hundred(benches: MakeBench) -> None:
    first, second = await benches(slots=20), await benches(slots=20)
    await sleeper(first)
    await first.profile(user_id=2)
    await held(first, 200)
    await come_morning(first, second)
    told = first.way.brought + second.way.brought
    assert [len(members_of(one)) for one in told] == [200]
    assert await first.states() == {"sent": 1, "merged": 200}
    assert await balanced(first)


async def test_messages_of_several_people_are_a_digest_for_each(benches: MakeBench) -> None:
    bench = await benches()
    await sleeper(bench)
    await sleeper(bench, 2)
    await held(bench, 3)
    await held(bench, 4, user_id=2)
    await come_morning(bench)
    assert Counter((one.user_id, len(members_of(one))) for one in bench.way.brought) == {(1, 3): 1, (2, 4): 1}


async def test_a_worker_that_dies_before_the_gate_leaves_what_belongs_together_together(benches: MakeBench) -> None:
    bench = await benches()
    await sleeper(bench)
    await held(bench, 5)
    bench.clock.move_to(MORNING)
    async with bench.engine.begin() as connection:
        lease = MORNING + timedelta(minutes=1)
        claims = await claim(connection, Channel.EMAIL, ALL, 50, MORNING, lease)
        assert len(claims) == 1, "the first of them brings the others"
        await bench.execute(
            "UPDATE deliveries SET status = 'pending', due_at = :lease, leased_until = :lease"
            " WHERE status = 'held' AND id <> :id",
            lease=lease,
            id=claims[0].delivery.id,
        )
    async with bench.working():
        assert bench.way.calls == []
        await bench.step()
    assert [len(members_of(one)) for one in bench.way.brought] == [5]


async def test_what_is_urgent_in_a_digest_waits_for_no_slot_of_what_is_not(benches: MakeBench) -> None:
    bench = await benches()
    await sleeper(bench)
    await held(bench, 2, work_class=WorkClass.PERIODIC)
    await held(bench, 1, work_class=WorkClass.REALTIME)
    async with bench.engine.begin() as connection:
        lease = MORNING + timedelta(minutes=1)
        assert await claim(connection, Channel.EMAIL, [WorkClass.PERIODIC], 50, MORNING, lease) == []
        claims = await claim(connection, Channel.EMAIL, [WorkClass.REALTIME], 50, MORNING, lease)
        assert len(await whole_digests(connection, Channel.EMAIL, claims, MORNING, lease)) == 3


async def test_a_digest_takes_one_token_and_without_one_its_members_wait_on(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.execute(
        "INSERT INTO preferences (partner_id, user_id, max_per_hour, updated_at) VALUES (1, 1, 2, now())"
    )
    await bench.intake.take_in([bench.firing() for _ in range(6)])
    async with bench.working():
        assert await bench.states() == {"sent": 2, "held": 4}
        await bench.intake.take_in([bench.firing(fired_at=bench.clock.now() + timedelta(hours=1)) for _ in range(2)])
        await bench.quiet()
        await bench.step()
        assert [len(members_of(one)) for one in bench.way.brought[2:]] == [6], "one of the next hour's two tokens"
        await bench.intake.take_in([bench.firing() for _ in range(4)])
        await bench.quiet()
        assert await bench.states() == {"sent": 4, "merged": 6, "held": 3}


async def test_a_member_that_a_critical_message_displaced_meanwhile_is_told_by_that_one_alone(
    benches: MakeBench,
) -> None:
    bench = await benches()
    await sleeper(bench)
    firings = await held(bench, 3)
    displaced = await held(bench, 1, purchase_id=99)
    critical = bench.firing(purchase_id=99, critical=True)
    bench.clock.move_to(MORNING)
    lease = MORNING + timedelta(minutes=1)
    async with bench.engine.begin() as connection:
        claims = await claim(connection, Channel.EMAIL, ALL, 50, MORNING, lease)
        claims = await whole_digests(connection, Channel.EMAIL, claims, MORNING, lease)
    assert len(claims) == 4
    await bench.intake.take_in([critical])
    admitted = await bench.gatekeeper.admit(claims, {})
    assert [members_of(one.claimed.notification) for one in admitted] == [{one.context for one in firings}]
    assert await status_of(bench, displaced[0]) == ("merged", "merged")


async def _events(bench: Bench, firing: Firing) -> Sequence[str]:
    rows = await bench.rows(
        "SELECT e.happening FROM delivery_events e JOIN deliveries d ON d.id = e.delivery_id"
        " WHERE d.notification_id = :id AND d.channel = :channel ORDER BY e.id",
        id=firing.id,
        channel=bench.way.channel,
    )
    return [row.happening for row in rows]


async def test_each_member_has_its_story(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[REFUSED]))
    await sleeper(bench)
    firings = await held(bench, 3)
    for one in firings:
        bench.standings[one.id] = AlertStanding.HOLDS
    await come_morning(bench)
    assert await _events(bench, firings[0]) == ["held", "rechecked", "merged", "released", "rechecked"]


async def test_without_a_critical_token_the_rest_of_a_digest_leaves_and_the_critical_ones_wait_on(
    benches: MakeBench,
) -> None:
    bench = await benches()
    await sleeper(bench)
    quiet = await held(bench, 3)
    bench.clock.move_to(MORNING - timedelta(minutes=30))
    await bench.intake.take_in([bench.firing(critical=True) for _ in range(32)])
    async with bench.working():
        assert await bench.states() == {"sent": 30, "held": 5}, "two of them as too many for an hour"
    await bench.execute("UPDATE counters SET hour = :now, hour_count = 0, hour_critical = 30", now=MORNING)
    await come_morning(bench)
    assert [members_of(told) for told in bench.way.brought[30:]] == [{one.context for one in quiet}]
    waiting = await bench.rows("SELECT reason, due_at FROM deliveries WHERE status = 'held'")
    assert [tuple(row) for row in waiting] == [("flood", MORNING + timedelta(hours=1))] * 2
    assert await balanced(bench)
