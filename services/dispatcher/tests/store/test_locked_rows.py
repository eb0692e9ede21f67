"""Rows that somebody else has locked and does not let go: another replica that stands still, or a console."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event, text
from structlog.testing import capture_logs

from tocsin_dispatcher.delivering.gatekeeper import Admitted
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.locks import LOCKED_FOR
from tocsin_dispatcher.values import AlertStanding, Outcome, OutcomeKind, WorkClass

from .bench import Bench
from .conftest import MakeBench

#: In the table that is named after them.
LOCKED = {
    "counters": "SELECT FROM counters WHERE user_id IN (3, 5, 7) FOR UPDATE",
    "unread": "SELECT FROM unread WHERE user_id IN (3, 5, 7) FOR UPDATE",
    "deliveries": "SELECT FROM deliveries WHERE user_id IN (3, 5, 7) AND channel = 'email' FOR UPDATE",
    "breakers": "SELECT FROM breakers FOR UPDATE",
}
#: Who waits for a lock in this database.
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
USERS = range(1, 9)
OTHERS = [1, 2, 4, 6, 8]


async def known(bench: Bench, users: Sequence[int] = USERS) -> None:
    """People who had something before: all their rows are there."""
    for user_id in users:
        await bench.profile(user_id=user_id)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in users])
    async with bench.working():
        pass
    bench.way.calls.clear()
    bench.way.brought.clear()


@asynccontextmanager
async def locked(bench: Bench, table: str) -> AsyncIterator[None]:
    """Somebody has locked rows of a table until the block ends."""
    async with asyncio.timeout(60), bench.engine.connect() as hanging:
        await hanging.execute(text(LOCKED[table]))
        yield
        await hanging.rollback()


def told(bench: Bench) -> list[int]:
    """Who was called for."""
    return [one.user_id for one in bench.way.brought]


async def test_who_is_held_up_at_the_gate_keeps_no_urgent_message_back(benches: MakeBench) -> None:
    bench = await benches()
    await known(bench)
    async with locked(bench, "counters"):
        working = asyncio.create_task(bench.lane.run(bench.stopping))
        await bench.intake.take_in([bench.firing(user_id=3, work_class=WorkClass.PERIODIC)])
        while not await bench.rows(WAITING):
            pass
        bench.clock.move_to(bench.clock.now() + timedelta(milliseconds=200))
        await bench.intake.take_in([bench.firing(user_id=2, critical=True)])
        await bench.way.begun.acquire()
        while not told(bench):
            await bench.way.begun.acquire()
        assert told(bench) == [2]
        await bench.quiet()
    await bench.step()
    assert told(bench) == [2, 3]
    bench.stopping.set()
    await working


async def test_people_whose_counters_are_locked_keep_nobody_else_s_message_back(benches: MakeBench) -> None:
    """All others leave in one transaction: no attempt is written that waits for another's lock."""
    bench = await benches()
    await known(bench)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in USERS])
    with capture_logs() as said:
        async with locked(bench, "counters"), bench.working():
            assert sorted(told(bench)) == OTHERS
    assert [(line["event"], line["deliveries"]) for line in said] == [("locked_by_others", 3)]
    async with bench.working():
        before = bench.clock.now()
        assert await bench.step() <= before + LOCKED_FOR
        assert sorted(told(bench)[len(OTHERS) :]) == [3, 5, 7]
    assert await bench.states() == {"sent": 2 * len(USERS)}
    assert {attempt.number for _, attempt in bench.way.calls} == {1}, "nobody was called for twice"


async def test_people_whose_inboxes_are_locked_keep_nobody_else_s_message_back(benches: MakeBench) -> None:
    """Messages that end at the gate lock inboxes: these expire."""
    bench = await benches()
    await known(bench)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in USERS])
    await bench.execute("UPDATE deliveries SET expires_at = created_at WHERE status = 'pending' AND user_id IN (1, 3)")
    async with locked(bench, "unread"), bench.working():
        assert await bench.states() == {"sent": len(USERS) + len(OTHERS) - 1, "expired": 1, "pending": 3}
    async with bench.working():
        await bench.step()
    assert await bench.states() == {"sent": 2 * len(USERS) - 2, "expired": 2}


async def test_where_what_belongs_to_nobody_is_locked_all_wait_and_leave_once(benches: MakeBench) -> None:
    """A provider's breaker: somebody at a console is about to change it."""
    bench = await benches()
    await known(bench)
    await bench.execute(
        "INSERT INTO breakers (provider, subject, state, since, failures, successes, reason)"
        " VALUES ('first', 'key', 'closed', TIMESTAMPTZ 'epoch', 0, 0, '')"
    )
    board, first = bench.gatekeeper._board, bench.way.chain[0]
    board.admit_first([first], critical=False)
    board.record(first, Outcome(OutcomeKind.TRANSIENT, answer="500"), bench.clock.now())
    await bench.intake.take_in([bench.firing(user_id=user_id, critical=user_id == 8) for user_id in USERS])
    with capture_logs() as said:
        async with locked(bench, "breakers"), bench.working():
            assert not told(bench)
    assert [(line["event"], line["deliveries"]) for line in said] == [("gate_locked", len(USERS))]
    began = bench.clock.now()
    async with bench.working():
        sizes = []
        while len(told(bench)) < len(USERS):
            before = len(told(bench))
            await bench.step()
            sizes.append(len(told(bench)) - before)
    assert set(sizes) == {1}, "they come back apart: what one of them has locked would keep the others again"
    assert told(bench) == [8, *range(1, 8)], "the critical one first"
    assert bench.clock.now() < began + 2 * LOCKED_FOR


async def test_deliveries_that_are_locked_between_claim_and_gate_wait_out_their_claim(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await benches()
    await known(bench)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in USERS])
    admit = bench.gatekeeper.admit
    async with asyncio.timeout(60), bench.engine.connect() as hanging:

        async def admitted_beside(
            claims: Sequence[Claimed], standings: Mapping[UUID, AlertStanding]
        ) -> Sequence[Admitted]:
            monkeypatch.undo()
            await hanging.execute(text(LOCKED["deliveries"]))
            return await admit(claims, standings)

        monkeypatch.setattr(bench.gatekeeper, "admit", admitted_beside)
        async with bench.working():
            assert sorted(told(bench)) == OTHERS
        await hanging.rollback()
    async with bench.working():
        await bench.step()
        assert sorted(told(bench)[len(OTHERS) :]) == [3, 5, 7]
    assert await bench.states() == {"sent": 2 * len(USERS)}


async def test_a_lane_does_not_ask_without_a_pause_for_what_is_locked(benches: MakeBench) -> None:
    bench = await benches()
    await known(bench)
    await bench.intake.take_in([bench.firing(user_id=3)])
    rounds = 0

    def note(*said: object) -> None:
        nonlocal rounds
        rounds += "min(d.due_at)" in str(said[2])

    event.listen(bench.engine.sync_engine, "before_cursor_execute", note)
    async with locked(bench, "deliveries"):
        clock = asyncio.get_running_loop().time
        working, began = asyncio.create_task(bench.lane.run(bench.stopping)), clock()
        while rounds < 11:
            await bench.rows("SELECT 1 AS the_lane_has_a_turn")
        took = clock() - began
        bench.stopping.set()
        await working
    assert took > 10 * 0.05


async def test_an_attempt_whose_claim_has_lapsed_is_not_made_after_the_next_one(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process stood still between the attempt's commit and its call."""
    bench = await benches()
    await bench.profile()
    admit = bench.gatekeeper.admit

    async def stands_still(claims: Sequence[Claimed], standings: Mapping[UUID, AlertStanding]) -> Sequence[Admitted]:
        admitted = await admit(claims, standings)
        monkeypatch.undo()
        bench.clock.move_to(bench.clock.now() + timedelta(minutes=1))
        return admitted

    monkeypatch.setattr(bench.gatekeeper, "admit", stands_still)
    await bench.intake.take_in([bench.firing()])
    async with bench.working():
        assert not bench.way.calls
        assert await bench.states() == {"retrying": 1}
        await bench.step()
    assert [(attempt.number, attempt.possible_duplicate) for _, attempt in bench.way.calls] == [(2, True)]
    assert await bench.states() == {"sent": 1}
