"""Texts nobody answered for: what is asked about them, what is found, what it weighs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from urllib.parse import urlencode
from uuid import UUID

import pytest

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.receipts.parse import Callback
from tocsin_dispatcher.receiving.callbacks import Arrived
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    Made,
    Notification,
    Outcome,
    OutcomeKind,
    Recipient,
    SmsMessage,
    SmsSize,
)

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

SILENT = Outcome(OutcomeKind.UNKNOWN, answer="no answer")
TWILIO = (BreakerKey("twilio", "AC1"),)


@dataclass
class SilentTwilio(ScriptedWay):
    """Answers nothing to the first calls; lists what the test says was made."""

    words: str = "Same words"
    """Of every text; empty: each its own."""
    listed: list[Made] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    composed_at: list[datetime] = field(default_factory=list)
    answered_after: int = 1
    """So many have asked before anybody is answered."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        self.composed_at.append(at)
        contact = recipient.contact
        assert contact is not None
        assert contact.phone is not None
        return SmsMessage(contact.phone, self.words or f"About {notification.id}", SmsSize(2, Decimal("0.0158")))

    async def made(self, to: str, attempt: Attempt) -> Sequence[Made] | None:
        self.asked.append(to)
        if len(self.asked) >= self.answered_after:
            self.answered.set()
        await self.answered.wait()
        return self.listed


def silent_twilio(times: int, words: str = "Same words") -> SilentTwilio:
    way = SilentTwilio(Channel.SMS, TWILIO, answers=[SILENT] * times, words=words)
    way.look_up = way
    return way


def made(bench: Bench, provider_id: str, words: str = "Same words", **outcome: object) -> Made:
    values = {"kind": OutcomeKind.ACCEPTED, "provider_id": provider_id, **outcome}
    return Made(provider_id, bench.clock.now() + timedelta(seconds=1), words, Outcome(**values))  # type: ignore[arg-type]


async def found(bench: Bench) -> list[tuple[str, str | None]]:
    rows = await bench.rows("SELECT status, provider_id FROM deliveries WHERE channel = 'sms' ORDER BY provider_id")
    return [(row.status, row.provider_id) for row in rows]


async def test_of_two_texts_to_one_number_a_message_is_one_s_and_the_other_is_repeated(benches: MakeBench) -> None:
    way = silent_twilio(2, words="")
    bench = await benches(way)
    await bench.profile()
    first, second = bench.firing(), bench.firing()
    await bench.intake.take_in([first, second])
    async with bench.working():
        way.listed = [made(bench, "SM1", f"About {second.id}")]
        began = bench.clock.now()
        await bench.step()
    assert way.asked == ["+13125550123"], "one question for both"
    assert way.composed_at == [began, began], "the words are those of the attempt"
    assert [attempt.possible_duplicate for _, attempt in way.calls] == [False, False, True]
    rows = await bench.rows("SELECT notification_id FROM deliveries WHERE provider_id = 'SM1'")
    assert [row.notification_id for row in rows] == [second.id]


async def test_two_replicas_that_find_the_same_message_do_not_both_have_it(benches: MakeBench) -> None:
    way = silent_twilio(2)
    one, other = await benches(way, slots=1), await benches(way, slots=1)
    await one.profile()
    await one.intake.take_in([one.firing(), one.firing()])
    async with one.working(), other.working():
        await other.quiet()
        way.listed, way.answered_after = [made(one, "SM1"), made(one, "SM2")], 2
        one.clock.advance(timedelta(seconds=120))
        await one.quiet()
        await other.quiet()
        assert await found(one) == [("sent", "SM1"), ("unknown", None)]
        one.clock.advance(timedelta(seconds=75))
        await one.quiet()
        await other.quiet()
    assert await found(one) == [("sent", "SM1"), ("sent", "SM2")]
    assert len(way.calls) == 2


async def test_a_number_that_a_look_up_finds_at_fault_gets_nothing_more(benches: MakeBench) -> None:
    way = silent_twilio(1)
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        fault = SuppressionCause.BOUNCED
        way.listed = [made(bench, "SM1", kind=OutcomeKind.PERMANENT, code="30005", suppress=fault)]
        await bench.step()
        assert await found(bench) == [("failed", "SM1")]
        await bench.intake.take_in([bench.firing()])
        await bench.quiet()
    assert sorted((await bench.states()).items()) == [("failed", 1), ("suppressed", 1)]


def status_callback(bench: Bench, delivery_id: UUID, status: str) -> Arrived:
    query = urlencode({"partner_id": 1, "delivery_id": delivery_id, "attempt": 1})
    body = urlencode({"MessageSid": "SM9", "MessageStatus": status, "To": "+13125550123"}).encode()
    url = f"/webhooks/twilio/status?{query}"
    return Arrived(Callback(str(bench.ids.uuid7()), "twilio-status", bench.clock.now(), url, body), None)


def segments_counted(bench: Bench) -> float | None:
    return bench.metrics.get_sample_value("tocsin_sms_segments_total")


async def test_a_text_that_is_found_weighs_what_it_weighed_when_it_was_sent(benches: MakeBench) -> None:
    way = silent_twilio(1)
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        assert segments_counted(bench) is None, "nobody knows yet whether it was sent"
        way.listed = [made(bench, "SM1")]
        await bench.step()
    sent = await bench.delivery()
    assert (sent.status, sent.segments, sent.cost) == ("sent", 2, Decimal("0.0158"))
    assert segments_counted(bench) == 2


async def test_a_text_that_never_arrived_weighs_nothing_until_it_is_sent_again(benches: MakeBench) -> None:
    way = silent_twilio(2)
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        assert (await bench.delivery()).segments == 1, "in case a callback finds that it was sent"
        await bench.step()
        await bench.step()
    ended = await bench.delivery()
    assert (ended.status, ended.segments, ended.cost) == ("failed", None, None)
    assert segments_counted(bench) is None


@pytest.mark.parametrize("status", ["sent", "delivered"])
async def test_a_text_that_a_callback_finds_is_counted_once(benches: MakeBench, status: str) -> None:
    way = silent_twilio(1)
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        delivery_id = (await bench.delivery()).id
        for said in (status, "delivered"):
            assert await bench.callbacks.take_in([status_callback(bench, delivery_id, said)]) == []
    settled = await bench.delivery()
    assert (settled.status, settled.segments, settled.cost) == ("delivered", 1, Decimal("0.0079"))
    assert segments_counted(bench) == 1


async def test_a_text_whose_callback_overtakes_its_answer_is_counted_once(benches: MakeBench) -> None:
    way = SilentTwilio(Channel.SMS, TWILIO, block=asyncio.Event())
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    part = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        await way.begun.acquire()
        await bench.callbacks.take_in([status_callback(bench, (await bench.delivery()).id, "delivered")])
        assert way.block is not None
        way.block.set()
        await bench.quiet()
        bench.stopping.set()
        await part
    settled = await bench.delivery()
    assert (settled.status, settled.segments) == ("delivered", 1)
    assert segments_counted(bench) == 1


@dataclass
class BreakingTwilio(SilentTwilio):
    """What it lists breaks in our own hands, so often."""

    breaks: int = 1

    async def made(self, to: str, attempt: Attempt) -> Sequence[Made] | None:
        if self.breaks:
            self.breaks -= 1
            raise AttributeError("a fault of ours")
        return await super().made(to, attempt)


async def test_a_look_up_that_breaks_is_made_again_and_ends_nothing_else(benches: MakeBench) -> None:
    way = BreakingTwilio(Channel.SMS, TWILIO, answers=[SILENT])
    way.look_up = way
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        assert await bench.states() == {"unknown": 1}
        await bench.step()
        assert (way.breaks, await bench.states()) == (0, {"unknown": 1})
        way.listed = [made(bench, "SM1")]
        await bench.step()
        assert await bench.states() == {"sent": 1}
