"""Statements on the messages of jobs that wait in the outbox.

They look by lane, index outbox_by_class: it holds what the broker has not got yet, as a rule nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_scheduler.store.tables import outbox


async def withdraw(connection: AsyncConnection, lane: str, message_id: str) -> bool:
    """Delete a message that waits; False where there is none, or a relay has it in hand, which is not waited for.

    A message whose acknowledgement was lost waits as well, though the broker has it: its job may be done all the same.
    """
    waiting = (
        select(outbox.c.id)
        .where(outbox.c["class"] == lane, outbox.c.message_id == message_id)
        .with_for_update(skip_locked=True)
    )
    return (await connection.execute(delete(outbox).where(outbox.c.id.in_(waiting)))).rowcount > 0


async def among(connection: AsyncConnection, lanes: Collection[str], message_ids: Collection[str]) -> set[str]:
    """Those of the messages that the broker has not got, also where a relay has them in hand."""
    waiting = select(outbox.c.message_id).where(outbox.c["class"].in_(lanes), outbox.c.message_id.in_(message_ids))
    return set((await connection.execute(waiting)).scalars())
