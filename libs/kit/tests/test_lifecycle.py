"""Stopping: in order, in bounded time, and nothing that fails keeps the rest from being closed."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from tocsin_kit.lifecycle import Running, _serve, running
from tocsin_kit.settings import ServiceSettings

SETTINGS = ServiceSettings.model_validate(
    {
        "TOCSIN_ENV": "dev",
        "DATABASE_URL": "postgresql://role@host/name",
        "TOCSIN_INTERNAL_KEY": "k" * 32,
        "TOCSIN_STOP_SECONDS": 1,
    }
)


class Deaf:
    """A part, a server and a pool in one, that never ends by itself."""

    name, port = "deaf", 1

    async def start(self) -> None:
        """Nothing to start."""

    def not_ready(self) -> None:
        """Nobody to tell."""

    async def stop(self, limit: timedelta) -> None:
        await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=limit.total_seconds())

    async def run(self, stopping: asyncio.Event) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_service_whose_every_part_hangs_stops_within_its_time() -> None:
    deaf, loop = Deaf(), asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with running(
            "test", SETTINGS, parts=[deaf], plumbing=[deaf], servers=[deaf], closing=[deaf.close, deaf.close]
        ):
            began = loop.time()
    assert loop.time() - began < 2


async def test_what_cannot_be_closed_is_raised_after_the_rest_is_closed() -> None:
    closed = []

    async def broken() -> None:
        raise ConnectionError("the last flush failed")

    async def good() -> None:
        closed.append("pool")

    with pytest.raises(ConnectionError, match="last flush"):
        async with running("test", SETTINGS, parts=[], closing=[broken, good]):
            pass
    assert closed == ["pool"]


async def test_the_body_s_own_error_comes_first() -> None:
    async def broken() -> None:
        raise ConnectionError("the last flush failed")

    with pytest.raises(KeyError):
        async with running("test", SETTINGS, parts=[], closing=[broken]):
            raise KeyError("the test's")


async def test_a_part_that_fails_is_what_the_service_fails_of() -> None:
    class Failing(Deaf):
        async def run(self, stopping: asyncio.Event) -> None:
            raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        async with running("test", SETTINGS, parts=[Failing()]) as service:
            await service.failed()


@pytest.fixture
def collector() -> Iterator[None]:
    """Puts the garbage collector back as it was."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


async def test_what_a_started_service_is_made_of_is_left_out_of_later_collections(collector: None) -> None:
    modules_alone = len(gc.get_objects())

    @asynccontextmanager
    async def app(*_: object, **__: object) -> AsyncIterator[Running]:
        ends: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, ends.set_exception, LookupError("enough"))
        yield Running("test", {}, ends)

    async with asyncio.timeout(20):
        assert await _serve(app, SETTINGS, "test") == 0
    assert gc.get_freeze_count() > modules_alone / 2
    assert len(gc.get_objects()) < modules_alone / 2
