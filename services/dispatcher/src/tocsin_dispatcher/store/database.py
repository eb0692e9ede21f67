"""The words for a database outside of the store: an engine, a connection in a transaction, a row that it answered."""

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection as Connection
from sqlalchemy.ext.asyncio import AsyncEngine as Engine

from tocsin_kit.postgres.engine import in_transaction

__all__ = ["Connection", "Engine", "Row", "in_transaction"]
