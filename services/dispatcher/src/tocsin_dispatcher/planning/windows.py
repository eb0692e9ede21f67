"""The hour and the local day that rate limits count in."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tocsin_dispatcher.planning.local_time import instant_of, local_day

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows an instant falls into, as `counters` keys them, and when the next ones begin."""

    hour: datetime
    """The hour's first instant."""
    day: date
    """The local day."""
    next_hour: datetime
    next_day: datetime
    """The instant the next local day begins."""


def windows_at(now: datetime, zone: ZoneInfo) -> Windows:
    """The windows `now` falls into: hours begin at full hours of UTC, days at midnight in `zone`."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = local_day(now, zone)
    return Windows(hour, day, hour + _HOUR, instant_of(day + timedelta(days=1), time(0), zone))
