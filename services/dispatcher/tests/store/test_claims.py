"""What a round claims: of each partner its share."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from tocsin_dispatcher.store.claims import claim, last_served
from tocsin_dispatcher.values import Channel, WorkClass

from .bench import Bench
from .conftest import MakeBench

TOMORROW = datetime(2025, 11, 4, 12, tzinfo=UTC)


async def planned(bench: Bench, partner_id: int, count: int, work_class: WorkClass = WorkClass.PERIODIC) -> None:
    """So many e-mails of a partner, due a second after those planned before."""
    bench.clock.advance(timedelta(seconds=1))
    await bench.profile(partner_id=partner_id)
    await bench.intake.take_in([bench.firing(partner_id=partner_id, work_class=work_class) for _ in range(count)])


async def claimed(bench: Bench, slots: int, *classes: WorkClass) -> Counter[tuple[int, str]]:
    """How many a round claims, by partner and class."""
    now = bench.clock.now()
    async with bench.engine.begin() as connection:
        claims = await claim(connection, Channel.EMAIL, classes, slots, now, now + timedelta(minutes=1))
    return Counter((one.delivery.partner_id, one.delivery.work_class.value) for one in claims)


async def test_the_backlog_of_a_partner_leaves_the_others_their_share(benches: MakeBench) -> None:
    bench = await benches()
    await planned(bench, 1, 300)
    await planned(bench, 2, 5)
    assert await claimed(bench, 50, WorkClass.PERIODIC) == {(1, "periodic"): 45, (2, "periodic"): 5}
    assert await claimed(bench, 50, WorkClass.PERIODIC) == {(1, "periodic"): 50}


async def test_partners_that_wait_for_later_take_no_share(benches: MakeBench) -> None:
    bench = await benches()
    for partner_id in range(2, 20):
        await planned(bench, partner_id, 1)
    await bench.execute("UPDATE deliveries SET due_at = :at WHERE channel = 'email'", at=TOMORROW)
    await planned(bench, 1, 10)
    assert await claimed(bench, 4, WorkClass.PERIODIC) == {(1, "periodic"): 4}


async def test_the_partner_that_follows_the_last_one_begins(benches: MakeBench) -> None:
    bench = await benches()
    for partner_id in range(1, 7):
        await planned(bench, partner_id, 3)
    after, rounds = 0, []
    for _ in range(3):
        now = bench.clock.now()
        async with bench.engine.begin() as connection:
            claims = await claim(
                connection, Channel.EMAIL, [WorkClass.PERIODIC], 4, now, now + timedelta(minutes=1), after
            )
        after = last_served(claims, after)
        rounds.append(sorted(one.delivery.partner_id for one in claims))
    assert rounds == [[1, 2, 3, 4], [1, 2, 5, 6], [3, 4, 5, 6]]


async def test_a_lane_whose_slots_become_free_one_by_one_serves_partners_in_turn(benches: MakeBench) -> None:
    bench = await benches(slots=1)
    await planned(bench, 1, 5)
    await planned(bench, 2, 2)
    async with bench.working():
        pass
    assert [attempt.partner_id for _, attempt in bench.way.calls] == [1, 2, 1, 2, 1, 1, 1]


async def test_classes_take_turns_within_a_partner(benches: MakeBench) -> None:
    bench = await benches()
    await planned(bench, 1, 40)
    await planned(bench, 1, 5, WorkClass.USER)
    found = await claimed(bench, 20, WorkClass.USER, WorkClass.PERIODIC, WorkClass.BILLS)
    assert found == {(1, "periodic"): 15, (1, "user"): 5}
