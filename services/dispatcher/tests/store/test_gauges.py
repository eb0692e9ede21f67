"""What operators see of what waits and of what has ended."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from tocsin_dispatcher.auditing.gauges import Gauges
from tocsin_dispatcher.store import tables
from tocsin_dispatcher.values import Channel, Outcome, OutcomeKind
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

QUEUE = {"queue_name": "deliveries.email"}


def _gauges(bench: Bench, registry: CollectorRegistry) -> Gauges:
    outbox = Outbox.on(tables.outbox, bench.activity, "dispatcher")
    return Gauges(bench.engine, outbox, Metrics(registry), bench.clock)


async def test_gauges_show_what_is_held_and_why_until_it_is_gone(benches: MakeBench) -> None:
    bench, registry = await benches(), CollectorRegistry()
    gauges = _gauges(bench, registry)
    await bench.intake.take_in([bench.firing()])
    await gauges.refresh()
    assert registry.get_sample_value("tocsin_held_deliveries", {"reason": "profile_awaited"}) == 1
    assert registry.get_sample_value("alert_queue_depth", QUEUE) == 0, "what is held waits for no worker"
    assert registry.get_sample_value("tocsin_deliveries_oldest_overdue_seconds") == 0
    bench.clock.advance(timedelta(seconds=90))
    await gauges.refresh()
    assert registry.get_sample_value("alert_queue_depth", QUEUE) == 1, "its time has come"
    assert registry.get_sample_value("tocsin_deliveries_oldest_overdue_seconds") == 30
    await bench.profile()
    async with bench.working():
        pass
    await gauges.refresh()
    assert registry.get_sample_value("tocsin_held_deliveries", {"reason": "profile_awaited"}) is None
    assert registry.get_sample_value("alert_queue_depth", QUEUE) == 0
    assert registry.get_sample_value("tocsin_deliveries_oldest_overdue_seconds") == 0


async def test_the_queue_is_what_is_due_and_no_worker_has(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.EMAIL, block=asyncio.Event())
    bench, registry = await benches(way), CollectorRegistry()
    gauges = _gauges(bench, registry)
    await bench.profile()
    await bench.intake.take_in([bench.firing() for _ in range(3)])
    await gauges.refresh()
    assert registry.get_sample_value("alert_queue_depth", QUEUE) == 3
    assert registry.get_sample_value("alert_queue_depth", {"queue_name": "outbox.dispatcher"}) == 6
    part = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        for _ in range(3):
            await way.begun.acquire()
    await gauges.refresh()
    assert registry.get_sample_value("alert_queue_depth", QUEUE) == 0, "a worker has them"
    assert way.block is not None
    way.block.set()
    bench.stopping.set()
    await part


@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.SMS, Channel.PUSH, Channel.WEBHOOK])
async def test_each_channel_with_workers_has_a_queue(benches: MakeBench, channel: Channel) -> None:
    bench, registry = await benches(), CollectorRegistry()
    gauges, now = _gauges(bench, registry), bench.clock.now()
    insert = """
INSERT INTO deliveries (partner_id, id, user_id, channel, class, status, due_at, expires_at, created_at)
VALUES (1, uuidv7(), 1, :channel, 'realtime', 'pending', :now, :now, :now),
       (1, uuidv7(), 1, :channel, 'bills', 'held', CAST(:now AS timestamptz) + interval '1 hour', :now, :now)
"""
    await bench.execute(insert, channel=channel, now=now)
    await gauges.refresh()
    depths = {
        sample.labels["queue_name"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "alert_queue_depth" and sample.labels["queue_name"].startswith("deliveries.")
    }
    empty = dict.fromkeys(("deliveries.email", "deliveries.sms", "deliveries.push", "deliveries.webhook"), 0)
    assert depths == empty | {f"deliveries.{channel}": 1}, "and none for what is told in the app: it waits for nobody"


async def test_what_waits_for_more_than_a_minute_is_overdue_until_it_is_sent(benches: MakeBench) -> None:
    bench, registry = await benches(), CollectorRegistry()
    gauges = _gauges(bench, registry)

    async def overdue() -> float | None:
        await gauges.refresh()
        return registry.get_sample_value("tocsin_deliveries_overdue")

    await bench.profile()
    firings = [bench.firing() for _ in range(3)]
    await bench.intake.take_in(firings)
    await bench.execute(
        "UPDATE deliveries SET status = 'sending' WHERE channel = 'email' AND notification_id = :id",
        id=str(firings[0].id),
    )
    bench.clock.advance(timedelta(minutes=1))
    assert await overdue() == 0
    bench.clock.advance(timedelta(seconds=1))
    assert await overdue() == 3, "what a worker keeps past its lease is among them"
    async with bench.working():
        pass
    assert await overdue() == 0


async def test_every_replica_shows_the_gap(benches: MakeBench) -> None:
    bench = await benches()
    registries = [CollectorRegistry(), CollectorRegistry()]
    replicas = [_gauges(bench, registry) for registry in registries]
    gap = """
INSERT INTO ledger_minutes (minute, firings, notifications, differs, first_differed_at, checked_at)
VALUES (:minute, 5, 2, true, :now, :now), (:later, 1, 1, true, :now, :now), (:past, 7, 7, false, NULL, :now)
"""
    now = bench.clock.now()
    minutes = {"minute": now - timedelta(hours=30), "later": now - timedelta(hours=2), "past": now - timedelta(hours=1)}
    await bench.execute(gap, now=now, **minutes)
    for replica in replicas:
        await replica.refresh()
    assert [registry.get_sample_value("tocsin_ledger_gap") for registry in registries] == [4, 4]
    await bench.execute("UPDATE ledger_minutes SET differs = false, first_differed_at = NULL")
    await replicas[0].refresh()
    assert registries[0].get_sample_value("tocsin_ledger_gap") == 0


async def _ended(bench: Bench) -> dict[tuple[str, str], float]:
    samples = [one for family in bench.metrics.collect() for one in family.samples]
    return {
        (one.labels["channel"], one.labels["status"]): one.value
        for one in samples
        if one.name == "notifications_delivered_total"
    }


async def test_what_has_ended_is_counted_once_whoever_ended_it(benches: MakeBench) -> None:
    refused = Outcome(OutcomeKind.PERMANENT, status=400)
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[refused]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        await bench.intake.take_in([bench.firing(purchase_id=9), bench.firing(purchase_id=9)])
        await bench.quiet()
    await bench.intake.take_in([bench.firing(user_id=2, profile_version=0)])
    await bench.intake.take_in([bench.firing(fired_at=bench.clock.now() - timedelta(days=1))])
    async with bench.working():
        pass
    assert await _ended(bench) == {
        ("in_app", "sent"): 5,
        ("email", "failed"): 1,
        ("email", "sent"): 1,
        ("email", "suppressed"): 1,
        ("email", "expired"): 1,
    }, "not the one that is merged: it follows another's fate"


async def test_a_delivery_takes_as_long_as_it_was_due_not_as_it_was_held(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.EMAIL)
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing() for _ in range(11)])
    async with bench.working():
        assert await bench.states() == {"sent": 10, "held": 1}
    way.block = asyncio.Event()
    due_at = (await bench.rows("SELECT due_at FROM deliveries WHERE status = 'held'"))[0].due_at
    bench.clock.move_to(due_at + timedelta(seconds=2))
    part = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        while len(way.calls) < 11:
            await way.begun.acquire()
    bench.clock.advance(timedelta(seconds=1))
    way.block.set()
    bench.stopping.set()
    await part
    assert await bench.states() == {"sent": 11}
    count, total = (
        bench.metrics.get_sample_value(f"notification_delivery_duration_seconds_{name}", {"channel": "email"})
        for name in ("count", "sum")
    )
    assert (count, total) == (11, 3), "ten at once; the eleventh waited two seconds and took one"
