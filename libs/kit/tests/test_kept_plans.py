"""Plans are kept once the statistics know the tables, and while they do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_kit.postgres.engine import reads
from tocsin_kit.postgres.kept_plans import KeptPlans
from tocsin_kit.transient import is_transient

KEPT, CHOSEN = ("force_generic_plan", "off"), ("auto", "on")


@asynccontextmanager
async def pool(make_database: MakeDatabase, size: int = 2) -> AsyncIterator[AsyncEngine]:
    """On a database with two tables."""
    url = make_url(await make_database("gateway", migrated=False)).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, pool_size=size, max_overflow=0)
    try:
        for name in ("one", "other"):
            await run(engine, f"CREATE TABLE {name} (n bigint) WITH (autovacuum_enabled = off)")
        yield engine
    finally:
        await engine.dispose()


async def run(engine: AsyncEngine, sql: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(sql))


async def said(engine: AsyncEngine) -> tuple[str, str]:
    """How a connection of the pool plans now."""
    asked = text("SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan')")
    async with engine.connect() as connection:
        mode, scans = (await connection.execute(asked)).one()
    return str(mode), str(scans)


async def test_they_are_kept_while_the_statistics_know_the_tables(make_database: MakeDatabase) -> None:
    """Not of empty tables, not before the server has counted, not while one has outgrown what was counted."""
    async with pool(make_database) as engine:
        plans = KeptPlans(engine, ("one", "other"))
        for sql, wanted in (
            ("SELECT 'as they are made'", CHOSEN),
            ("INSERT INTO one SELECT generate_series(1, 6000)", CHOSEN),
            ("ANALYZE one", CHOSEN),
            ("INSERT INTO other SELECT generate_series(1, 6000)", CHOSEN),
            ("ANALYZE other", KEPT),
            ("INSERT INTO one SELECT generate_series(1, 50000)", CHOSEN),
            ("ANALYZE one", KEPT),
        ):
            await run(engine, sql)
            await plans.round()
            assert await said(engine) == wanted, sql


async def test_every_connection_hears_of_it_and_keeps_it(make_database: MakeDatabase) -> None:
    """Also one that was open before, one that only reads, and after a transaction that was rolled back."""
    async with pool(make_database) as engine:
        plans = KeptPlans(engine, ("one",))
        async with engine.connect() as one, engine.connect() as other:
            await one.scalar(text("SELECT 1"))
            await other.scalar(text("SELECT 1"))
        await run(engine, "INSERT INTO one SELECT generate_series(1, 20000)")
        await run(engine, "ANALYZE one")
        await plans.round()
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.rollback()
            assert await said(engine) == KEPT
            assert await connection.scalar(text("SELECT current_setting('plan_cache_mode')")) == KEPT[0]
        assert await said(reads(engine)) == KEPT


async def test_a_connection_that_is_lost_fails_at_its_statement_as_ever(make_database: MakeDatabase) -> None:
    """In a way that callers know as passing; the next one is a new one, and told."""
    async with pool(make_database, size=1) as engine:
        async with engine.connect() as connection:
            lost = await connection.scalar(text("SELECT pg_backend_pid()"))
        other = create_async_engine(engine.url)
        async with other.connect() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:lost, 5000)"), {"lost": lost})
        await other.dispose()
        KeptPlans(engine, ("one",))
        with pytest.raises(SQLAlchemyError) as failed:
            await said(engine)
        assert is_transient(failed.value)
        assert await said(engine) == CHOSEN


async def test_a_table_that_is_not_there_is_an_error(make_database: MakeDatabase) -> None:
    async with pool(make_database) as engine:
        with pytest.raises(Exception, match="nowhere"):
            await KeptPlans(engine, ("nowhere",)).round()
