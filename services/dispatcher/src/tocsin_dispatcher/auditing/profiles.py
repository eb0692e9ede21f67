"""People's profiles as the evaluator knows them against ours: what was lost on the way is asked for again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

import structlog

from tocsin_dispatcher.store.contact_sums import ProfileSum, contact_sums
from tocsin_dispatcher.store.database import Engine
from tocsin_kit.clock import Clock

#: How often a part that goes on differing is asked for.
AGAIN_AFTER = timedelta(hours=1)
#: How many profiles one audit has sent at most; the next goes on.
MOST = 200_000
_log = structlog.get_logger(__name__)

Part: TypeAlias = tuple[int, int]
"""(partner, part)."""


class PeoplesBook(Protocol):
    """The evaluator's side."""

    async def profile_sums(self, partner_id: int) -> list[ProfileSum]:
        """A line per partner (0), or of one partner a line per part. Raises TocsinError."""
        ...

    async def republish_profiles(
        self, partner_id: int, parts: Sequence[int], after: int | None
    ) -> tuple[int, int | None]:
        """Have the profiles of some parts sent again, from the user beyond `after` on; how many there are, and the last
        user where there are more. Raises TocsinError."""
        ...


@dataclass
class ProfileAudit:
    """Compares the sums, first of each partner, then part by part of those that differ.

    What is on its way differs too: a part is asked for when it differs in two audits that follow each other, and one
    that goes on differing (the people come faster than they are taken in) once an hour, counted from when some were
    sent: copies may have been too young.
    """

    engine: Engine
    evaluator: PeoplesBook
    clock: Clock
    _differed: set[Part] = field(default_factory=set)
    _asked: dict[Part, datetime] = field(default_factory=dict)

    async def heal(self) -> int:
        """Ask again for what differs; answers how many profiles are sent. Raises TocsinError."""
        now, total = self.clock.now(), 0
        differing = {
            (partner_id, each.part)
            for partner_id in {each.partner_id for each in await self._differing(None)}
            for each in await self._differing(partner_id)
        }
        self._asked = {part: at for part, at in self._asked.items() if part in differing and now - at < AGAIN_AFTER}
        wanted = sorted((differing & self._differed) - self._asked.keys())
        self._differed = differing
        for partner_id in sorted({partner_id for partner_id, _ in wanted}):
            parts = [part for partner, part in wanted if partner == partner_id]
            if sent := await self._ask(partner_id, parts, MOST - total):
                self._asked |= {(partner_id, part): now for part in parts}
            total += sent
        return total

    async def _ask(self, partner_id: int, parts: Sequence[int], most: int) -> int:
        total, after = 0, None
        while total < most:
            sent, after = await self.evaluator.republish_profiles(partner_id, parts, after)
            total += sent
            if after is None:
                break
        _log.warning("profiles_asked_for_again", partner_id=partner_id, parts=len(parts), profiles=total)
        return total

    async def _differing(self, partner_id: int | None) -> set[ProfileSum]:
        """The lines that the two sides do not have alike, as either has them."""
        theirs = await self.evaluator.profile_sums(partner_id or 0)
        async with self.engine.connect() as connection:
            ours = await contact_sums(connection, partner_id)
        return set(theirs) ^ set(ours)
