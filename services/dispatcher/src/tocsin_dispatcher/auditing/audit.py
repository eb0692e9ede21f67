"""The job `dispatch.audit`: the evaluator's books against ours, and ours against themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from tocsin_dispatcher.auditing.alarm import Alarm
from tocsin_dispatcher.auditing.comparing import DAY, SETTLED_AFTER, Books, Comparison
from tocsin_dispatcher.auditing.profiles import ProfileAudit
from tocsin_dispatcher.receiving.applying import Applier
from tocsin_dispatcher.store.database import Engine, in_transaction
from tocsin_dispatcher.store.ledger import books, compared_until, gaps, write_compared
from tocsin_dispatcher.values.minutes import Compared
from tocsin_kit.clock import Clock
from tocsin_kit.messaging.jobs import JobFailure, JobOrder, Progress
from tocsin_kit.rpc.errors import TocsinError

#: How far back every audit looks, and further where none was made meanwhile.
LOOKS_BACK = timedelta(hours=1)
#: What is due for longer is overdue.
PATIENCE = timedelta(minutes=5)
#: From one audit to the next are five minutes, less what the later one may begin sooner.
_HEALS_WITHIN = timedelta(minutes=4)
_MINUTE = timedelta(minutes=1)
_RECEIPTS_AT_ONCE = 500
_log = structlog.get_logger(__name__)


def spans(open_gaps: Sequence[datetime], since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """What is compared, in pieces of at most a day: all from `since` to `until`, and of what lies before that only the
    minutes that were open gaps (given in order) and what is between them."""
    pieces: list[tuple[datetime, datetime]] = []
    for minute in open_gaps:
        if minute >= since:
            break
        if pieces and minute + _MINUTE - pieces[-1][0] <= DAY:
            pieces[-1] = (pieces[-1][0], minute + _MINUTE)
        else:
            pieces.append((minute, minute + _MINUTE))
    while since < until:
        pieces.append((since, min(since + DAY, until)))
        since += DAY
    return pieces


@dataclass(frozen=True)
class Audit:
    """Compares the books, has what is missing sent again, and applies receipts that were missed."""

    engine: Engine
    evaluator: Books
    clock: Clock
    applier: Applier
    profiles: ProfileAudit
    alarm: Alarm = field(default_factory=Alarm)

    async def __call__(self, _order: JobOrder, progress: Progress) -> dict[str, int]:
        """Answers what was compared and found. Where the evaluator cannot be asked, our own books are looked at, and
        then it raises JobFailure."""
        now = self.clock.now()
        until = (now - SETTLED_AFTER).replace(second=0, microsecond=0)
        async with self.engine.connect() as connection:
            open_gaps = [gap.line.minute for gap in await gaps(connection)]
            last = await compared_until(connection)
        since = min(until - LOOKS_BACK, last or until - DAY)
        failure: JobFailure | None = None
        minutes = republished = 0
        try:
            minutes, republished = await self._walk(spans(open_gaps, since, until), open_gaps, progress)
        except JobFailure as error:
            failure = error
        receipts = await self._apply_missed(since)
        async with self.engine.connect() as connection:
            found = await books(connection, now - DAY, now, now - PATIENCE)
            left = await gaps(connection)
        profiles = 0 if failure else await self._heal_profiles()
        counts = {
            "minutes": minutes,
            "gap": sum(gap.line.missing for gap in left),
            "republished": republished,
            "profiles": profiles,
            "receipts": receipts,
            "unplanned": found.unplanned.count,
            "lost": found.lost.count,
            "overdue": found.overdue.count,
            "orphans": found.orphans.count,
        }
        self.alarm.books(counts, found)
        if failure is not None:
            raise failure  # what the last audit found may have healed since: it is no alarm's
        await self._alarm_of_gaps(tuple(gap.line for gap in left if now - gap.known_since >= _HEALS_WITHIN))
        return counts

    async def _walk(
        self, pieces: Sequence[tuple[datetime, datetime]], open_gaps: Sequence[datetime], progress: Progress
    ) -> tuple[int, int]:
        """How many minutes were compared, and how many firings are sent again. Raises JobFailure."""
        minutes = republished = 0
        for done, (since, until) in enumerate(pieces, 1):
            try:
                lines = await self._compare(since, until, open_gaps)
                republished += await self._republish([line for line in lines if not line.balanced])
            except TocsinError as error:
                raise JobFailure(f"the evaluator: {error}", retryable=error.retrying_can_help) from error
            minutes += len(lines)
            await progress(done, len(pieces) + 1)
        return minutes, republished

    async def _compare(self, since: datetime, until: datetime, open_gaps: Sequence[datetime]) -> list[Compared]:
        """The minutes that either book has. A gap that both have forgotten is closed; the last minute is written even
        where nothing happened in it, so that the next audit knows where this one ended."""
        lines = await Comparison(self.engine, self.evaluator).minutes(since, until)
        had = {line.minute for line in lines}
        noted = {minute for minute in open_gaps if since <= minute < until} | {until - _MINUTE}
        quiet = [Compared(minute, 0, 0, balanced=True) for minute in sorted(noted - had)]
        now = self.clock.now()
        await in_transaction(self.engine, lambda connection: write_compared(connection, [*lines, *quiet], now))
        return lines

    async def _republish(self, differing: Sequence[Compared]) -> int:
        return sum([await self.evaluator.republish(line.minute, line.minute + _MINUTE) for line in differing])

    async def _alarm_of_gaps(self, stuck: tuple[Compared, ...]) -> None:
        """Names the firings that are missing from minutes that have not healed. The alarm is raised even where the
        evaluator cannot be asked for them."""
        if not self.alarm.has_changed(stuck):
            return
        pieces = [(line.minute, line.minute + _MINUTE) for line in stuck]
        firings: Sequence[UUID] | None
        try:
            firings = await Comparison(self.engine, self.evaluator).missing_firings(pieces)
        except TocsinError as error:
            _log.warning("missing_firings_not_named", error=str(error))
            firings = None
        self.alarm.gaps(stuck, firings)

    async def _heal_profiles(self) -> int:
        """How many profiles are sent again. The next audit goes on where this one could not: the books come first."""
        try:
            return await self.profiles.heal()
        except TocsinError as error:
            _log.warning("profiles_not_compared", error=str(error))
            return 0

    async def _apply_missed(self, since: datetime) -> int:
        """Receipts that wait although their delivery is known: they and its outcome were written at the same time."""
        total = 0
        while found := await self._apply_some(since):
            total += found
        return total

    async def _apply_some(self, since: datetime) -> int:
        now = self.clock.now()
        applied = await in_transaction(
            self.engine, lambda connection: self.applier.apply_missed(connection, since, _RECEIPTS_AT_ONCE, now)
        )
        self.applier.wrote(applied)
        return len(applied.told)
