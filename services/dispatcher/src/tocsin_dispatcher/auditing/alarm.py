"""The errors of an audit, with the ids. Each is logged when it changes, not by every audit that finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from tocsin_dispatcher.store.ledger import Books, Found
from tocsin_dispatcher.values.minutes import Compared

_MOST_MINUTES = 60
_log = structlog.get_logger(__name__)


@dataclass
class Alarm:
    """Remembers what it said last: each replica that audits says it once."""

    _said: tuple[int, Books] | None = None
    _stuck: tuple[Compared, ...] = ()
    _named: bool = True

    def books(self, counts: Mapping[str, int], found: Books) -> None:
        """An error when there is a gap or anything was found, with all counts of the audit and the ids of the first of
        each."""
        wrong = (counts["gap"], found) if counts["gap"] or not found.balanced else None
        if wrong and wrong != self._said:
            _log.error(
                "books_do_not_balance",
                **counts,
                unplanned_notifications=_named(found.unplanned),
                lost_deliveries=_named(found.lost),
                overdue_deliveries=_named(found.overdue),
                orphaned_deliveries=_named(found.orphans),
            )
        self._said = wrong

    def has_changed(self, stuck: tuple[Compared, ...]) -> bool:
        """Whether the minutes that have not healed are others than last time, or miss more or fewer; also where nobody
        could be asked then for what is missing."""
        return stuck != self._stuck or not self._named

    def gaps(self, stuck: tuple[Compared, ...], firings: Sequence[UUID] | None) -> None:
        """An error with the minutes that have not healed, if any, and the first firings that are missing from them.
        Where nobody can be asked for those (None), it is said once more when somebody can."""
        is_news = stuck != self._stuck or firings is not None
        self._stuck, self._named = stuck, firings is not None
        if stuck and is_news:
            _log.error(
                "ledger_gap_does_not_heal",
                minutes=len(stuck),
                named=[line.minute.isoformat() for line in stuck[:_MOST_MINUTES]],
                missing=sum(line.missing for line in stuck),
                firings=[str(id_) for id_ in firings or ()],
            )


def _named(found: Found) -> list[str]:
    """`partner/id` of each."""
    return [f"{one.partner_id}/{one.id}" for one in found.first]
