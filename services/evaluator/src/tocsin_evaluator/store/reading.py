"""Reading that changes nothing and takes no longer than it may."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_kit.transient import sqlstate

#: SQLSTATE query_canceled.
_CANCELLED = "57014"
_READ_ONLY = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
_LONGEST = text("SELECT set_config('statement_timeout', CAST(:milliseconds AS text), true)")


class TookTooLong(Exception):
    """The database gave a statement up when its time was over."""


@asynccontextmanager
async def read_only(engine: AsyncEngine, longest: timedelta) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees one state of the database and writes nothing; each statement may take `longest`.

    Raises TookTooLong where one takes longer.
    """
    try:
        async with engine.connect() as connection, connection.begin():
            await connection.execute(_READ_ONLY)
            milliseconds = max(1, longest // timedelta(milliseconds=1))
            await connection.execute(_LONGEST, {"milliseconds": str(milliseconds)})
            yield connection
    except DBAPIError as error:
        if sqlstate(error) == _CANCELLED:
            raise TookTooLong from error
        raise
