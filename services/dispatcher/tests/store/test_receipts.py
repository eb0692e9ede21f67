"""Receipts: once each, in any order, and what they do to addresses."""

import itertools
import json
from urllib.parse import urlencode
from uuid import UUID

import pytest

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.receipts.parse import Callback
from tocsin_dispatcher.receiving.applying import state_after
from tocsin_dispatcher.receiving.callbacks import Arrived
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import Channel, Outcome, OutcomeKind, ReceiptEffect

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


async def test_what_cannot_be_read_of_a_callback_is_kept_and_the_rest_counts(benches: MakeBench) -> None:
    bench = await benches()
    delivery_id = await _sent(bench)
    body = json.dumps([7, {"timestamp": 1762171200, **_event(delivery_id, "delivered")}]).encode()
    callback = Callback(str(bench.ids.uuid7()), "sendgrid", bench.clock.now(), "/", body)
    await bench.callbacks.take_in([Arrived(callback, None)])
    assert (await bench.delivery()).status == "delivered"
    assert len(await bench.rows("SELECT 1 FROM dead_letters")) == 1


def test_no_order_of_receipts_takes_a_state_back() -> None:
    effects = (ReceiptEffect.SENT, ReceiptEffect.DELIVERED, ReceiptEffect.BOUNCED)
    for order in itertools.permutations(effects):
        status = DeliveryState.SENDING
        for effect in order:
            status = state_after(status, [effect])
        assert status is DeliveryState.BOUNCED, order
