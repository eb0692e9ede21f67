"""The window in which only critical messages leave."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tocsin_dispatcher.planning.local_time import instant_of, local_day
from tocsin_dispatcher.values import QuietHours

_ONE_DAY = timedelta(days=1)


def quiet_until(quiet: QuietHours, zone: ZoneInfo, now: datetime) -> datetime | None:
    """When the quiet hours `now` falls into end; None outside of them.

    The window belongs to the local day it starts on and may cross midnight. Its ends are instants of the local times
    (`local_time.instant_of`), so that on a day of a clock change it is as long as clocks on the wall make it. A window
    that ends when it starts is empty.
    """
    if not quiet.enabled or quiet.start == quiet.end:
        return None
    today = local_day(now, zone)
    for first_day in (today - _ONE_DAY, today):
        last_day = first_day if quiet.start < quiet.end else first_day + _ONE_DAY
        begins, ends = instant_of(first_day, quiet.start, zone), instant_of(last_day, quiet.end, zone)
        if begins <= now < ends:
            return ends
    return None
