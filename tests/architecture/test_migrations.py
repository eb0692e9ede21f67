"""Each service's migrations make what its tables say. `make check` asks this too."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_dispatcher.store.tables import metadata as dispatcher
from tocsin_evaluator.store.tables import metadata as evaluator
from tocsin_gateway.store.tables import metadata as gateway
from tocsin_scheduler.store.tables import metadata as scheduler

MODELS = {"dispatcher": dispatcher, "evaluator": evaluator, "gateway": gateway, "scheduler": scheduler}


@pytest.mark.parametrize(("service", "model"), MODELS.items(), ids=MODELS)
async def test_migrations_make_what_the_tables_say(make_database: MakeDatabase, service: str, model: MetaData) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": model})
        return [each for each in compare_metadata(context, model) if "alembic_version" not in str(each)]

    engine = create_async_engine(make_url(await make_database(service)).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()
