"""Alembic, one history per service, applied under an advisory lock so that any number may try at once."""

from __future__ import annotations

import asyncio
from importlib.resources import as_file, files

from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_LOCK = 7_461_637_369  # any constant of our own: one migration at a time per database


def _config(package: str, location: str, url: str | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", location)
    config.attributes["url"] = url
    config.attributes["package"] = package
    return config


def head(package: str) -> str:
    """The newest revision that `package` brings."""
    with as_file(files(package) / "migrations") as location:
        revision = ScriptDirectory.from_config(_config(package, str(location))).get_current_head()
    if revision is None:
        raise LookupError(f"{package} has no migrations")
    return revision


async def migrate(database_url: str, package: str) -> str:
    """Bring the database to the newest revision of `package` (for example tocsin_evaluator); return it."""
    with as_file(files(package) / "migrations") as location:
        config = _config(package, str(location), database_url)
        await asyncio.to_thread(command.upgrade, config, "head")
    return head(package)


async def schema_is_ready(engine: AsyncEngine, package: str) -> bool:
    """Whether the database is at least at the revision this code needs (a later, unknown one is fine)."""
    with as_file(files(package) / "migrations") as location:
        scripts = ScriptDirectory.from_config(_config(package, str(location)))
        known = [script.revision for script in scripts.walk_revisions()]
    async with engine.connect() as connection:
        exists = await connection.scalar(text("SELECT to_regclass('alembic_version')"))
        current = await connection.scalar(text("SELECT version_num FROM alembic_version")) if exists else None
    return current is not None and (current == known[0] or current not in known)


def run_env(metadata: MetaData) -> None:
    """The body of a service's migrations/env.py."""
    url = context.config.attributes["url"]
    asyncio.run(_run(url, metadata))


async def _run(url: str, metadata: MetaData) -> None:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade, metadata)
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, metadata: MetaData) -> None:
    connection.execute(text("SET lock_timeout = '10s'"))
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
    try:
        context.configure(connection=connection, target_metadata=metadata, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
