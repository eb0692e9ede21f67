"""A request that is sent again has its effect once and gets the same answer (24 hours, contract page)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, MetaData, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection


class IdempotencyConflict(Exception):
    """The same request id came before with another body."""


@dataclass(frozen=True)
class RequestKey:
    """Who asked for what: partner (0 for none), caller (the token's subject), method, and their request id."""

    partner_id: int
    caller: str
    method: str
    request_id: str


def idempotency_table(metadata: MetaData) -> Table:
    """The table `idempotency_keys` of a service."""
    return Table(
        "idempotency_keys",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("caller", Text, primary_key=True),
        Column("method", Text, primary_key=True),
        Column("request_id", Text, primary_key=True),
        Column("request_hash", LargeBinary, nullable=False),
        Column("response", LargeBinary, nullable=False),
        Column("at", DateTime(timezone=True), nullable=False, index=True),
    )


async def remember(
    connection: AsyncConnection,
    table: Table,
    key: RequestKey,
    request_hash: bytes,
    at: datetime,
    answer: Callable[[], Awaitable[bytes]],
) -> bytes:
    """The answer to the request named by `key`: the one given before, else `answer()`'s, kept with its effect.

    Runs in the transaction of the effect. A concurrent twin waits on the key's row until this one commits.
    Raises IdempotencyConflict when the key came with another body.
    """
    names = {
        "partner_id": key.partner_id,
        "caller": key.caller,
        "method": key.method,
        "request_id": key.request_id,
    }
    claimed = await connection.execute(
        insert(table).values(**names, request_hash=request_hash, response=b"", at=at).on_conflict_do_nothing()
    )
    mine = [table.c[name] == value for name, value in names.items()]
    if claimed.rowcount == 1:
        response = await answer()
        await connection.execute(table.update().where(*mine).values(response=response))
        return response
    row = (await connection.execute(select(table.c.request_hash, table.c.response).where(*mine))).one()
    if bytes(row.request_hash) != request_hash:
        raise IdempotencyConflict(f"request id {key.request_id!r} was used before with another body")
    return bytes(row.response)


async def forget_before(connection: AsyncConnection, table: Table, instant: datetime) -> int:
    """Delete keys older than `instant`; returns how many."""
    return (await connection.execute(delete(table).where(table.c.at < instant))).rowcount
