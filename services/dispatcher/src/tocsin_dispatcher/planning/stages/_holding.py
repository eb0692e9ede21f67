"""What the holding stages share: the user's zone, and a hold whose time does not count towards expiry."""

from datetime import datetime
from zoneinfo import ZoneInfo

from tocsin_dispatcher.planning.expiry import after_hold, latest_use
from tocsin_dispatcher.planning.local_time import zone_of
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import GateCase, Hold


def user_zone(case: GateCase) -> ZoneInfo:
    """The zone the user lives in."""
    return zone_of(case.recipient.contact, case.notification)


def hold(case: GateCase, until: datetime, reason: Reason) -> Hold:
    """Hold the delivery until then, its expiry moved by as much (a bill's never past its due day)."""
    latest = latest_use(case.notification.context, user_zone(case))
    return Hold(until, reason, after_hold(case.delivery.expires_at, until - case.now, latest))
