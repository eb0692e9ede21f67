"""Until when a message is of use."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from tocsin_dispatcher.planning.local_time import instant_of
from tocsin_dispatcher.values import Purpose, Told, UpcomingBillContext

LIFETIMES: dict[Purpose, timedelta] = {
    Purpose.ALERT: timedelta(hours=24),
    Purpose.TEST: timedelta(hours=24),
    Purpose.VERIFICATION: timedelta(minutes=10),
}
"""How long after its making a message is of use, not counting the time it is held. A digest is as long as its members
are."""


def latest_use(context: Told, zone: ZoneInfo) -> datetime | None:
    """The instant nothing may move the expiry past: the end of a bill's due day in the user's zone; else None."""
    if isinstance(context, UpcomingBillContext):
        return instant_of(context.due_on + timedelta(days=1), time(0), zone)
    return None


def expires_at(purpose: Purpose, made_at: datetime, latest: datetime | None) -> datetime:
    """When a message made at `made_at` expires if it is never held."""
    return _capped(made_at + LIFETIMES[purpose], latest)


def after_hold(expiry: datetime, held_for: timedelta, latest: datetime | None) -> datetime:
    """The expiry of a message that is held for so long: time held does not count."""
    return _capped(expiry + held_for, latest)


def _capped(instant: datetime, latest: datetime | None) -> datetime:
    return instant if latest is None else min(instant, latest)
