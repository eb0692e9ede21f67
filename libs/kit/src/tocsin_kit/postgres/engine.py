"""The connection pool and the one way to run a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tocsin_kit.settings import ServiceSettings
from tocsin_kit.transient import LOCK_NOT_AVAILABLE, is_transient, sqlstate

Answer = TypeVar("Answer")
#: Seconds before a failed transaction is run again, doubled each time: who won the deadlock commits meanwhile.
_FIRST_PAUSE = 0.02


def make_engine(settings: ServiceSettings, application: str) -> AsyncEngine:
    """A pool on the service's own database; `application` names it in pg_stat_activity."""
    return create_async_engine(
        make_url(settings.database_url.get_secret_value()).set(drivername="postgresql+asyncpg"),
        # Kept once opened: SQLAlchemy closes what is beyond pool_size at every return, which costs more than it saves.
        # DATABASE_POOL_MIN is what OpenPool opens at the start.
        pool_size=settings.database_pool_max,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=settings.database_pool_timeout,
        pool_pre_ping=False,
        hide_parameters=True,  # errors are logged and reported; rows hold people's affairs
        connect_args={
            "timeout": settings.database_pool_timeout,
            "command_timeout": 60,
            "server_settings": {
                "application_name": application,
                "timezone": "UTC",
                "idle_in_transaction_session_timeout": "60s",
                "jit": "off",
            },
        },
    )


def reads(engine: AsyncEngine) -> AsyncEngine:
    """The same pool, for a statement that only reads and stands alone: it goes without BEGIN and ROLLBACK, which are
    two more journeys to the database. Make it once, not per statement."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


class OpenPool:
    """A Part that opens the first connections of a pool, so that no early caller waits for one.

    A database that is away is no failure: whoever needs a connection opens it then.
    """

    def __init__(self, engine: AsyncEngine, settings: ServiceSettings, name: str = "postgres.pool") -> None:
        self._engine, self._count, self.name = engine, settings.database_pool_min, name

    async def run(self, stopping: asyncio.Event) -> None:
        """Open them, give them back, and wait for `stopping`."""
        try:
            async with AsyncExitStack() as opened:
                for _ in range(self._count):
                    await opened.enter_async_context(self._engine.connect())
        except Exception as error:
            if not is_transient(error):
                raise
        await stopping.wait()


async def in_transaction(
    engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[Answer]], *, attempts: int = 5
) -> Answer:
    """Run `work` in one transaction (READ COMMITTED) and return its answer after the commit.

    On a deadlock, a serialisation failure or a lost connection the whole is run again, up to `attempts` times, after
    a pause that doubles; so `work` must be repeatable, also when an earlier commit went through unseen. Where it set a
    limit for locks and one was reached, it has waited long enough.
    """
    for attempt in range(1, attempts + 1):
        try:
            async with engine.begin() as connection:
                return await work(connection)
        except Exception as error:
            if attempt == attempts or not is_transient(error) or sqlstate(error) == LOCK_NOT_AVAILABLE:
                raise
        await asyncio.sleep(_FIRST_PAUSE * 2 ** (attempt - 1))  # noqa: TID251 - the database's locks live in real time
    raise AssertionError("unreachable: the last attempt returns or raises")
