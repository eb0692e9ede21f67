"""Storing a callback together with its message, and handing on again: each one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_gateway.store import callbacks
from tocsin_gateway.store.callbacks import Callback
from tocsin_kit.messaging.publisher import Outgoing
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.transient import is_transient

#: Real time. Twilio waits 15 s for our answer (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides)
#: and a statement that is cut off may take 2 s more to let go of its connection.
STORE_LIMIT = timedelta(seconds=8)

#: Makes the message that hands a callback on; `doors.translate.receipt`.
Encode = Callable[[Callback], Outgoing]


class NotStored(Exception):
    """The callback could not be written: the provider must send it again."""


class CallbackLedger:
    """All that is done to callbacks in the database."""

    def __init__(self, engine: AsyncEngine, outbox: Outbox, encode: Encode) -> None:
        self._engine, self._outbox, self._encode = engine, outbox, encode

    async def store(self, callback: Callback) -> None:
        """Write the callback and its message within STORE_LIMIT. Raises NotStored whatever the reason."""
        message = self._encode(callback)

        async def both(connection: AsyncConnection) -> None:
            await callbacks.store(connection, callback)
            await self._outbox.add(connection, [message], callback.received_at)

        try:
            async with asyncio.timeout(STORE_LIMIT.total_seconds()):
                await in_transaction(self._engine, both)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise NotStored(f"{type(error).__name__}") from error
        except Exception as error:
            if not is_transient(error):
                raise
            raise NotStored(f"{type(error).__name__}") from error
        self._outbox.wrote_all([message])

    async def unconfirmed(
        self, handed_on_before: datetime, at_most: int, after: tuple[datetime, UUID] | None
    ) -> list[tuple[datetime, UUID]]:
        """(handed_on_at, id) of callbacks that the dispatcher has not confirmed, oldest first, behind `after`."""
        async with self._engine.connect() as connection:
            return await callbacks.not_known_to_have_arrived(connection, handed_on_before, at_most, after)

    async def settle(self, arrived: Sequence[UUID], missing: Sequence[UUID], at: datetime) -> None:
        """Note those that arrived and hand on again those that did not."""
        messages: list[Outgoing] = []

        async def all_of_it(connection: AsyncConnection) -> None:
            await callbacks.note_arrived(connection, arrived, at)
            again = await callbacks.hand_on_again(connection, missing, at)
            messages[:] = [self._encode(callback) for callback in again]
            await self._outbox.add(connection, messages, at)

        await in_transaction(self._engine, all_of_it)
        self._outbox.wrote_all(messages)

    async def waiting(self) -> tuple[int, datetime | None]:
        """How many messages wait to be published, and since when the oldest does."""
        async with self._engine.connect() as connection:
            rows = await connection.scalar(select(func.count()).select_from(self._outbox.table))
            return int(rows or 0), await self._outbox.oldest(connection)

    async def forget_before(self, instant: datetime, batch: int) -> int:
        """Delete one batch of callbacks received before `instant`; answers how many were deleted."""
        return await in_transaction(
            self._engine, lambda connection: callbacks.delete_before(connection, instant, batch)
        )
