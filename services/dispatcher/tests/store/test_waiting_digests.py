"""A digest that is written and has not left: its provider is away, or it failed, or what it tells has changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import text

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.destinations.reading import browsers_of
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.store.inboxes import lock_inboxes
from tocsin_dispatcher.store.suppressions import AddressKey, suppress
from tocsin_dispatcher.values import (
    AlertKind,
    AlertStanding,
    Channel,
    Digest,
    GoalContext,
    Outcome,
    OutcomeKind,
)

from .bench import ADDRESS_KEY, ScriptedWay
from .conftest import MakeBench
from .test_digests import FAILED, MORNING, NIGHT, REFUSED, balanced, come_morning, held, members_of, sleeper, status_of

SILENT = Outcome(OutcomeKind.UNKNOWN, answer="no answer")
GOAL = GoalContext(1, "Boat", 50, Decimal(500), Decimal(1000), "USD")
"""Of no fact that another alert could tell."""
WAITS_FOR_A_LOCK = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_a_digest_that_fails_gives_its_members_back_and_they_go_alone(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[REFUSED]))
    await sleeper(bench)
    firings = await held(bench, 4)
    await come_morning(bench)
    assert [type(told.context) is Digest for told in bench.way.brought] == [True, False, False, False, False]
    assert [await status_of(bench, one) for one in firings] == [("sent", None)] * 4
    assert await bench.states() == {"failed": 1, "sent": 4}
    assert await balanced(bench)


async def test_a_digest_tried_again_leaves_out_what_ceased_to_be_true_meanwhile(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED, FAILED]))
    await sleeper(bench)
    firings = await held(bench, 3)
    bench.clock.move_to(MORNING)
    async with bench.working():
        bench.standings[firings[0].id] = AlertStanding.ALERT_GONE
        await bench.step()
        bench.standings |= dict.fromkeys([one.id for one in firings[1:]], AlertStanding.SNOOZED)
        await bench.step()
    assert [len(members_of(one)) for one in bench.way.brought] == [3, 2]
    assert [await status_of(bench, one) for one in firings] == [
        ("suppressed", "alert_gone"),
        ("suppressed", "snoozed"),
        ("suppressed", "snoozed"),
    ]
    rows = await bench.rows("SELECT status, reason FROM deliveries WHERE purpose = 'digest'")
    assert [tuple(row) for row in rows] == [("suppressed", "no_longer_true")]
    assert await balanced(bench)


async def test_a_digest_waits_for_its_provider_as_one(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED] * 5))
    await bench.profile(user_id=2)
    await sleeper(bench)
    await bench.intake.take_in([bench.firing() for _ in range(3)])
    bench.clock.move_to(MORNING - timedelta(seconds=5))
    await bench.intake.take_in([bench.firing(user_id=2) for _ in range(5)])
    async with bench.working():
        assert len(bench.way.calls) == 5, "the breaker opens"
        bench.clock.move_to(MORNING)
        await bench.quiet()
        rows = await bench.rows("SELECT status, reason, attempt FROM deliveries WHERE purpose = 'digest'")
        assert [tuple(row) for row in rows] == [("pending", "breaker_open", 0)]
        while await bench.states() != {"sent": 6, "merged": 3}:
            await bench.step()
    assert [len(members_of(one)) for one in bench.way.brought if one.user_id == 1] == [3]
    assert await balanced(bench)


async def test_a_member_that_leaves_its_digest_may_have_told_what_another_alert_tells_by_now(
    benches: MakeBench,
) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED]))
    await sleeper(bench)
    leaving, *others = [*await held(bench, 1, purchase_id=5), *await held(bench, 2)]
    bench.clock.move_to(MORNING)
    async with bench.working():
        speaking = bench.firing(purchase_id=5)
        await bench.intake.take_in([speaking])
        await bench.quiet()
        assert await status_of(bench, speaking) == ("sent", None)
        bench.standings[leaving.id] = AlertStanding.ALERT_GONE
        await bench.step()
    assert members_of(bench.way.brought[-1]) == {one.context for one in others}
    assert await status_of(bench, leaving) == ("suppressed", "alert_gone")
    assert await balanced(bench)


async def test_what_a_digest_may_have_told_is_marked_when_it_is_told_again(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[SILENT, REFUSED]))
    await sleeper(bench)
    await held(bench, 3)
    bench.clock.move_to(MORNING)
    async with bench.working():
        await bench.step()
    marks = await bench.rows(
        "SELECT d.purpose, a.number, a.possible_duplicate FROM attempts a JOIN deliveries d ON d.id = a.delivery_id"
        " ORDER BY d.purpose DESC, a.number"
    )
    assert [tuple(row) for row in marks] == [("digest", 1, False), ("digest", 2, True)] + [("alert", 1, True)] * 3


async def test_a_digest_whose_provider_stays_away_ends_as_late_and_so_does_what_it_tells(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED]))
    await sleeper(bench)
    firings = await held(bench, 3)
    bench.clock.move_to(MORNING)
    async with bench.working():
        bench.clock.move_to(NIGHT + timedelta(hours=40))
        await bench.quiet()
    rows = await bench.rows("SELECT status, reason FROM deliveries WHERE purpose = 'digest'")
    assert [tuple(row) for row in rows] == [("expired", "expired")]
    assert [await status_of(bench, one) for one in firings] == [("expired", "expired")] * 3
    assert await balanced(bench)


async def test_a_digest_to_who_unsubscribed_while_it_waited_is_not_sent_and_nor_is_what_it_tells(
    benches: MakeBench,
) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED]))
    await sleeper(bench)
    firings = await held(bench, 3)
    bench.clock.move_to(MORNING)
    async with bench.working():
        hashed = address_hash(ADDRESS_KEY, 1, Channel.EMAIL, "user1@example.com")
        key = AddressKey(1, Channel.EMAIL, hashed)
        async with bench.engine.begin() as connection:
            await suppress(connection, [(key, SuppressionCause.UNSUBSCRIBED)], "test", MORNING)
        await bench.step()
        await bench.quiet()
    assert len(bench.way.calls) == 1, "before it was known"
    assert [await status_of(bench, one) for one in firings] == [("suppressed", "suppressed_unsubscribed")] * 3
    assert await balanced(bench)


async def test_each_browser_has_its_digest_and_one_that_is_removed_while_it_waits_has_none(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.PUSH, answers=[FAILED, FAILED], read=browsers_of)
    bench = await benches(way)
    await sleeper(bench)
    browsers = [bench.ids.uuid7() for _ in range(2)]
    for place, id_ in enumerate(browsers):
        await bench.execute(
            "INSERT INTO push_subscriptions (partner_id, id, user_id, name, service, endpoint_hash, sealed, created_at)"
            " VALUES (1, :id, 1, '', 'push.example', CAST(:hash AS bytea), '', :at)",
            id=id_,
            hash=bytes([place]),
            at=NIGHT,
        )
    await held(bench, 4)
    bench.clock.move_to(MORNING)
    async with bench.working():
        assert len(way.calls) == 2
        await bench.execute("DELETE FROM push_subscriptions WHERE id = :id", id=browsers[0])
        bench.clock.advance(timedelta(seconds=10))
        await bench.quiet()
    assert [len(members_of(one)) for one in way.brought] == [4, 4, 4]
    rows = await bench.rows("SELECT destination_id, status, reason FROM deliveries WHERE channel = 'push'")
    assert Counter(tuple(row) for row in rows) == {
        (browsers[0], "suppressed", "no_address"): 5,
        (browsers[1], "merged", "merged"): 4,
        (browsers[1], "sent", None): 1,
    }
    assert await balanced(bench)


async def test_who_takes_members_out_of_a_digest_waits_for_the_inbox_before_any_delivery(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED]))
    await sleeper(bench)
    firings = await held(bench, 4, kind=AlertKind.GOAL, context=GOAL)
    bench.clock.move_to(MORNING)
    async with bench.working():
        bench.standings[firings[0].id] = AlertStanding.ALERT_GONE
        async with bench.engine.connect() as receipts, receipts.begin():
            await lock_inboxes(receipts, [UserKey(1, 1)])
            bench.clock.advance(timedelta(seconds=5))
            async with asyncio.timeout(20):
                while not await bench.rows(WAITS_FOR_A_LOCK):
                    pass
            lock = "SELECT 1 FROM deliveries WHERE channel = 'email' FOR NO KEY UPDATE NOWAIT"
            assert len((await receipts.execute(text(lock))).all()) == 5, "free for who has the inbox"
        await bench.quiet()
    assert await bench.states() == {"sent": 1, "merged": 3, "suppressed": 1}
