"""Replicas over a fresh database."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_kit.clock import SteppedClock

from .bench import Bench

MakeBench = Callable[[], Awaitable[Bench]]


@pytest_asyncio.fixture
async def make_bench(make_database: MakeDatabase, clock: SteppedClock) -> AsyncIterator[MakeBench]:
    """Benches over one fresh database, each a replica of its own."""
    url = await make_database("scheduler")
    benches: list[Bench] = []

    async def make() -> Bench:
        benches.append(Bench.on(url, clock, len(benches)))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.engine.dispose()


@pytest_asyncio.fixture
async def bench(make_bench: MakeBench) -> Bench:
    """One replica over a fresh database."""
    return await make_bench()
