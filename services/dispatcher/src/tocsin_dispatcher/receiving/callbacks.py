"""A batch of callbacks: receipts read, those that are new written and applied, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.receipts.parse import Callback, receipts_of
from tocsin_dispatcher.receipts.unreadable import Unreadable
from tocsin_dispatcher.receiving.applying import Applied, Applier
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.receipts import know_callbacks, write_receipts
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import Receipt
from tocsin_kit.clock import Clock
from tocsin_kit.halves import in_halves
from tocsin_kit.transient import is_data_error

Parts = Sequence[Receipt | Unreadable]


@dataclass(frozen=True)
class Arrived:
    """A callback with its own message's trace."""

    callback: Callback
    traceparent: str | None


class PartsUnreadable(Exception):
    """Parts of a callback are no events; the others had their effect."""


@dataclass(frozen=True)
class _Read:
    receipt: Receipt
    callback: Callback


class Callbacks:
    """Takes callbacks in. What cannot be read of one is refused; the rest of it counts."""

    def __init__(self, engine: Engine, applier: Applier, links: UnsubscribeLinks, clock: Clock) -> None:
        self._engine, self._applier, self._links, self._clock = engine, applier, links, clock

    async def take_in(self, arrived: Sequence[Arrived]) -> list[tuple[Arrived, Exception]]:
        """Take all in, each event once; answers those that cannot be stored, or not read to the end."""
        parts = [(one, receipts_of(one.callback, self._links)) for one in arrived]
        refused = await in_halves(parts, self._together, is_data_error)
        await self._know([one for (one, _), _ in refused])
        not_stored = [id(one) for (one, _), _ in refused]
        unreadable = [(one, why) for one, read in parts if id(one) not in not_stored and (why := _unreadable(read))]
        return [*((one, error) for (one, _), error in refused), *unreadable]

    async def _together(self, parts: Sequence[tuple[Arrived, Parts]]) -> None:
        read = [
            _Read(replace(part, traceparent=one.traceparent), one.callback)
            for one, parts_of_one in parts
            for part in parts_of_one
            if isinstance(part, Receipt)
        ]
        arrived = [one for one, _ in parts]
        now = self._clock.now()
        self._applier.wrote(
            await in_transaction(self._engine, lambda connection: self._write(connection, arrived, read, now))
        )

    async def _know(self, refused: Sequence[Arrived]) -> None:
        """They have arrived, though nothing of them can be stored: whoever asks must not hand them on again."""
        if refused:
            now = self._clock.now()
            await in_transaction(self._engine, lambda connection: know_callbacks(connection, _arrivals(refused), now))

    async def _write(
        self, connection: Connection, arrived: Sequence[Arrived], read: Sequence[_Read], now: datetime
    ) -> Applied:
        await know_callbacks(connection, _arrivals(arrived), now)
        new = await write_receipts(
            connection, [(one.receipt, UUID(one.callback.id), one.callback.received_at) for one in read]
        )
        fresh = {_name(one.receipt): one.receipt for one in read if _name(one.receipt) in new}
        return await self._applier.apply(connection, list(fresh.values()), now)


def _arrivals(arrived: Sequence[Arrived]) -> list[tuple[UUID, str, datetime]]:
    return [(UUID(one.callback.id), one.callback.provider, one.callback.received_at) for one in arrived]


def _unreadable(parts: Parts) -> PartsUnreadable | None:
    whys = [f"part {place}: {part.why}" for place, part in enumerate(parts, 1) if isinstance(part, Unreadable)]
    return PartsUnreadable(f"of {len(parts)}, {', '.join(whys[:3])}") if whys else None


def _name(receipt: Receipt) -> tuple[str, str]:
    return receipt.provider, receipt.event_key
