"""The books as an operator reads them: all of it looked up when asked, nothing as an audit last saw it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tocsin_dispatcher.auditing.audit import PATIENCE, spans
from tocsin_dispatcher.auditing.comparing import SETTLED_AFTER, Books, Comparison
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store import ledger
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.values import Channel
from tocsin_dispatcher.values.minutes import Compared

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The books of a span."""

    lines: tuple[Compared, ...]
    """The minutes that were compared and had something in them, after earlier ones that an audit found to differ and
    that still do."""
    compared_until: datetime
    """Later firings may still be on their way. Not after the span's beginning: nothing was compared."""
    missing_firings: tuple[UUID, ...]
    """The first of them, as far as they can be told."""
    deliveries: tuple[tuple[Channel, DeliveryState, int], ...]
    found: ledger.Books

    @property
    def gap(self) -> int:
        """By how many firings and notifications differ, at least."""
        return sum(line.missing for line in self.lines)


async def read_ledger(
    engine: Engine, evaluator: Books, partner_id: int, since: datetime, until: datetime, now: datetime
) -> Ledger:
    """The books of a span as they are now, of one partner or (0) of all. Raises TocsinError."""
    async with engine.connect() as connection:
        deliveries = await ledger.totals(connection, since, until, partner_id)
        found = await ledger.books(connection, since, until, now - PATIENCE, partner_id)
        known = [gap.line.minute for gap in await ledger.gaps(connection)]
    comparison, end = Comparison(engine, evaluator, partner_id), min(until, now - SETTLED_AFTER)
    lines, are_known = dict[datetime, Compared](), frozenset(known)
    differing: list[tuple[datetime, datetime]] = []
    for piece in spans(known, since, end):
        for line in await comparison.minutes(*piece):
            is_earlier = piece[0] < since
            if line.minute in lines or (is_earlier and (line.balanced or line.minute not in are_known)):
                continue
            lines[line.minute] = line
            first, last = line.minute, line.minute + _MINUTE
            if not line.balanced:
                differing.append((first, last) if is_earlier else (max(first, since), min(last, end)))
    missing = await comparison.missing_firings(differing)
    return Ledger(tuple(lines.values()), end, tuple(missing), tuple(deliveries), found)
