"""What a lane asks the database for."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event

from tocsin_dispatcher.delivering.batch import Piece
from tocsin_dispatcher.delivering.gatekeeper import Admitted
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.values import AlertStanding, Channel, WorkClass

from .bench import Bench, ScriptedWay
from .conftest import MakeBench
from .test_digests import MORNING, held, sleeper

Admit = Callable[[Sequence[Claimed], Mapping[UUID, AlertStanding]], Awaitable[Sequence[Admitted]]]


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


async def test_what_a_digest_brings_along_keeps_no_urgent_message_back(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the evaluator is asked about the members, which are more than there are slots."""
    bench = await benches(slots=20)
    await bench.profile(user_id=2)
    await sleeper(bench)
    await held(bench, 60, work_class=WorkClass.PERIODIC)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def recheck(firings: Sequence[tuple[int, UUID]]) -> Mapping[UUID, AlertStanding]:
        asked.set()
        await answer.wait()
        return {}

    monkeypatch.setattr(bench.batches, "_recheck", recheck)
    bench.clock.move_to(MORNING)
    working = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        await asked.wait()
        await bench.intake.take_in([bench.firing(user_id=2, critical=True)])
        await bench.way.begun.acquire()
    assert [one.user_id for one in bench.way.brought] == [2]
    answer.set()
    bench.stopping.set()
    await working
    assert bench.lane._slots.used == bench.lane._slots.brought == 0


async def test_a_provider_that_takes_few_at_once_has_few_waiting_for_it_and_the_urgent_wait_for_none(
    benches: MakeBench,
) -> None:
    way = ScriptedWay(Channel.EMAIL, block=asyncio.Event())
    way.rooms = {way.chain[0]: 8}
    bench = await benches(way, slots=50)
    await bench.profile(user_id=1)
    await bench.profile(user_id=2)
    await bench.intake.take_in([bench.firing(user_id=1, work_class=WorkClass.PERIODIC) for _ in range(9)])
    working = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        for _ in range(6):
            await way.begun.acquire()
        await bench.intake.take_in([bench.firing(user_id=2)])
        await way.begun.acquire()
        assert [one.user_id for one in way.brought] == [1, 1, 1, 1, 1, 1, 2]
        assert way.block is not None
        way.block.set()
        for _ in range(3):
            await way.begun.acquire()
    bench.stopping.set()
    await working


async def test_what_is_claimed_and_not_begun_when_it_is_told_to_stop_is_another_s_at_once(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await benches()
    await bench.profile()
    await bench.intake.take_in([bench.firing(), bench.firing()])
    split = bench.batches.split

    def told_to_stop(claims: Sequence[Claimed]) -> list[tuple[Piece, Sequence[Claimed]]]:
        bench.stopping.set()
        return split(claims)

    monkeypatch.setattr(bench.batches, "split", told_to_stop)
    async with asyncio.timeout(20):
        await bench.lane.run(bench.stopping)
    assert not bench.way.calls
    waiting = await bench.rows("SELECT status, leased_until, due_at FROM deliveries WHERE channel = 'email'")
    assert [tuple(row) for row in waiting] == 2 * [("pending", None, bench.clock.now())]


class ClosedGate:
    """Holds up whoever comes until they may pass, and keeps how many came each time."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self.sizes: list[int] = []
        self.came, self.may_pass = asyncio.Semaphore(0), asyncio.Event()

    async def admit(self, claims: Sequence[Claimed], standings: Mapping[UUID, AlertStanding]) -> Sequence[Admitted]:
        self.sizes.append(len(claims))
        self.came.release()
        await self.may_pass.wait()
        return await self._admit(claims, standings)


async def test_who_is_held_up_at_the_gate_takes_three_connections_and_no_more(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await benches()
    await bench.profile()
    gate = ClosedGate(bench.gatekeeper.admit)
    monkeypatch.setattr(bench.gatekeeper, "admit", gate.admit)
    working = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        for _ in range(3):
            await bench.intake.take_in([bench.firing()])
            await gate.came.acquire()
            bench.clock.move_to(bench.clock.now() + timedelta(milliseconds=200))
        for _ in range(3):
            await bench.intake.take_in([bench.firing()])
        for _ in range(20):
            await bench.rows("SELECT 1 AS the_lane_has_a_turn")
        assert gate.sizes == [1, 1, 1]
        gate.may_pass.set()
        for _ in range(6):
            await bench.way.begun.acquire()
    bench.stopping.set()
    await working
    assert gate.sizes == [1, 1, 1, 3]


async def test_what_comes_while_some_are_at_the_gate_goes_through_it_together(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await benches()
    await bench.profile()
    gate = ClosedGate(bench.gatekeeper.admit)
    monkeypatch.setattr(bench.gatekeeper, "admit", gate.admit)
    working = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        await bench.intake.take_in([bench.firing()])
        await gate.came.acquire()
        for _ in range(3):
            await bench.intake.take_in([bench.firing()])
        gate.may_pass.set()
        for _ in range(4):
            await bench.way.begun.acquire()
    bench.stopping.set()
    await working
    assert gate.sizes == [1, 3]
