"""A batch of callbacks: receipts read, those that are new written and applied, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.intake.dead_letters import DeadLetters, Letter
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


@dataclass(frozen=True)
class Arrived:
    """A callback with its own message's trace."""

    callback: Callback
    traceparent: str | None


@dataclass(frozen=True)
class _Read:
    receipt: Receipt
    callback: Callback


class Callbacks:
    """Takes callbacks in. What cannot be read of one goes to the dead letters; the rest of it counts."""

    def __init__(
        self,
        engine: Engine,
        applier: Applier,
        letters: DeadLetters,
        links: UnsubscribeLinks,
        clock: Clock,
    ) -> None:
        self._engine, self._applier, self._letters, self._links, self._clock = engine, applier, letters, links, clock

    async def take_in(self, arrived: Sequence[Arrived]) -> list[tuple[Arrived, Exception]]:
        """Take all in, each event once; answers those whose data cannot be stored."""
        return await in_halves(list(arrived), self._together, is_data_error)

    async def _together(self, arrived: Sequence[Arrived]) -> None:
        read: list[_Read] = []
        unreadable: list[Letter] = []
        for one in arrived:
            for part in receipts_of(one.callback, self._links):
                if isinstance(part, Unreadable):
                    unreadable.append(_letter(one.callback, part))
                else:
                    read.append(_Read(replace(part, traceparent=one.traceparent), one.callback))
        await self._letters.keep(unreadable)
        now = self._clock.now()
        self._applier.wrote(
            await in_transaction(self._engine, lambda connection: self._write(connection, arrived, read, now))
        )

    async def _write(
        self, connection: Connection, arrived: Sequence[Arrived], read: Sequence[_Read], now: datetime
    ) -> Applied:
        callbacks = [(UUID(one.callback.id), one.callback.provider, one.callback.received_at) for one in arrived]
        await know_callbacks(connection, callbacks, now)
        new = await write_receipts(
            connection, [(one.receipt, UUID(one.callback.id), one.callback.received_at) for one in read]
        )
        fresh = {_name(one.receipt): one.receipt for one in read if _name(one.receipt) in new}
        return await self._applier.apply(connection, list(fresh.values()), now)


def _letter(callback: Callback, part: Unreadable) -> Letter:
    return Letter("RECEIPTS", f"tocsin.receipts.{callback.provider}", callback.id, part.raw, part.why)


def _name(receipt: Receipt) -> tuple[str, str]:
    return receipt.provider, receipt.event_key
