"""A delivery's history: written with the change itself, once for each, and gone with the delivery."""

from datetime import timedelta
from typing import Any

from tocsin_dispatcher.auditing.retention import Retention
from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.settings import DispatcherSettings
from tocsin_dispatcher.store import retention
from tocsin_dispatcher.store.deliveries import retry_delivery
from tocsin_dispatcher.store.timeline import story_of
from tocsin_dispatcher.values import AlertStanding, Channel, Outcome, OutcomeKind, Purpose

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

EVENTS = """
SELECT e.happening, e.reason, e.until, e.joined_id, e.at FROM delivery_events e
  JOIN deliveries d ON d.partner_id = e.partner_id AND d.id = e.delivery_id
 WHERE d.channel = :channel ORDER BY e.id
"""


async def history(bench: Bench) -> list[tuple[str, Any]]:
    """What happened and why, in order, of the way's channel."""
    rows = await bench.rows(EVENTS, channel=bench.way.channel)
    return [(row.happening, row.reason) for row in rows]


async def test_what_simply_leaves_has_no_history_besides_its_attempt(benches: MakeBench) -> None:
    """The common case costs nothing more."""
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        pass
    assert await bench.states() == {"sent": 1}
    assert await bench.rows("SELECT 1 FROM delivery_events") == []


async def test_a_night_and_a_recheck_are_written_down(benches: MakeBench) -> None:
    """Held until when and why; asked about before it leaves."""
    bench = await benches()
    await bench.profile()
    await bench.execute(
        "INSERT INTO preferences (partner_id, user_id, quiet_hours_enabled, quiet_hours_start, quiet_hours_end,"
        " updated_at) VALUES (1, 1, true, '00:00', '23:59', :now)",
        now=bench.clock.now(),
    )
    firing = bench.firing()
    bench.standings[firing.id] = AlertStanding.HOLDS
    await bench.intake.take_in([firing])
    async with bench.working():
        (held,) = await bench.rows(EVENTS, channel="email")
        assert (held.happening, held.reason) == ("held", "quiet_hours")
        delivery = await bench.delivery()
        assert held.until == delivery.due_at
        await bench.execute("UPDATE preferences SET quiet_hours_enabled = false")
        await bench.step()
    assert await history(bench) == [("held", "quiet_hours"), ("rechecked", None)]
    assert await bench.states() == {"sent": 1}


async def test_waiting_for_a_provider_is_written_down_once_however_long_it_lasts(benches: MakeBench) -> None:
    """A breaker is asked every minute, by one of those that wait for it."""
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[Outcome(OutcomeKind.ACCOUNT, status=401)] * 100))
    await bench.profile()
    await bench.intake.take_in([bench.firing() for _ in range(5)])
    async with bench.working():
        for _ in range(12):
            await bench.step()
    assert set(await history(bench)) == {("waiting", "breaker_open")}
    counts = await bench.rows(
        "SELECT d.attempt, count(e.*) AS told FROM deliveries d JOIN delivery_events e ON e.delivery_id = d.id"
        " WHERE d.channel = 'email' GROUP BY d.id, d.attempt"
    )
    assert len(counts) == 5
    assert all(row.told <= row.attempt + 1 for row in counts), "once before each call, and once now"


async def test_what_waits_for_a_profile_says_so_once_and_leaves_when_it_comes(benches: MakeBench) -> None:
    """However late: the profile may have been lost on its way, and be sent again by an audit."""
    bench = await benches()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        for _ in range(5):
            await bench.step()
        assert await history(bench) == [("held", "profile_awaited")]
        await bench.profile()
        await bench.quiet()
        assert (await bench.delivery()).status == "sent"


async def test_what_waits_for_a_profile_that_never_comes_ends_when_it_is_of_no_use(benches: MakeBench) -> None:
    bench = await benches()
    await bench.intake.take_in([bench.firing()])
    began = bench.clock.now()
    async with bench.working():
        while (await bench.delivery()).status == "held":
            await bench.step()
    assert bench.clock.now() - began == timedelta(hours=24)
    assert await history(bench) == [("held", "profile_awaited"), ("suppressed", "no_address")]


async def test_plans_merges_displacements_and_releases_are_written_down(benches: MakeBench) -> None:
    """Each names the message that it was joined with."""
    bench = await benches(ScriptedWay(Channel.EMAIL, (BreakerKey("sendgrid", "key"),)))
    await bench.intake.take_in([bench.firing(user_id=2, profile_version=0), bench.firing(user_id=3, profile_version=1)])
    assert sorted(await history(bench)) == [("held", "profile_awaited"), ("suppressed", "no_address")]
    await bench.execute("DELETE FROM deliveries")
    assert await history(bench) == []
    await bench.profile()
    await bench.intake.take_in([bench.firing(purchase_id=5), bench.firing(purchase_id=5)])
    await bench.intake.take_in([bench.firing(purchase_id=5, critical=True)])
    told = await bench.rows(EVENTS, channel="email")
    assert [row.happening for row in told] == ["merged", "merged"], "one joined at once, one was displaced"
    assert all(row.joined_id is not None for row in told)
    bench.way.answers = [Outcome(OutcomeKind.PERMANENT, answer="no")]
    async with bench.working():
        pass
    assert [what for what, _ in await history(bench)] == ["merged", "merged", "released"]


async def test_a_persons_retry_and_the_story_of_it_all(benches: MakeBench) -> None:
    """As the timeline reads it."""
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[Outcome(OutcomeKind.PERMANENT, answer="no")]))
    await bench.profile()
    firing = bench.firing()
    await bench.intake.take_in([firing])
    async with bench.working():
        failed = await bench.delivery()
        async with bench.engine.begin() as connection:
            later = bench.clock.now() + timedelta(hours=1)
            key = DeliveryKey(failed.partner_id, failed.id)
            assert await retry_delivery(connection, key, bench.clock.now(), later)
            assert await retry_delivery(connection, key, bench.clock.now(), later) is None
    assert await history(bench) == [("retried", None)]
    async with bench.engine.connect() as connection:
        story = await story_of(connection, 1, 1, firing.id)
        assert await story_of(connection, 1, 2, firing.id) is None
        assert await story_of(connection, 2, 1, firing.id) is None
        assert await story_of(connection, 1, None, firing.id) == story
    assert story is not None
    (inbox, email) = sorted(story.courses, key=lambda course: course.delivery.channel is Channel.EMAIL)
    assert [course.delivery.purpose for course in story.courses] == [Purpose.ALERT] * 2
    assert [one.happening.value for one in email.happenings] == ["retried"]
    assert inbox.happenings == ()
    assert story.notification.context == firing.context


async def test_an_expiry_that_a_look_up_leads_to_is_written_down(benches: MakeBench) -> None:
    """Nobody could say for a day what became of it."""
    way = ScriptedWay(Channel.SMS, answers=[Outcome(OutcomeKind.UNKNOWN)], found=[Outcome(OutcomeKind.UNKNOWN)] * 9999)
    way.look_up = way
    bench = await benches(way)
    await bench.profile()
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        await bench.execute("UPDATE deliveries SET expires_at = :soon", soon=bench.clock.now() + timedelta(minutes=3))
        while (await bench.delivery()).status == "unknown":
            await bench.step()
    assert await history(bench) == [("expired", "expired")]


async def test_history_lives_as_long_as_its_delivery_and_everything_old_is_forgotten(benches: MakeBench) -> None:
    """Whatever is to be forgotten has a time, and the other way round."""
    bench = await benches()
    keep = DispatcherSettings.model_construct(
        keep_notifications=timedelta(days=365), keep_deliveries=timedelta(days=180), keep_receipts=timedelta(days=30)
    ).keep
    assert set(keep) == set(retention.FORGET)
    await bench.intake.take_in([bench.firing(profile_version=0)])
    assert len(await bench.rows("SELECT 1 FROM delivery_events")) == 1
    await bench.execute(
        "INSERT INTO verifications VALUES (1, 1, 'sms', :id, '', '', '', 0, :at, :at)",
        id=bench.ids.uuid7(),
        at=bench.clock.now(),
    )
    await bench.execute("INSERT INTO verification_counts VALUES (1, 'user', '', :day, 1)", day=bench.clock.now().date())
    forget = Retention(bench.engine, bench.clock, timedelta(days=90), keep)

    async def progress(done: int, total: int) -> None:
        """Nobody looks."""

    bench.clock.move_to(bench.clock.now() + timedelta(days=179))
    await forget(None, progress)  # type: ignore[arg-type]
    assert len(await bench.rows("SELECT 1 FROM delivery_events")) == 1
    left = "SELECT count(*) AS many FROM verifications UNION ALL SELECT count(*) FROM verification_counts"
    assert [row.many for row in await bench.rows(left)] == [0, 0]
    bench.clock.move_to(bench.clock.now() + timedelta(days=2))
    await forget(None, progress)  # type: ignore[arg-type]
    assert await bench.rows("SELECT 1 FROM delivery_events") == []
