"""Taking firings and profiles in."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tocsin_dispatcher.destinations.reading import browsers_of
from tocsin_dispatcher.intake.dead_letters import DeadLetters, Letter
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.values import Channel, MerchantNameContext
from tocsin_dispatcher.values.firing import AlertKind

from .bench import Bench, ScriptedWay
from .conftest import MakeBench


async def test_a_firing_that_comes_twice_is_one_notification_and_counts_once(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    firing = bench.firing()
    assert await bench.intake.take_in([firing, firing]) == []
    assert await bench.intake.take_in([firing]) == []
    assert len(await bench.rows("SELECT 1 FROM notifications")) == 1
    assert {row.channel: row.status for row in await bench.rows("SELECT channel, status FROM deliveries")} == {
        "in_app": "sent",
        "email": "pending",
    }
    assert [tuple(row) for row in await bench.rows("SELECT count, version FROM unread")] == [(1, 1)]
    assert bench.inboxes == [(UserKey(1, 1), 1)]
    assert len(await bench.rows("SELECT 1 FROM outbox WHERE subject LIKE 'tocsin.deliveries.%'")) == 2


async def test_two_replicas_that_take_the_same_batch_make_it_once(benches: MakeBench) -> None:
    one, other = await benches(), await benches()
    await one.profile()
    firings = [one.firing() for _ in range(50)]
    await asyncio.gather(one.intake.take_in(firings), other.intake.take_in(list(reversed(firings))))
    assert [tuple(row) for row in await one.rows("SELECT count FROM unread")] == [(50,)]
    assert len(await one.rows("SELECT 1 FROM deliveries")) == 100
    versions = [row.version for row in await one.rows("SELECT version FROM notifications ORDER BY 1")]
    assert len(set(versions)) == 50, "every notification has a version of its own"


async def test_one_bad_firing_does_not_cost_the_others(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    good = [bench.firing() for _ in range(6)]
    bad = replace(bench.firing(), alert_name="a NUL \0 byte")
    refused = await bench.intake.take_in([*good[:3], bad, *good[3:]])
    assert [firing.id for firing, _ in refused] == [bad.id]
    assert len(await bench.rows("SELECT 1 FROM notifications")) == 6


async def test_a_dead_letter_keeps_its_bytes(benches: MakeBench) -> None:
    bench = await benches()
    letters = DeadLetters(bench.engine, bench.clock, bench.ids)
    await letters.keep([Letter("FIRINGS", "tocsin.firings.user", "7", b"\x00\xff", "unreadable")])
    assert [tuple(row) for row in await bench.rows("SELECT stream, bytes, error FROM dead_letters")] == [
        ("FIRINGS", b"\x00\xff", "unreadable")
    ]


async def test_deliveries_wait_for_the_profile_the_evaluator_knew_at_most_a_minute(benches: MakeBench) -> None:
    bench = await benches()
    await bench.intake.take_in([bench.firing(profile_version=2)])
    held = await bench.delivery()
    assert (held.status, held.reason) == ("held", "profile_awaited")
    assert held.due_at == bench.clock.now() + timedelta(seconds=60)
    await bench.profile(version=1)
    assert (await bench.delivery()).due_at > bench.clock.now(), "an older version releases nothing"
    await bench.profile(version=2)
    assert (await bench.delivery()).due_at == bench.clock.now()


HALF_PAST_THREE = datetime(2025, 11, 5, 9, 30, tzinfo=UTC)
"""At night in Chicago, in the morning in UTC."""


async def _sleeper_with_a_browser(benches: MakeBench) -> Bench:
    """Somebody who has quiet hours and a browser, and whose profile has not come."""
    bench = await benches(ScriptedWay(Channel.PUSH, read=browsers_of))
    bench.clock.move_to(HALF_PAST_THREE)
    await bench.execute(
        "INSERT INTO preferences (partner_id, user_id, quiet_hours_enabled, updated_at) VALUES (1, 1, true, :now)",
        now=HALF_PAST_THREE,
    )
    await bench.execute(
        "INSERT INTO push_subscriptions (partner_id, id, user_id, name, service, endpoint_hash, sealed, created_at)"
        " VALUES (1, :id, 1, '', 'push.example', 'x', '', :at)",
        id=bench.ids.uuid7(),
        at=HALF_PAST_THREE,
    )
    return bench


async def test_a_push_message_at_night_waits_for_the_profile_that_says_so(benches: MakeBench) -> None:
    bench = await _sleeper_with_a_browser(benches)
    async with bench.working():
        await bench.intake.take_in([bench.firing()])
        await bench.quiet()
        awaited = await bench.delivery()
        assert (awaited.status, awaited.reason) == ("held", "profile_awaited")
        bench.clock.advance(timedelta(seconds=1))
        await bench.profile()
        await bench.quiet()
        held = await bench.delivery()
        assert (held.status, held.reason) == ("held", "quiet_hours")
        assert held.due_at == datetime(2025, 11, 5, 14, 0, tzinfo=UTC), "08:00 in Chicago"
        assert bench.way.calls == []
        bench.clock.move_to(held.due_at)
        await bench.quiet()
        assert len(bench.way.calls) == 1
        assert (await bench.delivery()).status == "sent"


@pytest.mark.parametrize(("zone", "status"), [("America/Chicago", "held"), ("Asia/Tokyo", "sent"), ("", "sent")])
async def test_a_push_message_whose_profile_never_comes_goes_by_the_hour_that_its_firing_knew(
    benches: MakeBench, zone: str, status: str
) -> None:
    """After a minute: where it goes is known, unlike an e-mail's address. Where nobody knew, the hour is UTC's."""
    bench = await _sleeper_with_a_browser(benches)
    async with bench.working():
        await bench.intake.take_in([bench.firing(time_zone=zone)])
        await bench.quiet()
        assert await bench.step() == HALF_PAST_THREE + timedelta(seconds=60)
        left = await bench.delivery()
        assert left.status == status
        if status == "held":
            assert left.reason == "quiet_hours"
            assert await bench.step() == datetime(2025, 11, 5, 14, 0, tzinfo=UTC), "08:00 in Chicago"
            assert (await bench.delivery()).status == "sent"


async def test_an_older_profile_never_overwrites_a_newer_one(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile(version=5)
    await bench.profile(version=4)
    assert [row.version for row in await bench.rows("SELECT version FROM contacts")] == [5]


def _merchant(bench: Bench, purchase_id: int, **changes: object) -> object:
    limit = bench.firing(purchase_id=purchase_id, **changes)
    context = MerchantNameContext(
        transaction_id=purchase_id,
        purchase_id=purchase_id,
        merchant="Cheese",
        amount=limit.context.amount,  # type: ignore[union-attr]
        currency="USD",
        posted_on=bench.clock.now().date(),
        pattern="cheese",
    )
    return replace(limit, kind=AlertKind.MERCHANT_NAME, context=context)


async def test_one_purchase_is_told_once_on_a_channel(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    first, second = bench.firing(purchase_id=9), _merchant(bench, 9)
    await bench.intake.take_in([first])
    await bench.intake.take_in([second])  # type: ignore[list-item]
    told = await bench.rows("SELECT status, merged_into IS NOT NULL AS joins FROM deliveries WHERE channel = 'email'")
    assert sorted((row.status, row.joins) for row in told) == [("merged", True), ("pending", False)]
    assert len(await bench.rows("SELECT 1 FROM notifications")) == 2, "the inbox shows both"


async def test_a_critical_one_displaces_one_that_waits(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    first, second = _merchant(bench, 9, daily_digest=True), bench.firing(purchase_id=9, critical=True)
    await bench.intake.take_in([first, second])  # type: ignore[list-item]
    rows = await bench.rows(
        "SELECT d.status, n.critical FROM deliveries d JOIN notifications n"
        " ON n.id = d.notification_id WHERE d.channel = 'email'"
    )
    assert {row.critical: row.status for row in rows} == {True: "pending", False: "merged"}


async def test_a_channel_without_an_address_is_planned_and_suppressed(benches: MakeBench) -> None:
    bench = await benches()
    await bench.intake.take_in([bench.firing(profile_version=0, channels=(Channel.EMAIL, Channel.PUSH))])
    rows = await bench.rows("SELECT channel, status, reason FROM deliveries WHERE channel <> 'in_app'")
    assert {(row.channel, row.status, row.reason) for row in rows} == {
        ("email", "suppressed", "no_address"),
        ("push", "suppressed", "no_address"),
    }
