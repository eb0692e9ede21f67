"""The words for a database outside of the store: an engine to begin a transaction on, a connection that is in one."""

from sqlalchemy.ext.asyncio import AsyncConnection as Connection
from sqlalchemy.ext.asyncio import AsyncEngine as Engine

from tocsin_kit.postgres.engine import in_transaction

__all__ = ["Connection", "Engine", "in_transaction"]
