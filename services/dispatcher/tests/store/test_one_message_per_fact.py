"""One purchase is told once on a channel, also by what comes back to be sent once more."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Row

from tocsin_dispatcher.delivering.gatekeeper import _Round
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.attempts import SetAside, set_aside
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.deliveries import retry_delivery
from tocsin_dispatcher.values import Channel, Outcome, OutcomeKind

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

FAILED = Outcome(OutcomeKind.TRANSIENT, status=500, answer="HTTP 500")
REFUSED = Outcome(OutcomeKind.PERMANENT, status=400, answer="HTTP 400")
LEASE = timedelta(minutes=1)


async def _of(bench: Bench, firing_id: UUID) -> Row[tuple[object, ...]]:
    sql = "SELECT * FROM deliveries WHERE notification_id = :id AND channel = 'email'"
    return (await bench.rows(sql, id=firing_id))[0]


async def _overtaken(bench: Bench, purchase_id: int = 9) -> tuple[UUID, UUID]:
    """A message is on its way to its provider when a critical one about the same purchase comes: their firings' ids."""
    await bench.profile()
    first, critical = bench.firing(purchase_id=purchase_id), bench.firing(purchase_id=purchase_id, critical=True)
    await bench.intake.take_in([first])
    await bench.execute(
        "UPDATE deliveries SET status = 'sending', attempt = 1, due_at = :at, leased_until = :at"
        " WHERE channel = 'email'",
        at=bench.clock.now() + LEASE,
    )
    await bench.intake.take_in([critical])
    await bench.execute("UPDATE deliveries SET status = 'retrying', leased_until = NULL WHERE status = 'sending'")
    return first.id, critical.id


async def test_a_retry_is_not_sent_when_a_critical_message_has_told_the_purchase(benches: MakeBench) -> None:
    bench = await benches()
    first, critical = await _overtaken(bench)
    async with bench.working():
        assert (await _of(bench, critical)).status == "sent"
        await bench.step()
    merged = await _of(bench, first)
    assert (merged.status, merged.reason, merged.merged_into) == ("merged", "merged", (await _of(bench, critical)).id)
    assert len(bench.way.calls) == 1


async def test_what_joined_a_critical_message_is_sent_when_that_one_fails(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED, REFUSED]))
    _, critical = await _overtaken(bench)
    joined = bench.firing(purchase_id=9)
    await bench.intake.take_in([joined])
    assert (await _of(bench, joined.id)).status == "merged"
    async with bench.working():
        assert (await _of(bench, critical)).status == "retrying"
        await bench.step()
        assert (await _of(bench, critical)).status == "failed"
        await bench.step()
    assert sorted(row.status for row in await bench.rows("SELECT status FROM deliveries WHERE channel = 'email'")) == [
        "failed",
        "merged",
        "sent",
    ], "one of the two that had joined it, for both"
    assert len(bench.way.calls) == 3


async def test_those_that_joined_messages_about_several_purchases_speak_for_each_of_them(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[FAILED, FAILED]))
    first, critical = zip(*[await _overtaken(bench, purchase_id) for purchase_id in (9, 10)], strict=True)
    async with bench.working():
        assert [(await _of(bench, id_)).status for id_ in critical] == ["retrying", "retrying"]
    due = "UPDATE deliveries SET due_at = :at WHERE notification_id = ANY(:ids) AND channel = 'email'"
    await bench.execute(due, at=bench.clock.now(), ids=list(first))
    async with bench.working():
        assert [(await _of(bench, id_)).status for id_ in first] == ["merged", "merged"]
    bench.way.answers = [REFUSED, REFUSED]
    await bench.execute(due, at=bench.clock.now(), ids=list(critical))
    async with bench.working():
        pass
    assert [(await _of(bench, id_)).status for id_ in critical] == ["failed", "failed"]
    assert [(await _of(bench, id_)).status for id_ in first] == ["sent", "sent"]


async def test_a_person_does_not_repeat_what_another_message_has_told(benches: MakeBench) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[REFUSED]))
    await bench.profile()
    first, second = bench.firing(purchase_id=9), bench.firing(purchase_id=9)
    await bench.intake.take_in([first])
    async with bench.working():
        assert (await _of(bench, first.id)).status == "failed"
        await bench.intake.take_in([second])
        await bench.quiet()
        assert (await _of(bench, second.id)).status == "sent"
    now, failed = bench.clock.now(), await _of(bench, first.id)
    async with bench.engine.begin() as connection:
        assert await retry_delivery(connection, DeliveryKey(1, failed.id), now, now + timedelta(days=1)) is not None
    async with bench.working():
        pass
    again = await _of(bench, first.id)
    assert (again.status, again.merged_into) == ("merged", (await _of(bench, second.id)).id)
    assert len(bench.way.calls) == 2


async def test_nobody_joins_a_message_that_ended_while_it_was_judged(benches: MakeBench) -> None:
    bench = await benches()
    first, critical = await _overtaken(bench)
    row, target = await _of(bench, first), await _of(bench, critical)
    lease = bench.clock.now() + LEASE
    await bench.execute("UPDATE deliveries SET leased_until = :lease WHERE id = :id", lease=lease, id=row.id)
    await bench.execute("UPDATE deliveries SET status = 'failed', due_at = NULL WHERE id = :id", id=target.id)
    joins = SetAside(
        DeliveryKey(1, row.id), lease, DeliveryState.MERGED, Reason.MERGED, None, None, target.id, "purchase:9"
    )
    async with bench.engine.begin() as connection:
        assert await set_aside(connection, [joins], bench.clock.now()) == frozenset()
    assert (await _of(bench, first)).status == "retrying"


async def test_who_would_have_joined_a_message_that_ended_meanwhile_is_sent_at_once(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await benches()
    first, critical = await _overtaken(bench)
    lock = bench.gatekeeper._lock

    async def ended_before(connection: Connection, decided: _Round, claims: Sequence[Claimed]) -> None:
        await bench.execute("UPDATE deliveries SET status = 'failed' WHERE status = 'sent' AND channel = 'email'")
        await lock(connection, decided, claims)

    async with bench.working():
        assert (await _of(bench, critical)).status == "sent"
        monkeypatch.setattr(bench.gatekeeper, "_lock", ended_before)
        due = bench.activity.next_due()
        assert await bench.step() == due
        assert bench.clock.now() == due
        assert (await _of(bench, first)).status == "sent"
