"""When a cron expression is true, in a time zone, daylight saving included.

cronsim follows Debian's cron: an expression whose hour and minute do not begin with a star speaks of local times, each
of which happens exactly once a day (a skipped one at the end of the gap, a repeated one the first time); every other
goes by elapsed time. Here only an hour of `*` (every hour) goes by elapsed time: `*/30 2` and `0 */2` name local times
too, so their stars are spelt out before cronsim reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_ANY_INSTANT = datetime(2025, 1, 1, tzinfo=UTC)
#: How far back `latest_between` looks first; then further and further.
_WINDOWS = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 400))


class CronRefused(ValueError):
    """The expression or the zone cannot be read; the message says why."""


def check_cron(expression: str) -> None:
    """Refuse what is no cron of five fields, or never comes true. Raises CronRefused."""
    if len(expression.split()) != 5:
        raise CronRefused("has five fields: minute, hour, day of month, month, day of week")
    try:
        next(CronSim(_spelt_out(expression), _ANY_INSTANT))
    except CronSimError as error:
        raise CronRefused(str(error).lower()) from None
    except StopIteration:
        raise CronRefused("never comes true") from None


def check_zone(name: str) -> None:
    """Refuse what is no IANA time zone. Raises CronRefused."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CronRefused("is no IANA time zone") from None


def times_after(expression: str, zone: str, instant: datetime) -> Iterator[datetime]:
    """The instants (UTC) strictly after `instant` at which the expression comes true in `zone`, in order."""
    last = instant
    for local in CronSim(_spelt_out(expression), instant.astimezone(ZoneInfo(zone))):
        found = local.astimezone(UTC)
        # In an hour that daylight saving repeats, cronsim starts from the local time alone and may answer the past.
        if found > last:
            last = found
            yield found


def next_after(expression: str, zone: str, instant: datetime) -> datetime:
    """The first of `times_after`."""
    return next(times_after(expression, zone, instant))


def latest_between(expression: str, zone: str, first: datetime, now: datetime) -> datetime:
    """The last time not after `now`, given that `first` is one.

    Looks back in growing windows: after a year's outage a schedule of every minute is not walked minute by minute.
    """
    for window in _WINDOWS:
        start = now - window
        if start <= first:
            break
        found = list(takewhile(lambda time: time <= now, times_after(expression, zone, start)))
        if found:
            return found[-1]
    return max(takewhile(lambda time: time <= now, times_after(expression, zone, first)), default=first)


def _spelt_out(expression: str) -> str:
    """The expression with the stars of minute and hour as ranges, unless it runs every hour."""
    minute, hour, *rest = expression.split()
    if hour == "*":
        return expression
    return " ".join((_starless(minute, "0-59"), _starless(hour, "0-23"), *rest))


def _starless(field: str, everything: str) -> str:
    return everything + field[1:] if field.startswith("*") else field
