"""Local times as instants. A local time that a clock change skips moves forward; one it repeats counts once."""

from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

from tocsin_dispatcher.values import Contact, Notification


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """The IANA zone; UTC where this machine's zone data does not know the name (the bank's may be newer)."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError):
        return ZoneInfo("UTC")


def zone_of(contact: Contact | None, told: Notification) -> ZoneInfo:
    """Where a reader lives: as their profile says, else as was known when it fired; UTC where nobody knew."""
    return zone_named((told if contact is None else contact).time_zone or "UTC")


def instant_of(day: date, local: time, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which clocks in `zone` show `local` on `day`.

    Of a repeated time it is the first one. A skipped time moves forward by what was skipped (PEP 495, fold 0: the
    offset before the change is applied).
    """
    return datetime.combine(day, local, zone).astimezone(UTC)


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar day that `instant` falls on in `zone`."""
    return instant.astimezone(zone).date()
