"""Verifications against a real database: who asks or types at once has no more than others."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from tocsin_dispatcher.announcing import Announcer
from tocsin_dispatcher.doors.translate import change_to_event
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store import tables
from tocsin_dispatcher.store.claims import Claimed, claim
from tocsin_dispatcher.store.database import in_transaction
from tocsin_dispatcher.store.recipients import Defaults, Profile
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    Contact,
    Notification,
    Outcome,
    OutcomeKind,
    PartnerSettings,
    Preferences,
    Recipient,
    SmsMessage,
    Verification,
    WorkClass,
)
from tocsin_dispatcher.verifying.codes import Codes
from tocsin_dispatcher.verifying.composing import Coded
from tocsin_dispatcher.verifying.limits import Limits
from tocsin_dispatcher.verifying.verifications import VALID, Verifications
from tocsin_kit.activity import Activity
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_kit.telemetry.metrics import Metrics

from .bench import ADDRESS_KEY, SMALL, Bench, ScriptedWay
from .conftest import MakeBench

ME = UserKey(1, 1)
PERSON = Recipient(None, Preferences(), PartnerSettings())


MESSAGE = SmsMessage("+13125550123", "The text", SMALL)


@dataclass
class Told:
    """A composer that keeps what it is given to tell."""

    told: list[Notification] = field(default_factory=list)

    async def compose(
        self, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> SmsMessage | Outcome:
        self.told.append(notification)
        return MESSAGE

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        self.told.append(notification)
        return MESSAGE


def codes() -> Codes:
    return Codes(ADDRESS_KEY, Random(7))


def verifications(bench: Bench, **limits: int) -> Verifications:
    activity = Activity()
    announcer = Announcer(Outbox.on(tables.outbox, activity, "x"), change_to_event, Metrics(CollectorRegistry()))
    bells = {Channel.SMS: Bell(activity), Channel.EMAIL: Bell(activity)}
    asked, allowed = codes(), Limits(**limits)
    return Verifications(
        bench.engine, announcer, bells, bench.clock, bench.ids, asked, Defaults(10, 50), ADDRESS_KEY, allowed
    )


async def unverified(bench: Bench, user_id: int = 1, version: int = 1, phone: str | None = "+13125550123") -> None:
    contact = Contact(1, user_id, f"user{user_id}@example.com", None, phone, None, "en", "UTC", version)
    assert await bench.profiles.take_in([Profile(contact, False, False, bench.clock.now())]) == []


async def claimed(bench: Bench) -> Sequence[Claimed]:
    now = bench.clock.now()
    lease = now + timedelta(minutes=1)
    return await in_transaction(
        bench.engine, lambda connection: claim(connection, Channel.SMS, [WorkClass.REALTIME], 10, now, lease)
    )


async def stored_code(bench: Bench) -> str:
    (row,) = await bench.rows("SELECT delivery_id, sealed FROM verifications WHERE user_id = 1")
    return codes().open(row.delivery_id, row.sealed)


def wrong(code: str, by: int = 1) -> str:
    return f"{(int(code) + by) % 1_000_000:06d}"


async def test_who_asks_ten_times_at_once_gets_one_code(benches: MakeBench) -> None:
    """Ten windows of one browser, or a script."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await unverified(bench)
    asking = verifications(bench)
    answers = await asyncio.gather(*(asking.start(ME, Channel.SMS) for _ in range(10)))
    assert len(set(answers)) == 1
    assert len(await bench.rows("SELECT 1 FROM deliveries")) == 1
    counted = await bench.rows("SELECT scope, count FROM verification_counts ORDER BY scope")
    assert [tuple(row) for row in counted] == [("address", 1), ("partner", 1), ("prefix", 1), ("user", 1)]


async def test_who_types_a_hundred_codes_at_once_has_five_tries(benches: MakeBench) -> None:
    """And the right one after them is too late."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await unverified(bench)
    asking = verifications(bench)
    await asking.start(ME, Channel.SMS)
    code = await stored_code(bench)
    typed = await asyncio.gather(*(asking.confirm(ME, Channel.SMS, wrong(code, by)) for by in range(1, 101)))
    assert not any(typed)
    assert [row.tries for row in await bench.rows("SELECT tries FROM verifications")] == [5]
    assert not await asking.confirm(ME, Channel.SMS, code)


async def test_a_right_code_is_used_up_and_right_when_it_is_sent_again(benches: MakeBench) -> None:
    """Its seal is gone, so that nobody sends it once more."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await unverified(bench)
    asking = verifications(bench)
    await asking.start(ME, Channel.SMS)
    code = await stored_code(bench)
    (one,) = await claimed(bench)
    assert await asking.confirm(ME, Channel.SMS, code)
    assert await asking.confirm(ME, Channel.SMS, code)
    assert not await asking.confirm(ME, Channel.SMS, wrong(code))
    (row,) = await bench.rows("SELECT sealed, confirmed_at FROM verifications")
    assert (row.sealed, row.confirmed_at) == (b"", bench.clock.now())
    (contact,) = await bench.rows("SELECT phone_confirmed_at, email_confirmed_at FROM contacts")
    assert tuple(contact) == (bench.clock.now(), None)
    assert one.notification.code is not None


async def test_a_code_proves_the_address_it_went_to_and_no_other(benches: MakeBench) -> None:
    """The bank changes the number while the code is on its way."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await unverified(bench)
    asking = verifications(bench)
    await asking.start(ME, Channel.SMS)
    code = await stored_code(bench)
    assert not await asking.confirm(ME, Channel.EMAIL, code), "nor the other channel"
    await unverified(bench, version=2, phone="+13125550777")
    assert not await asking.confirm(ME, Channel.SMS, code)
    await unverified(bench, version=3, phone=None)
    assert not await asking.confirm(ME, Channel.SMS, code)
    await unverified(bench, version=4)
    assert await asking.confirm(ME, Channel.SMS, code)


async def test_who_has_no_address_is_answered_by_the_same_statements(benches: MakeBench) -> None:
    """So that the time it takes tells nothing, and a code that is guessed verifies nothing."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await unverified(bench)
    asking = verifications(bench)
    known, unknown = await asking.start(ME, Channel.SMS), await asking.start(UserKey(1, 2), Channel.SMS)
    assert known == unknown
    rows = await bench.rows("SELECT user_id, status, reason FROM deliveries ORDER BY user_id")
    assert [tuple(row) for row in rows] == [(1, "pending", None), (2, "suppressed", "no_address")]
    counted = await bench.rows("SELECT count(*) AS many FROM verification_counts")
    assert [row.many for row in counted] == [2 + 2 + 2 + 1], "users, addresses, prefixes and the bank"
    (row,) = await bench.rows("SELECT delivery_id, sealed FROM verifications WHERE user_id = 2")
    guessed = codes().open(row.delivery_id, row.sealed)
    assert not await asking.confirm(UserKey(1, 2), Channel.SMS, guessed)


async def test_a_code_that_was_not_sent_yet_gives_way_to_the_next(benches: MakeBench) -> None:
    """Even one that a worker has claimed already: it finds its lease gone, and could not open the code."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await unverified(bench)
    asking = verifications(bench)
    await asking.start(ME, Channel.SMS)
    (old,) = await claimed(bench)
    first = await stored_code(bench)
    bench.clock.move_to(bench.clock.now() + timedelta(seconds=60))
    await asking.start(ME, Channel.SMS)
    assert await bench.gatekeeper.admit([old], {}) == []
    states = await bench.rows("SELECT status, due_at FROM deliveries ORDER BY created_at")
    assert [(row.status, row.due_at is None) for row in states] == [("expired", True), ("pending", False)]
    history = await bench.rows("SELECT delivery_id, happening, reason, at FROM delivery_events")
    assert [tuple(row) for row in history] == [(old.delivery.id, "expired", "expired", bench.clock.now())]
    told = await bench.rows("SELECT subject FROM outbox ORDER BY id")
    assert sorted(row.subject for row in told) == [
        "tocsin.deliveries.sms.expired",
        "tocsin.deliveries.sms.pending",
        "tocsin.deliveries.sms.pending",
    ], "who listens hears of every end"
    assert not await asking.confirm(ME, Channel.SMS, first)
    (new,) = await claimed(bench)
    assert new.delivery.id != old.delivery.id


async def test_a_code_is_opened_for_the_call_and_tells_the_time_that_is_left(benches: MakeBench) -> None:
    """Never before: a claim holds it sealed. One that was used, or another one replaced, fails its delivery."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await unverified(bench)
    asking = verifications(bench)
    await asking.start(ME, Channel.SMS)
    code = await stored_code(bench)
    (one,) = await claimed(bench)
    assert code not in repr(one)
    assert one.notification.critical
    composer = Told()
    coded = Coded(composer, codes())
    attempt = Attempt(1, one.delivery.id, 1, "first", "key", bench.clock.now())
    for minutes, left in ((0, VALID), (3, VALID - timedelta(minutes=3)), (30, timedelta(minutes=1))):
        at = bench.clock.now() + timedelta(minutes=minutes)
        assert await coded.compose(attempt, one.notification, PERSON, at) is MESSAGE
        assert composer.told[-1].context == Verification(code, left)
        assert coded.text_message(one.notification, PERSON, at) is not None
        assert composer.told[-1].context == Verification(code, left)
    told = len(composer.told)
    await asking.confirm(ME, Channel.SMS, code)
    await bench.execute("UPDATE deliveries SET due_at = :now, leased_until = NULL", now=bench.clock.now())
    (used,) = await claimed(bench)
    sent = await coded.compose(attempt, used.notification, PERSON, bench.clock.now())
    assert isinstance(sent, Outcome)
    assert sent.kind is OutcomeKind.PERMANENT
    assert coded.text_message(used.notification, PERSON, bench.clock.now()) is None
    assert len(composer.told) == told


async def test_limits_of_a_day_begin_again_the_next_and_refusals_count_nothing(benches: MakeBench) -> None:
    """Who is refused is told until when."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await unverified(bench)
    asking = verifications(bench, per_user=2)
    for _ in range(2):
        await asking.start(ME, Channel.SMS)
        bench.clock.move_to(bench.clock.now() + timedelta(minutes=2))
    for _ in range(3):
        with pytest.raises(TocsinError) as refused:
            await asking.start(ME, Channel.EMAIL)
        assert refused.value.reason is Reason.RATE_LIMITED
    now = bench.clock.now()
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time(0), now.tzinfo)
    assert refused.value.retry_after == tomorrow - bench.clock.now()
    counts = await bench.rows("SELECT count AS many FROM verification_counts WHERE scope IN ('user', 'partner')")
    assert [row.many for row in counts] == [2, 2]
    assert len(await bench.rows("SELECT 1 FROM verifications")) == 1
    bench.clock.move_to(tomorrow)
    await asking.start(ME, Channel.SMS)
    counts = await bench.rows("SELECT count AS many FROM verification_counts")
    assert [row.many for row in counts] == [1, 1, 1, 1]


async def test_many_people_of_one_bank_who_ask_at_once_do_not_deadlock(benches: MakeBench) -> None:
    """They share the bank's count, and some of them a number."""
    bench = await benches(ScriptedWay(Channel.SMS))
    for user in range(1, 31):
        await unverified(bench, user_id=user, phone=f"+1312555{1000 + user % 3}")
    asking = verifications(bench)
    channels = (Channel.SMS, Channel.EMAIL)
    await asyncio.wait_for(
        asyncio.gather(*(asking.start(UserKey(1, user), channel) for user in range(1, 31) for channel in channels)), 50
    )
    (partner,) = await bench.rows("SELECT count AS many FROM verification_counts WHERE scope = 'partner'")
    assert partner.many == 60
    withheld = await bench.rows("SELECT count(*) AS many FROM deliveries WHERE reason = 'rate_limited'")
    assert [row.many for row in withheld] == [30 - 3 * 6], "a number gets six a day, whoever asks"
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert [row.deadlocks for row in await bench.rows(deadlocks)] == [0]
