"""What waits to be published."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.store.tables import outbox


async def outbox_rows(connection: AsyncConnection) -> int:
    """How many rows wait. The table is short unless the broker is away."""
    return int(await connection.scalar(select(func.count()).select_from(outbox)) or 0)
