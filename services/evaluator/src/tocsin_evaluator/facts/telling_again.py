"""Profiles told again: the dispatcher compares what it knows with what is known here, and asks for what it lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
#: How many are told in one call.
MOST = 20_000
_AT_ONCE = 500
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Told:
    """How many were told, and the last user looked at where there are more."""

    profiles: int
    after: int | None


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

    async def tell(self, partner_id: int, parts: Sequence[int], after: int) -> Told:
        """Tell the profiles of some parts of a partner's users again, as far as copies are kept, from the user beyond
        `after` on; MOST of them at most."""
        now = self.clock.now()
        # Each time under ids of their own, or the broker would take them for repeats.
        number = int(now.timestamp() * 1_000_000)
        total = unreadable = 0
        while total + unreadable < MOST:
            some = partial(self._some, partner_id=partner_id, parts=parts, after=after, now=now, number=number)
            read, after, told = await in_transaction(self.engine, some)
            self.outbox.wrote_all(told)
            total, unreadable = total + len(told), unreadable + read - len(told)
            if read < _AT_ONCE:
                break
        if unreadable:
            _log.error("profile_copies_cannot_be_opened", partner_id=partner_id, copies=unreadable)
        return Told(total, None if read < _AT_ONCE else after)

    async def _some(
        self,
        connection: AsyncConnection,
        *,
        partner_id: int,
        parts: Sequence[int],
        after: int,
        now: datetime,
        number: int,
    ) -> tuple[int, int, list[Outgoing]]:
        """How many copies were read, up to which user, and what is told."""
        copies = await profile_copies.of_parts(connection, partner_id, parts, now - SETTLED_AFTER, after, _AT_ONCE)
        told = [message for each in copies if (message := self._message(each, number)) is not None]
        await self.outbox.add(connection, told, now)
        return len(copies), copies[-1].user_id if copies else after, told

    def _message(self, copy: Copy, number: int) -> Outgoing | None:
        try:
            payload = self.seals.open(copy.sealed, copy.name)
        except CannotOpen:
            return None
        return Outgoing("user", PROFILES_SUBJECT, f"{copy.name}:{number}", payload)
