"""Receipts: once each, in any order, and what they do to addresses."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from sqlalchemy import event

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.receipts.parse import Callback
from tocsin_dispatcher.receiving.callbacks import Arrived
from tocsin_dispatcher.store.claims import claim
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.receipts import known_callbacks, write_receipts
from tocsin_dispatcher.values import Channel, Outcome, OutcomeKind, Receipt, WorkClass

from .bench import Bench, ScriptedWay
from .conftest import MakeBench


def _sendgrid(bench: Bench, *events: dict[str, object]) -> Arrived:
    body = json.dumps([{"timestamp": 1762171200, "email": "user1@example.com", **event} for event in events]).encode()
    return Arrived(Callback(str(bench.ids.uuid7()), "sendgrid", bench.clock.now(), "/webhooks/sendgrid", body), None)


def _event(delivery_id: UUID, name: str, **more: object) -> dict[str, object]:
    ours = {"delivery_id": str(delivery_id), "partner_id": "1", "delivery_attempt": "1"}
    return {"event": name, "sg_event_id": f"{name}-1", "sg_message_id": "x.filter-1", **ours, **more}


def _twilio(bench: Bench, delivery_id: UUID, status: str, attempt: int = 1) -> Arrived:
    query = urlencode({"partner_id": 1, "delivery_id": delivery_id, "attempt": attempt})
    body = urlencode({"MessageSid": "SM9", "MessageStatus": status, "To": "+13125550123"}).encode()
    url = f"/webhooks/twilio/status?{query}"
    return Arrived(Callback(str(bench.ids.uuid7()), "twilio-status", bench.clock.now(), url, body), None)


async def _sent(bench: Bench) -> UUID:
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        pass
    delivery_id: UUID = (await bench.delivery()).id
    return delivery_id


@pytest.mark.parametrize("order", list(itertools.permutations(["processed", "delivered", "open"])))
async def test_receipts_in_any_order_and_twice_end_in_the_same_state(
    benches: MakeBench, order: tuple[str, ...]
) -> None:
    bench = await benches()
    delivery_id = await _sent(bench)
    for name in (*order, *order):
        assert await bench.callbacks.take_in([_sendgrid(bench, _event(delivery_id, name))]) == []
    assert (await bench.delivery()).status == "delivered"
    assert len(await bench.rows("SELECT 1 FROM receipts")) == 3
    assert [row.read_at for row in await bench.rows("SELECT read_at FROM notifications")] == [None]


async def test_a_bounce_after_delivery_suppresses_the_address(benches: MakeBench) -> None:
    bench = await benches()
    delivery_id = await _sent(bench)
    bounce = _event(delivery_id, "bounce", type="bounce", reason="550 no such user")
    await bench.callbacks.take_in([_sendgrid(bench, bounce, _event(delivery_id, "delivered"))])
    assert (await bench.delivery()).status == "bounced"
    assert [row.reason for row in await bench.rows("SELECT reason FROM suppressions")] == ["bounced"]


async def test_an_asynchronous_bounce_without_a_message_id_follows_delivery(benches: MakeBench) -> None:
    """Our own ids lead to its delivery; its address is the event's."""
    bench = await benches()
    delivery_id = await _sent(bench)
    await bench.callbacks.take_in([_sendgrid(bench, _event(delivery_id, "delivered"))])
    late = {name: value for name, value in _event(delivery_id, "bounce", type="bounce").items() if name[:2] != "sg"}
    await bench.callbacks.take_in([_sendgrid(bench, late)])
    assert (await bench.delivery()).status == "bounced"
    assert [row.reason for row in await bench.rows("SELECT reason FROM suppressions")] == ["bounced"]
    assert await bench.rows("SELECT 1 FROM receipts WHERE applied_at IS NULL") == []


async def test_sent_may_be_the_last_that_is_heard_of_a_text(benches: MakeBench) -> None:
    """Some carriers tell no more: it stays sent, and nobody waits for it."""
    bench = await benches(ScriptedWay(Channel.SMS))
    delivery_id = await _sent(bench)
    for status in ("sending", "sent", "queued"):
        await bench.callbacks.take_in([_twilio(bench, delivery_id, status)])
    async with bench.working():
        bench.clock.move_to(bench.clock.now() + timedelta(days=2))
        await bench.quiet()
    stays = await bench.delivery()
    assert (stays.status, stays.due_at, stays.attempt, len(bench.way.calls)) == ("sent", None, 1, 1)


async def test_a_late_delivered_never_takes_a_bounce_back(benches: MakeBench) -> None:
    bench = await benches()
    delivery_id = await _sent(bench)
    await bench.callbacks.take_in([_sendgrid(bench, _event(delivery_id, "bounce", type="bounce"))])
    await bench.callbacks.take_in([_sendgrid(bench, _event(delivery_id, "delivered"))])
    assert (await bench.delivery()).status == "bounced"


async def test_a_callback_settles_an_sms_nobody_answered_for(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.SMS, answers=[Outcome(OutcomeKind.UNKNOWN)])
    way.look_up = way
    bench = await benches(way)
    delivery_id = await _sent(bench)
    assert (await bench.delivery()).status == "unknown"
    await bench.callbacks.take_in([_twilio(bench, delivery_id, "delivered")])
    settled = await bench.delivery()
    assert (settled.status, settled.due_at, settled.provider_id) == ("delivered", None, "SM9")


async def test_a_receipt_without_our_ids_waits_until_its_message_is_known(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[Outcome(OutcomeKind.ACCEPTED, provider_id="abc")]))
    bench.way.chain = (BreakerKey("sendgrid", "key"),)
    await bench.profile()
    early: dict[str, object] = {"event": "delivered", "sg_event_id": "e1", "sg_message_id": "abc.filter-7"}
    await bench.callbacks.take_in([_sendgrid(bench, early)])
    assert [row.applied_at for row in await bench.rows("SELECT applied_at FROM receipts")] == [None]
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        pass
    assert (await bench.delivery()).status == "delivered"


async def test_stop_and_start_leave_other_causes_alone(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.SMS))
    await bench.profile()

    def said(words: str, sid: str) -> Arrived:
        body = urlencode({"MessageSid": sid, "From": "+13125550123", "Body": words}).encode()
        return Arrived(Callback(str(bench.ids.uuid7()), "twilio-inbound", bench.clock.now(), "/", body), None)

    await bench.callbacks.take_in([said("STOP", "SM1")])
    stands = "SELECT reason FROM suppressions WHERE lifted_at IS NULL ORDER BY 1"
    assert [row.reason for row in await bench.rows(stands)] == ["stopped"]
    await bench.execute(
        "INSERT INTO suppressions SELECT partner_id, channel, address_hash, 'bounced', 'test', at FROM suppressions"
    )
    await bench.callbacks.take_in([said("START", "SM2")])
    assert [row.reason for row in await bench.rows(stands)] == ["bounced"]


async def test_what_cannot_be_read_of_a_callback_is_refused_and_the_rest_counts(benches: MakeBench) -> None:
    bench = await benches()
    delivery_id = await _sent(bench)
    body = json.dumps([7, {"timestamp": 1762171200, **_event(delivery_id, "delivered")}]).encode()
    callback = Callback(str(bench.ids.uuid7()), "sendgrid", bench.clock.now(), "/", body)
    half = Arrived(callback, None)
    whole = _sendgrid(bench, _event(delivery_id, "open"))
    refused = await bench.callbacks.take_in([half, whole])
    assert [(one, str(why)) for one, why in refused] == [(half, "of 2, part 1: an event without a name")]
    assert (await bench.delivery()).status == "delivered"
    assert len(await bench.rows("SELECT 1 FROM receipts")) == 2


async def test_a_callback_that_cannot_be_stored_is_known_all_the_same(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in the dead letters: the gateway's audit would hand it on again and again, each time to another one."""
    bench = await benches()
    delivery_id = await _sent(bench)
    good, bad = _sendgrid(bench, _event(delivery_id, "delivered")), _sendgrid(bench, _event(delivery_id, "click"))

    async def write(connection: Connection, rows: Sequence[tuple[Receipt, UUID, datetime]]) -> frozenset[Any]:
        if any(receipt.name == "click" for receipt, _, _ in rows):
            raise ValueError("no column takes this")
        return await write_receipts(connection, rows)

    monkeypatch.setattr("tocsin_dispatcher.receiving.callbacks.write_receipts", write)
    assert [one for one, _ in await bench.callbacks.take_in([good, bad])] == [bad]
    ids = [UUID(one.callback.id) for one in (good, bad)]
    async with bench.engine.connect() as connection:
        assert await known_callbacks(connection, ids) == set(ids)
    assert (await bench.delivery()).status == "delivered"


SILENT = Outcome(OutcomeKind.UNKNOWN, answer="no answer")


@pytest.mark.parametrize(("event", "state"), [("delivered", "delivered"), ("processed", "sent"), ("bounce", "bounced")])
async def test_a_mail_that_has_arrived_is_not_repeated(benches: MakeBench, event: str, state: str) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[SILENT]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        delivery = await bench.delivery()
        assert delivery.status == "retrying"
        await bench.callbacks.take_in([_sendgrid(bench, _event(delivery.id, event))])
        bench.clock.move_to(delivery.due_at)
        await bench.quiet()
    assert len(bench.way.calls) == 1
    settled = await bench.delivery()
    assert (settled.status, settled.due_at, settled.leased_until) == (state, None, None)
    assert settled.error == ("bounce" if state == "bounced" else None)


@pytest.mark.parametrize(("event", "calls"), [("delivered", 2), ("processed", 3), ("bounce", 3)])
async def test_of_an_earlier_attempt_only_its_arrival_keeps_a_repeat_back(
    benches: MakeBench, event: str, calls: int
) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[SILENT, SILENT]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        await bench.step()
        delivery = await bench.delivery()
        assert (delivery.status, delivery.attempt) == ("retrying", 2)
        await bench.execute("UPDATE deliveries SET destination = NULL")
        told = _event(delivery.id, event, email="another@example.com")
        await bench.callbacks.take_in([_sendgrid(bench, told)])
        bench.clock.move_to(delivery.due_at)
        await bench.quiet()
    assert len(bench.way.calls) == calls


async def test_a_receipt_that_comes_after_the_claim_still_keeps_the_repeat_back(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[SILENT]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        retrying = await bench.delivery()
    bench.clock.move_to(retrying.due_at)
    lease = bench.clock.now() + timedelta(minutes=1)
    async with bench.engine.begin() as connection:
        claims = await claim(connection, Channel.EMAIL, [WorkClass.REALTIME], 1, bench.clock.now(), lease)
    await bench.callbacks.take_in([_sendgrid(bench, _event(retrying.id, "delivered"))])
    assert await bench.gatekeeper.admit(claims, {}) == []
    assert (await bench.delivery()).status == "delivered"


async def test_times_and_errors_are_those_of_the_receipt_that_moved_the_state(benches: MakeBench) -> None:
    bench = await benches()
    delivery_id = await _sent(bench)
    seconds = int(bench.clock.now().timestamp())
    arrived = _event(delivery_id, "delivered", timestamp=seconds + 2)
    opened = _event(delivery_id, "open", timestamp=seconds + 3600)
    await bench.callbacks.take_in([_sendgrid(bench, arrived, opened)])
    delivered = await bench.delivery()
    assert delivered.delivered_at == bench.clock.now() + timedelta(seconds=2)
    bounced = _event(delivery_id, "bounce", type="bounce", reason="550 no such user", timestamp=seconds + 60)
    clicked = _event(delivery_id, "click", timestamp=seconds + 7200)
    await bench.callbacks.take_in([_sendgrid(bench, bounced, clicked)])
    ended = await bench.delivery()
    assert (ended.failed_at, ended.error) == (bench.clock.now() + timedelta(minutes=1), "bounce 550 no such user")


async def test_what_had_joined_a_message_that_failed_later_is_sent_at_once(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing(purchase_id=5), bench.firing(purchase_id=5)])
    async with bench.working():
        assert await bench.states() == {"sent": 1, "merged": 1}
        [first] = await bench.rows("SELECT id FROM deliveries WHERE status = 'sent' AND channel = 'email'")
        await bench.callbacks.take_in([_sendgrid(bench, _event(first.id, "bounce", type="blocked"))])
        await bench.quiet()
        assert await bench.states() == {"failed": 1, "sent": 1}


async def test_a_receipt_is_seen_in_its_deliverys_trace_whether_it_waited_or_not(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[Outcome(OutcomeKind.ACCEPTED, provider_id="abc")]))
    bench.way.chain = (BreakerKey("sendgrid", "key"),)
    await bench.profile()
    early: dict[str, object] = {"event": "delivered", "sg_event_id": "e1", "sg_message_id": "abc.filter-7"}
    await bench.callbacks.take_in([_sendgrid(bench, early)])
    assert bench.spans.get_finished_spans() == (), "whose delivery it is, nobody knows yet"
    await bench.intake.take_in([bench.firing(traceparent=f"00-{1:032x}-{2:016x}-01")])
    async with bench.working():
        pass
    late = _sendgrid(bench, {"event": "open", "sg_event_id": "e2", "sg_message_id": "abc.filter-7"})
    await bench.callbacks.take_in([replace(late, traceparent=f"00-{3:032x}-{4:016x}-01")])
    spans = bench.spans.get_finished_spans()
    assert [span.name for span in spans] == ["receipt sendgrid", "receipt sendgrid"]
    assert [span.parent and span.parent.span_id for span in spans] == [2, 2]
    assert [[link.context.span_id for link in span.links] for span in spans] == [[], [4]]


async def test_an_event_with_text_that_no_column_takes_costs_none_of_the_others(benches: MakeBench) -> None:
    bench = await benches()
    delivery_id = await _sent(bench)
    nasty = "550 \0 \ud800"
    odd = _event(delivery_id, "bounce", type="blocked", reason=nasty, status=nasty, sg_event_id=nasty, email=nasty)
    body = json.dumps([odd, {**_event(delivery_id, "delivered"), "timestamp": 1762171200}]).encode()
    callback = Callback(str(bench.ids.uuid7()), "sendgrid", bench.clock.now(), "/", body)
    assert await bench.callbacks.take_in([Arrived(callback, None)]) == []
    rows = await bench.rows("SELECT event, details ->> 'detail' AS detail FROM receipts ORDER BY event")
    assert [tuple(row) for row in rows] == [("delivered", "delivered"), ("failed", "bounce 550  ?")]
    assert await bench.rows("SELECT 1 FROM dead_letters") == []


async def test_a_call_is_counted_also_when_its_receipt_is_faster_than_its_answer(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.EMAIL, (BreakerKey("sendgrid", "key"),), block=asyncio.Event())
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    working = asyncio.create_task(bench.lane.run(bench.stopping))
    await asyncio.wait_for(way.begun.acquire(), 20)
    await bench.callbacks.take_in([_sendgrid(bench, _event((await bench.delivery()).id, "delivered"))])
    assert way.block is not None
    way.block.set()
    bench.stopping.set()
    await asyncio.wait_for(working, 20)
    assert (await bench.delivery()).status == "delivered"
    counted = {"provider": "sendgrid", "outcome": "accepted"}
    assert bench.metrics.get_sample_value("tocsin_provider_attempts_total", counted) == 1
    duration = "notification_delivery_duration_seconds_count"
    assert bench.metrics.get_sample_value(duration, {"channel": "email"}) == 1


async def test_a_batch_of_receipts_costs_as_many_statements_as_one_delivery_takes_steps(benches: MakeBench) -> None:
    """SendGrid sends events of hundreds of messages at once: a round trip for each would never keep up with it."""
    bench = await benches()
    for user in range(1, 41):
        await bench.profile(user_id=user)
    await bench.intake.take_in([bench.firing(user_id=user) for user in range(1, 41)])
    async with bench.working():
        pass
    ids = [row.id for row in await bench.rows("SELECT id FROM deliveries WHERE channel = 'email'")]
    told = [
        _event(id_, name, sg_event_id=f"{name}{id_}", email=f"{id_}@example.com", type="bounce")
        for name in ("bounce", "delivered", "processed", "open")
        for id_ in ids
    ]
    for one in told:
        del one["partner_id"]  # of an address alone, as a bounce without our ids is
    told += [{**one, "partner_id": "1", "sg_event_id": f"ours {one['sg_event_id']}"} for one in told]
    ran: list[str] = []

    def heard(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        ran.append(statement.split(maxsplit=1)[0])

    event.listen(bench.engine.sync_engine, "before_cursor_execute", heard)
    assert await bench.callbacks.take_in([_sendgrid(bench, *told)]) == []
    event.remove(bench.engine.sync_engine, "before_cursor_execute", heard)
    assert await bench.states() == {"bounced": 40}
    assert len(ran) < 20, f"{len(ran)} statements"
