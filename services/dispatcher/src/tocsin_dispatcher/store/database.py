"""The words for a database outside of the store: an engine, a connection in a transaction, a row that it answered."""

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection as Connection
from sqlalchemy.ext.asyncio import AsyncEngine as Engine

from tocsin_kit.postgres.engine import in_transaction, reads

#: What intake and the workers look things up in, and what grows with each person who is told something.
GROWING = ("deliveries", "notifications", "attempts", "unread", "counters", "contacts")

__all__ = ["GROWING", "Connection", "Engine", "Row", "in_transaction", "reads"]
