"""Does it wait for the user's digest hour?"""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from tocsin_dispatcher.planning.local_time import instant_of, local_day
from tocsin_dispatcher.planning.stages._holding import hold, user_zone
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import Channel, GateCase, GateVerdict, Proceed


def daily_digest(case: GateCase) -> GateVerdict:
    """Hold a daily digest's message until the first digest hour after the firing, once."""
    if not case.notification.daily_digest or case.delivery.channel in (Channel.IN_APP, Channel.WEBHOOK):
        return Proceed()
    due = first_digest_after(case.notification.fired_at, case.recipient.preferences.digest_hour, user_zone(case))
    return hold(case, due, Reason.DAILY_DIGEST) if case.now < due else Proceed()


def first_digest_after(fired_at: datetime, digest_hour: int, zone: ZoneInfo) -> datetime:
    """The first instant after `fired_at` at which clocks in `zone` show the digest hour."""
    day = local_day(fired_at, zone)
    today = instant_of(day, time(digest_hour), zone)
    return today if fired_at < today else instant_of(day + timedelta(days=1), time(digest_hour), zone)
