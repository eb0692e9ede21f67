"""What a lane asks the database for."""

from collections import Counter

from sqlalchemy import event

from tocsin_dispatcher.values import WorkClass

from .bench import Bench
from .conftest import MakeBench


def counted(bench: Bench) -> Counter[str]:
    """How often the replica claims and asks what is due, from now on."""
    asked: Counter[str] = Counter()

    def note(*said: object) -> None:
        sql = str(said[2])
        asked["claim"] += "WITH RECURSIVE waiting" in sql
        asked["due"] += "min(d.due_at)" in sql

    event.listen(bench.engine.sync_engine, "before_cursor_execute", note)
    return asked


async def test_while_all_its_slots_are_taken_it_asks_what_is_due_once_for_each_claim(benches: MakeBench) -> None:
    bench = await benches(slots=4)
    await bench.profile()
    await bench.intake.take_in([bench.firing(work_class=WorkClass.PERIODIC) for _ in range(9)])
    asked = counted(bench)
    async with bench.working():
        pass
    assert len(bench.way.calls) == 9
    assert asked["claim"] == 3, "three of the four slots are not realtime's"
    assert asked["due"] < 2 * asked["claim"]


async def test_what_becomes_due_after_a_claim_is_known_without_a_bell(benches: MakeBench) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing(), bench.firing()])
    await bench.execute(
        "UPDATE deliveries SET due_at = due_at + interval '30 seconds'"
        " WHERE id = (SELECT id FROM deliveries WHERE channel = 'email' ORDER BY id LIMIT 1)"
    )
    async with bench.working():
        assert len(bench.way.calls) == 1
        assert await bench.step() == bench.clock.now()
        assert len(bench.way.calls) == 2
