"""How long a transaction waits for others' locks."""

from __future__ import annotations

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import statement

_LIMIT = statement("SET LOCAL lock_timeout = '2s'")


async def limit_locks(connection: Connection) -> None:
    """Wait no longer than two seconds for a lock in this transaction: workers hold theirs for milliseconds."""
    await connection.execute(_LIMIT)
