"""The banks' templates in force, kept in memory and followed within a second.

Messages ask one by one, and those that ask in the same moment (a batch of the worker's, an intake of firings) are
answered by one statement, which brings nothing of banks whose revision is known.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.templates import Revised, revised
from tocsin_dispatcher.templating.choosing import InForce
from tocsin_kit.clock import Clock
from tocsin_kit.transient import is_transient

FRESH_FOR = timedelta(seconds=1)
"""How long what was read is taken for true: replicas follow an activation within it."""
_MOST_KEPT = 64 * 1024 * 1024
"""Bytes of sources that are kept; the banks that were asked about longest ago go first."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    revision: int
    in_force: InForce
    size: int
    read_at: datetime | None
    """None: it has changed since."""


_NOTHING = _Kept(0, InForce(), 0, None)


class ActiveTemplates:
    """What is in force, by bank."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._size = 0
        self._wanted: set[int] = set()
        self._reading: asyncio.Task[Mapping[int, _Kept]] | None = None

    async def of(self, partner_id: int) -> InForce:
        """A bank's; as it was known before where the database is away."""
        kept = self._kept.get(partner_id, _NOTHING)
        if not self._is_fresh(kept):
            self._wanted.add(partner_id)
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            # What was read counts whether or not there was room to keep it.
            read = await asyncio.shield(self._reading)
            kept = read.get(partner_id) or self._kept.get(partner_id, _NOTHING)
        if partner_id in self._kept:
            self._kept.move_to_end(partner_id)
        return kept.in_force

    def known(self, partner_id: int) -> InForce:
        """A bank's as it is known, without looking."""
        return self._kept.get(partner_id, _NOTHING).in_force

    def changed(self, partner_id: int) -> None:
        """This process has committed a change: read it before the next message."""
        kept = self._kept.get(partner_id, _NOTHING)
        self._kept[partner_id] = _Kept(kept.revision, kept.in_force, kept.size, None)

    def _is_fresh(self, kept: _Kept) -> bool:
        return kept.read_at is not None and self._clock.now() - kept.read_at < FRESH_FOR

    async def _read(self) -> Mapping[int, _Kept]:
        """For all who ask in this turn of the loop; who asks later is read for next. Nothing where it cannot be."""
        wanted, self._wanted = self._wanted, set()
        self._reading = None
        now = self._clock.now()
        before = {partner: self._kept.get(partner, _NOTHING) for partner in wanted}
        try:
            async with self._engine.connect() as connection:
                known = {partner: kept.revision for partner, kept in before.items()}
                news = await revised(connection, known)
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("templates_not_read", error=type(error).__name__)
            return {}
        return {partner: self._keep(partner, kept, news.get(partner), now) for partner, kept in before.items()}

    def _keep(self, partner: int, before: _Kept, news: Revised | None, now: datetime) -> _Kept:
        """What was read of a bank, or what is known of it where that changed here while it was read."""
        standing = self._kept.get(partner)
        if standing is not None and standing is not before:
            return standing
        if news is None:
            kept = _Kept(before.revision, before.in_force, before.size, now)
        else:
            size = sum(len(source) for one in news.templates for source in one.sources.values())
            kept = _Kept(news.revision, InForce.of(news.templates), size, now)
        self._kept[partner] = kept
        self._kept.move_to_end(partner)
        self._size += kept.size - (0 if standing is None else standing.size)
        while self._size > _MOST_KEPT and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._size -= dropped.size
        return kept
