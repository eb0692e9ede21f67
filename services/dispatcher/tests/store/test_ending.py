"""How deliveries end: too late, by a person's hand, and as they are counted."""

from datetime import timedelta

from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store.deliveries import retry_delivery
from tocsin_dispatcher.values import Channel, Outcome, OutcomeKind

from .bench import ScriptedWay
from .conftest import MakeBench

FAILED = Outcome(OutcomeKind.TRANSIENT, status=500, answer="HTTP 500")
SILENT = Outcome(OutcomeKind.UNKNOWN, answer="no answer")


async def test_an_sms_nobody_can_say_anything_about_ends_expired(benches: MakeBench) -> None:
    way = ScriptedWay(Channel.SMS, answers=[SILENT], found=[SILENT] * 10)
    way.look_up = way
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    ends = bench.clock.now() + timedelta(minutes=3)
    await bench.execute("UPDATE deliveries SET expires_at = :ends WHERE channel = 'sms'", ends=ends)
    async with bench.working():
        while (await bench.delivery()).status == "unknown":
            assert await bench.step() <= ends
    ended = await bench.delivery()
    assert (ended.status, ended.reason, ended.due_at, ended.failed_at) == ("expired", "expired", None, ends)
    told = await bench.rows("SELECT payload FROM outbox WHERE subject LIKE 'tocsin.deliveries.%' ORDER BY id")
    assert told[-1].payload.count(b"expired") == 2, "its state and its reason are told"
    async with bench.engine.begin() as connection:
        await retry_delivery(connection, DeliveryKey(1, ended.id), ends, ends + timedelta(days=1))
    async with bench.working():
        pass
    marks = await bench.rows("SELECT outcome, possible_duplicate FROM attempts ORDER BY number")
    assert [tuple(row) for row in marks] == [("unknown", False), ("accepted", True)], "a person's repeat is marked"


async def test_a_delivery_that_a_person_tries_again_begins_with_the_fast_retries(benches: MakeBench) -> None:
    refused = Outcome(OutcomeKind.PERMANENT, status=400)
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED, FAILED, FAILED, FAILED, refused, FAILED]))
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        for _ in range(4):
            await bench.step()
    failed = await bench.delivery()
    assert (failed.status, failed.failures) == ("failed", 4)
    now = bench.clock.now()
    async with bench.engine.begin() as connection:
        retried = await retry_delivery(connection, DeliveryKey(1, failed.id), now, now + timedelta(days=1))
    assert retried is not None
    assert retried.failures == 0
    async with bench.working():
        again = await bench.delivery()
    assert (again.status, again.failures) == ("retrying", 1)
    assert again.due_at - now <= timedelta(seconds=1.25), "the first pause, not the fifth"
