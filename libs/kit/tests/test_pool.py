"""The pool: what DATABASE_POOL_MIN and DATABASE_POOL_MAX do on a real server."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_kit.postgres.engine import OpenPool, make_engine, reads
from tocsin_kit.settings import ServiceSettings


def settings(url: str, least: int, most: int) -> ServiceSettings:
    said = {"TOCSIN_ENV": "dev", "DATABASE_URL": url, "TOCSIN_INTERNAL_KEY": "k" * 32}
    return ServiceSettings.model_validate({**said, "DATABASE_POOL_MIN": least, "DATABASE_POOL_MAX": most})


async def opened(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        count = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool under test'")
        return int(await connection.scalar(count) or 0)


@pytest.mark.parametrize(("least", "most", "wanted"), [(4, 20, 4), (0, 20, 1), (3, 3, 3)])
async def test_the_pool_opens_its_least_connections_by_itself_and_never_more_than_its_most(
    make_database: MakeDatabase, least: int, most: int, wanted: int
) -> None:
    asked = settings(await make_database("gateway"), least, most)
    engine, stopping = make_engine(asked, "pool under test"), asyncio.Event()
    stopping.set()  # it opens all the same, and is done then
    try:
        async with asyncio.timeout(20):
            await OpenPool(engine, asked).run(stopping)
        assert await opened(engine) == wanted
    finally:
        await engine.dispose()


async def test_a_database_that_is_away_keeps_no_service_from_starting() -> None:
    asked = settings("postgresql://nobody@127.0.0.1:1/none", 3, 5)
    engine, stopping = make_engine(asked, "pool under test"), asyncio.Event()
    stopping.set()
    async with asyncio.timeout(20):
        await OpenPool(engine, asked).run(stopping)
    await engine.dispose()


async def test_what_only_reads_opens_no_transaction_and_what_follows_on_its_connection_does(
    make_database: MakeDatabase,
) -> None:
    engine = make_engine(settings(await make_database("gateway"), 0, 1), "pool under test")
    started = text("SELECT pg_current_xact_id()")  # a new one for each transaction
    try:
        async with reads(engine).connect() as connection:
            first, second = [await connection.scalar(started) for _ in range(2)]
        async with engine.connect() as connection:
            third, fourth = [await connection.scalar(started) for _ in range(2)]
    finally:
        await engine.dispose()
    assert first != second, "each statement stood alone"
    assert third == fourth, "the pool's other users have their transaction"
