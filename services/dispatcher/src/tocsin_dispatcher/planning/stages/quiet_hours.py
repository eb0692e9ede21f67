"""Is it night?"""

from tocsin_dispatcher.planning.quiet_hours import quiet_until
from tocsin_dispatcher.planning.stages._holding import hold, user_zone
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import Channel, GateCase, GateVerdict, Proceed


def quiet_hours(case: GateCase) -> GateVerdict:
    """Hold until the user's quiet hours end. Critical passes."""
    if case.notification.critical or case.delivery.channel in (Channel.IN_APP, Channel.WEBHOOK):
        return Proceed()
    until = quiet_until(case.recipient.preferences.quiet_hours, user_zone(case), case.now)
    return Proceed() if until is None else hold(case, until, Reason.QUIET_HOURS)
