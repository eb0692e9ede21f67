"""Inboxes before deliveries, everywhere: who ends a delivery never waits for an intake that waits for it."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import timedelta

import pytest
from sqlalchemy import text

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.receipts.parse import Callback
from tocsin_dispatcher.receiving.callbacks import Arrived
from tocsin_dispatcher.store.inboxes import lock_inboxes
from tocsin_dispatcher.values import AlertStanding, Channel, Firing, Outcome, OutcomeKind

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

Work = Callable[[Bench, Firing], Coroutine[None, None, None]]


async def _refused_by_its_provider(bench: Bench, speaking: Firing) -> None:
    bench.way.answers = [Outcome(OutcomeKind.PERMANENT, status=400)]
    async with bench.working():
        pass


async def _suppressed_by_the_gate(bench: Bench, speaking: Firing) -> None:
    bench.standings[speaking.id] = AlertStanding.ALERT_GONE
    bench.clock.advance(timedelta(minutes=2))
    async with bench.working():
        pass


async def _failed_by_a_receipt(bench: Bench, speaking: Firing) -> None:
    [row] = await bench.rows(
        "SELECT id FROM deliveries WHERE notification_id = :id AND channel = 'email'", id=speaking.id
    )
    await bench.execute("UPDATE deliveries SET status = 'sending', attempt = 1 WHERE id = :id", id=row.id)
    event = {"event": "bounce", "type": "blocked", "sg_event_id": "e", "email": "user1@example.com"}
    ours = {"delivery_id": str(row.id), "partner_id": "1", "delivery_attempt": "1"}
    body = json.dumps([event | ours]).encode()
    callback = Callback(str(bench.ids.uuid7()), "sendgrid", bench.clock.now(), "/webhooks/sendgrid", body)
    await bench.callbacks.take_in([Arrived(callback, None)])


async def _until_somebody_waits_for_a_lock(bench: Bench) -> None:
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while not await bench.rows(sql):
            pass


@pytest.mark.parametrize("work", [_refused_by_its_provider, _suppressed_by_the_gate, _failed_by_a_receipt])
async def test_a_delivery_that_ends_waits_for_the_inbox_before_it_is_locked(benches: MakeBench, work: Work) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL))
    await bench.profile()
    speaking, joined = bench.firing(purchase_id=5), bench.firing(purchase_id=5)
    await bench.intake.take_in([speaking, joined])
    async with bench.engine.connect() as intake, intake.begin():
        await lock_inboxes(intake, [UserKey(1, 1)])
        working = asyncio.create_task(work(bench, speaking))
        await _until_somebody_waits_for_a_lock(bench)
        lock = "SELECT 1 FROM deliveries WHERE channel = 'email' FOR NO KEY UPDATE NOWAIT"
        assert len((await intake.execute(text(lock))).all()) == 2, "free for who has the inbox"
    await working
    ended = await bench.rows(
        "SELECT n.id, d.status FROM deliveries d JOIN notifications n ON n.id = d.notification_id"
        " WHERE d.channel = 'email'"
    )
    states = {row.id: row.status for row in ended}
    assert states[speaking.id] in ("failed", "suppressed")
    assert states[joined.id] in ("sent", "pending"), "what had joined it is released"
