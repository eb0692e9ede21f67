"""The evaluator's insides over a real database: facts in, firings out, without gRPC and NATS."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_kit.clock import SteppedClock

from .support import Bench


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long`, where a file or folder of these tests is named on the command line."""
    parser.addoption("--long", action="store_true", help="let tests under load last as long as the design says")


@pytest_asyncio.fixture
async def make_bench(make_database: MakeDatabase, clock: SteppedClock) -> AsyncIterator[Callable[[], Awaitable[Bench]]]:
    """Benches over one fresh database, each a replica of its own."""
    url = await make_database("evaluator")
    benches: list[Bench] = []

    async def make() -> Bench:
        benches.append(Bench.on(url, clock, f"replica-{len(benches)}", CollectorRegistry()))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.engine.dispose()


@pytest_asyncio.fixture
async def bench(make_bench: Callable[[], Awaitable[Bench]]) -> Bench:
    """One replica over a fresh database."""
    return await make_bench()
