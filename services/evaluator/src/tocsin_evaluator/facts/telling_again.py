"""Profiles told again: the dispatcher compares what it knows with what is known here, and asks for what it lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.facts.intake import PROFILES_SUBJECT
from tocsin_evaluator.store import profile_copies
from tocsin_evaluator.store.profile_copies import Copy, Sum
from tocsin_kit.clock import Clock
from tocsin_kit.messaging.publisher import Outgoing
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.sealing import CannotOpen, Seals

#: Younger events may still be on their way.
SETTLED_AFTER = timedelta(minutes=2)
_AT_ONCE = 500
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ProfilesAgain:
    """Sums up people's versions, and tells the dispatcher again what was told of them."""

    engine: AsyncEngine
    outbox: Outbox
    clock: Clock
    seals: Seals

    async def sums(self, partner_id: int | None) -> list[Sum]:
        """A line per partner, or of one partner a line per part."""
        async with self.engine.connect() as connection:
            return await profile_copies.sums(connection, partner_id)

    async def tell(self, partner_id: int, parts: Sequence[int]) -> int:
        """Tell the profiles of some parts of a partner's users again, as far as copies are kept; answers how many."""
        total, after = 0, -(2**63)
        while True:
            some = partial(self._some, partner_id=partner_id, parts=parts, after=after)
            done, after, told = await in_transaction(self.engine, some)
            self.outbox.wrote_all(told)
            total += len(told)
            if done < _AT_ONCE:
                return total

    async def _some(
        self, connection: AsyncConnection, partner_id: int, parts: Sequence[int], after: int
    ) -> tuple[int, int, list[Outgoing]]:
        """How many copies were read, up to which user, and what is told."""
        now = self.clock.now()
        copies = await profile_copies.of_parts(connection, partner_id, parts, now - SETTLED_AFTER, after, _AT_ONCE)
        # Each time under an id of its own, or the broker would take it for a repeat.
        number = int(now.timestamp() * 1_000_000)
        told = [message for each in copies if (message := self._message(each, number)) is not None]
        await self.outbox.add(connection, told, now)
        return len(copies), copies[-1].user_id if copies else after, told

    def _message(self, copy: Copy, number: int) -> Outgoing | None:
        try:
            payload = self.seals.open(copy.sealed, copy.name)
        except CannotOpen:
            _log.error("profile_copy_cannot_be_opened", partner_id=copy.partner_id)
            return None
        return Outgoing("user", PROFILES_SUBJECT, f"{copy.name}:{number}", payload)
