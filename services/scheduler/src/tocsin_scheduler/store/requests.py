"""Requests that carry the caller's own id: the effect happens once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_kit.postgres import idempotency
from tocsin_scheduler.store.tables import idempotency_keys


async def remember(
    connection: AsyncConnection,
    key: idempotency.RequestKey,
    request_hash: bytes,
    at: datetime,
    answer: Callable[[], Awaitable[bytes]],
) -> bytes:
    """The answer given to this request before, else `answer()`'s. Raises IdempotencyConflict."""
    return await idempotency.remember(connection, idempotency_keys, key, request_hash, at, answer)
