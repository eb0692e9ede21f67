"""Which messages were taken in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_scheduler.store.tables import inbox


async def remember(connection: AsyncConnection, message_ids: Iterable[str], at: datetime) -> set[str]:
    """Note messages as taken in; answers those that were not before. Ids are written in one order by everybody."""
    rows = [{"message_id": message_id, "at": at} for message_id in sorted(set(message_ids))]
    if not rows:
        return set()
    written = await connection.execute(insert(inbox).on_conflict_do_nothing().returning(inbox.c.message_id), rows)
    return {row.message_id for row in written}
