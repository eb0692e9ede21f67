"""Dead letters tried again: by the way a fresh message comes, and nothing is lost when the process ends in between."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tocsin.events.v1 import events_pb2
from tocsin.notifications.v1 import delivery_pb2
from tocsin.types.v1 import types_pb2
from tocsin_dispatcher.doors.consumers import Door, firings_door, profiles_door, receipts_door
from tocsin_dispatcher.doors.dead_letters import DeadLetterRpcs, decoded
from tocsin_dispatcher.doors.retrying import RetryRpcs
from tocsin_dispatcher.doors.translate import context_to_proto
from tocsin_dispatcher.intake.dead_letters import DeadLetters, Letter
from tocsin_dispatcher.values import Channel, Firing, Outcome, OutcomeKind
from tocsin_kit.rpc.caller import Caller, Scope, set_current_caller

from .bench import Bench, ScriptedWay
from .conftest import MakeBench


def rpcs(bench: Bench) -> DeadLetterRpcs:
    set_current_caller(Caller("operator", None, None, frozenset({Scope.ADMIN})))
    letters = DeadLetters(bench.engine, bench.clock, bench.ids)
    doors: list[Door[Any]] = [
        firings_door(bench.intake, letters),
        profiles_door(bench.profiles, letters),
        receipts_door(bench.callbacks, letters),
    ]
    return DeadLetterRpcs(bench.engine, letters, {door.stream: door for door in doors})


def as_bytes(firing: Firing) -> bytes:
    """The firing as the evaluator publishes it."""
    event = events_pb2.Firing(
        id=firing.id.bytes,
        partner_id=1,
        user_id=firing.user_id,
        alert_id=firing.alert_id,
        alert_type=types_pb2.ALERT_TYPE_TRANSACTION_LIMIT,
        work_class=types_pb2.WORK_CLASS_REALTIME,
        occurrence_key=firing.occurrence_key,
        context=context_to_proto(firing.context),
        channels=[types_pb2.CHANNEL_EMAIL],
        profile_version=1,
        time_zone="UTC",
        locale="en",
        alert_name="Large ones",
    )
    event.fired_at.FromDatetime(firing.fired_at)
    return event.SerializeToString()


async def died(bench: Bench, *data: bytes, stream: str = "FIRINGS") -> list[str]:
    """Messages that are dead, oldest first; their ids."""
    letters = DeadLetters(bench.engine, bench.clock, bench.ids)
    for number, one in enumerate(data):
        bench.clock.move_to(bench.clock.now() + timedelta(seconds=1))
        await letters.keep([Letter(stream, f"tocsin.{stream.lower()}.realtime", f"m{number}", one, "why not")])
    rows = await bench.rows("SELECT id FROM dead_letters ORDER BY at")
    return [str(row.id) for row in rows]


async def retried(bench: Bench, **filter_: Any) -> list[tuple[str, bool]]:
    request = delivery_pb2.RetryDeadLettersRequest(filter=delivery_pb2.DeadLetterFilter(**filter_))
    return [(one.id, one.taken_in) for one in (await rpcs(bench).retry(request)).results]


async def test_a_process_that_ends_after_taking_in_and_before_noting_loses_and_doubles_nothing(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter is dead still; trying it again finds that all is done."""
    bench = await benches()
    await bench.profile()
    ids = await died(bench, as_bytes(bench.firing()))

    async def ends(*_: object) -> None:
        raise OperationalError("", {}, OSError("the process ends here"))

    with monkeypatch.context() as patched:
        patched.setattr(DeadLetters, "tried", ends)
        with pytest.raises(OperationalError):
            await retried(bench)
    assert len(await bench.rows("SELECT 1 FROM notifications")) == 1
    assert [row.taken_in_at for row in await bench.rows("SELECT taken_in_at FROM dead_letters")] == [None]
    assert await retried(bench) == [(ids[0], True)]
    assert len(await bench.rows("SELECT 1 FROM notifications")) == 1
    assert len(await bench.rows("SELECT 1 FROM deliveries WHERE channel = 'email'")) == 1
    assert await retried(bench) == []


async def test_one_that_is_no_message_costs_the_others_nothing(benches: MakeBench) -> None:
    """Each stream by its door, in pieces."""
    bench = await benches()
    await bench.profile()
    first, broken, last = await died(bench, as_bytes(bench.firing()), b"\xff\xff", as_bytes(bench.firing()))
    assert await retried(bench, stream="PROFILES") == []
    assert await retried(bench) == [(first, True), (broken, False), (last, True)]
    assert len(await bench.rows("SELECT 1 FROM notifications")) == 2
    (row,) = await bench.rows("SELECT error FROM dead_letters WHERE taken_in_at IS NULL")
    assert row.error.startswith("DecodeError"), "why it is dead, the last time it was tried"
    tries = await bench.rows(
        "SELECT subject, error IS NULL AS fine FROM dead_letter_retries ORDER BY error NULLS FIRST"
    )
    assert [tuple(one) for one in tries] == [("operator", True), ("operator", True), ("operator", False)]


async def test_a_filter_takes_the_oldest_and_says_whether_there_are_more(benches: MakeBench) -> None:
    """By when they came, their stream, and words in the error."""
    bench = await benches()
    await bench.profile()
    ids = await died(bench, *(as_bytes(bench.firing()) for _ in range(5)))
    request = delivery_pb2.RetryDeadLettersRequest(filter=delivery_pb2.DeadLetterFilter(error="WHY"), limit=2)
    answer = await rpcs(bench).retry(request)
    assert ([one.id for one in answer.results], answer.more) == (ids[:2], True)
    request.filter.since.FromDatetime(bench.clock.now())
    answer = await rpcs(bench).retry(request)
    assert ([one.id for one in answer.results], answer.more) == (ids[4:], False)
    assert await retried(bench, error="another") == []
    page = await rpcs(bench).listed(delivery_pb2.ListDeadLettersRequest(page_size=1))
    assert [one.id for one in page.dead_letters] == [ids[3]]
    rest = await rpcs(bench).listed(delivery_pb2.ListDeadLettersRequest(page_size=5, page_token=page.next_page_token))
    assert ([one.id for one in rest.dead_letters], rest.next_page_token) == ([ids[2]], "")
    assert all(one.content == b"" and one.decoded == "" for one in rest.dead_letters)


async def test_a_message_that_comes_again_is_kept_once_while_it_is_dead(benches: MakeBench) -> None:
    """The broker brings it again when the process ends before it is told; one that died anew is a new one."""
    bench = await benches()
    assert len(await died(bench, b"a", b"b")) == 2
    assert len(await died(bench, b"a", b"b")) == 2
    await bench.execute("UPDATE dead_letters SET taken_in_at = at")
    assert len(await died(bench, b"a")) == 3


def test_what_letters_say_is_shown_where_it_can_be_read() -> None:
    """A callback's body as what it is; nothing of what is none of ours."""
    callback = events_pb2.Callback(id=bytes(16), provider="twilio-inbound", body=b"From=%2B1312&Body=STOP&Empty=")
    shown = json.loads(decoded("RECEIPTS", callback.SerializeToString()))
    assert shown["body"] == [["From", "+1312"], ["Body", "STOP"], ["Empty", ""]]
    for stream, data in (("RECEIPTS", b"\xff"), ("UNHEARD", b""), ("FIRINGS", b"\x0a\xff")):
        assert decoded(stream, data) == "", stream
    callback.body = b"\xff\xfe"
    assert json.loads(decoded("RECEIPTS", callback.SerializeToString()))["body"] == "\ufffd\ufffd"


async def test_all_that_failed_are_tried_again_and_a_purchase_is_told_once(benches: MakeBench) -> None:
    """Two that failed about one purchase: the first one tells it, the other one joins it."""
    refused = Outcome(OutcomeKind.PERMANENT, answer="550 no")
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[refused] * 5))
    await bench.profile()
    await bench.intake.take_in([bench.firing(purchase_id=5), *(bench.firing() for _ in range(3))])
    async with bench.working():
        pass
    await bench.intake.take_in([bench.firing(purchase_id=5)])
    async with bench.working():
        pass
    assert await bench.states() == {"failed": 5}
    set_current_caller(Caller("operator", None, None, frozenset({Scope.ADMIN})))
    retries = RetryRpcs(bench.engine, {}, bench.clock, bench.ids)
    request = delivery_pb2.RetryFailedDeliveriesRequest(error="550", limit=4)
    request.failed_since.FromDatetime(bench.clock.now() - timedelta(hours=1))
    answer = await retries.failed(request)
    assert (answer.retried, answer.more) == (4, True)
    answer = await retries.failed(request)
    assert (answer.retried, answer.more) == (1, False)
    async with bench.working():
        pass
    assert await bench.states() == {"sent": 4, "merged": 1}
    assert len(bench.way.calls) == 5 + 4
