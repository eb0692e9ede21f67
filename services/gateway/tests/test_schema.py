"""The statements that matter use their indexes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin_devstack.fixtures import MakeDatabase


@pytest_asyncio.fixture
async def engine(make_database: MakeDatabase) -> AsyncIterator[AsyncEngine]:
    """A migrated database of the gateway."""
    url = make_url(await make_database("gateway")).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url)
    yield engine
    await engine.dispose()


FILL = (
    "INSERT INTO callbacks (id, provider, received_at, url, headers, body, verified, handed_on_at, arrived_at)"
    " SELECT uuidv7(), 'sendgrid', at, '/', '{}', '', true, at, CASE WHEN n % 1000 > 0 THEN at END"
    " FROM (SELECT n, timestamptz '2025-11-03Z' + n * interval '1 second' AS at FROM generate_series(1, 20000) n) x"
)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (
            "SELECT handed_on_at, id FROM callbacks WHERE arrived_at IS NULL"
            " AND handed_on_at < timestamptz '2025-11-04Z' ORDER BY handed_on_at, id LIMIT 1000",
            "callbacks_not_known_to_have_arrived",
        ),
        (
            "SELECT id FROM callbacks WHERE received_at < timestamptz '2025-11-03 00:10Z'"
            " ORDER BY received_at LIMIT 1000 FOR UPDATE SKIP LOCKED",
            "callbacks_by_age",
        ),
    ],
)
async def test_a_statement_that_matters_uses_its_index_on_a_large_table(
    engine: AsyncEngine, statement: str, index: str
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(FILL))
        await connection.execute(text("ANALYZE callbacks"))
        plan = (await connection.execute(text(f"EXPLAIN {statement}"))).scalars().all()
    assert index in "\n".join(plan), "\n".join(plan)
