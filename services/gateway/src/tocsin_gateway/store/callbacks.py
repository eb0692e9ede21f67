"""Statements on raw callbacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_gateway.store.tables import callbacks


@dataclass(frozen=True)
class Callback:
    """A verified callback as it came. `url` is path and query; `headers` the few that matter, in lower case."""

    id: UUID
    provider: str
    received_at: datetime
    url: str
    headers: Mapping[str, str]
    body: bytes
    handed_on_times: int = 1


async def store(connection: AsyncConnection, callback: Callback) -> None:
    """Write a callback that goes into the outbox in the same transaction."""
    await connection.execute(
        insert(callbacks).values(
            id=callback.id,
            provider=callback.provider,
            received_at=callback.received_at,
            url=callback.url,
            headers=dict(callback.headers),
            body=callback.body,
            verified=True,
            handed_on_at=callback.received_at,
        )
    )


async def not_known_to_have_arrived(
    connection: AsyncConnection, handed_on_before: datetime, at_most: int, after: tuple[datetime, UUID] | None
) -> list[tuple[datetime, UUID]]:
    """(handed_on_at, id) of callbacks that nobody has confirmed, oldest first, behind `after`.

    Index callbacks_not_known_to_have_arrived, by keyset. No lock: two audits may look at the same rows.
    """
    key = callbacks.c.handed_on_at, callbacks.c.id
    query = (
        select(*key)
        .where(callbacks.c.arrived_at.is_(None), callbacks.c.handed_on_at < handed_on_before)
        .order_by(*key)
        .limit(at_most)
    )
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    return [(row.handed_on_at, row.id) for row in await connection.execute(query)]


async def note_arrived(connection: AsyncConnection, ids: Sequence[UUID], at: datetime) -> None:
    """The dispatcher has these. Rows are locked by primary key; nothing else locks several."""
    await connection.execute(update(callbacks).where(callbacks.c.id.in_(ids)).values(arrived_at=at))


async def hand_on_again(connection: AsyncConnection, ids: Sequence[UUID], at: datetime) -> list[Callback]:
    """Count another handing-on of each and answer them for the outbox."""
    statement = (
        update(callbacks)
        .where(callbacks.c.id.in_(ids))
        .values(handed_on_at=at, handed_on_times=callbacks.c.handed_on_times + 1)
        .returning(callbacks)
    )
    return [
        Callback(row.id, row.provider, row.received_at, row.url, row.headers, row.body, row.handed_on_times)
        for row in await connection.execute(statement)
    ]


async def delete_before(connection: AsyncConnection, instant: datetime, at_most: int) -> int:
    """Delete up to `at_most` of the callbacks received before `instant`; answers how many. Index callbacks_by_age."""
    old = (
        select(callbacks.c.id)
        .where(callbacks.c.received_at < instant)
        .order_by(callbacks.c.received_at)
        .limit(at_most)
        .with_for_update(skip_locked=True)
    )
    return (await connection.execute(delete(callbacks).where(callbacks.c.id.in_(old)))).rowcount
