"""Replicas over a fresh database."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import timedelta
from typing import Protocol

import pytest_asyncio

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_dispatcher.values import Channel
from tocsin_kit.clock import SteppedClock

from .bench import Bench, ScriptedWay, make_bench


class MakeBench(Protocol):
    """Makes a replica over the test's one database."""

    def __call__(
        self,
        way: ScriptedWay | None = None,
        *,
        slots: int = 50,
        lease: timedelta = timedelta(minutes=1),
        paces: Mapping[str, int] | None = None,
    ) -> Awaitable[Bench]:
        """With this way out; e-mail by default."""
        ...


@pytest_asyncio.fixture
async def benches(make_database: MakeDatabase, clock: SteppedClock) -> AsyncIterator[MakeBench]:
    """Replicas over one fresh database."""
    url = await make_database("dispatcher")
    made: list[Bench] = []

    async def make(
        way: ScriptedWay | None = None,
        *,
        slots: int = 50,
        lease: timedelta = timedelta(minutes=1),
        paces: Mapping[str, int] | None = None,
    ) -> Bench:
        way = way or ScriptedWay(Channel.EMAIL)
        bench = make_bench(url, clock, len(made), way, slots=slots, lease=lease, paces=paces)
        made.append(bench)
        return bench

    yield make
    for bench in made:
        await bench.engine.dispose()
