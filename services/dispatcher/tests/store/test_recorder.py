"""Outcomes as they are written: with whatever a provider says, once for each attempt."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.values import Channel, Outcome, OutcomeKind

from .bench import ScriptedWay
from .conftest import MakeBench

NASTY = "a\0b\ud800c"


@pytest.mark.parametrize(
    ("outcome", "ends"),
    [
        (Outcome(OutcomeKind.PERMANENT, status=400, code=NASTY, answer=NASTY), "failed"),
        (Outcome(OutcomeKind.TRANSIENT, status=500, answer=NASTY), "retrying"),
        (Outcome(OutcomeKind.ACCEPTED, provider_id=NASTY), "sent"),
    ],
)
async def test_an_answer_that_cannot_be_stored_costs_its_words_and_nothing_else(
    benches: MakeBench, outcome: Outcome, ends: str
) -> None:
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[outcome]))
    for user_id in range(1, 6):
        await bench.profile(user_id)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in range(1, 6)])
    async with bench.working():
        rows = await bench.rows(
            "SELECT d.status, a.outcome, a.answer FROM attempts a JOIN deliveries d ON d.id = a.delivery_id"
        )
    told = sorted((row.status, row.outcome, row.answer) for row in rows)
    unsaid = (ends, outcome.kind.value, "the provider's answer cannot be stored")
    assert told == sorted([unsaid, *[("sent", "accepted", "")] * 4])


async def test_an_answer_that_cannot_be_stored_opens_a_breaker_as_any_other(benches: MakeBench) -> None:
    nasty = Outcome(OutcomeKind.TRANSIENT, status=500, answer=NASTY)
    bench = await benches(ScriptedWay(Channel.EMAIL, answers=[nasty] * 5))
    for user_id in range(1, 6):
        await bench.profile(user_id)
    await bench.intake.take_in([bench.firing(user_id=user_id) for user_id in range(1, 6)])
    async with bench.working():
        pass
    assert await bench.states() == {"retrying": 5}
    assert [tuple(row) for row in await bench.rows("SELECT state, reason FROM breakers")] == [("open", "ab?c")]


async def test_a_result_that_waits_longer_than_its_lease_is_not_taken_for_lost(
    benches: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database lets the worker wait with its outcome until its own lease is over, and it claims what it has."""
    bench = await benches()
    await bench.profile()
    database, claimed_again = asyncio.Event(), asyncio.Event()
    write = bench.recorder._write
    split = bench.batches.split

    async def write_later(settled: Sequence[Any]) -> None:
        await database.wait()
        await write(settled)

    def note(claims: Sequence[Claimed]) -> Any:
        if bench.way.calls:
            claimed_again.set()
        return split(claims)

    monkeypatch.setattr(bench.recorder, "_write", write_later)
    monkeypatch.setattr(bench.batches, "split", note)
    await bench.intake.take_in([bench.firing()])
    part = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        await bench.way.begun.acquire()
        bench.clock.advance(timedelta(minutes=2))
        await claimed_again.wait()
        database.set()
        await bench.quiet()
        bench.stopping.set()
        await part
    attempts = await bench.rows("SELECT outcome, possible_duplicate FROM attempts")
    assert [tuple(row) for row in attempts] == [("accepted", False)]
    assert (await bench.delivery()).status == "sent"
