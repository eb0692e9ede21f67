"""Is it still of use?"""

from tocsin_dispatcher.planning.expiry import latest_use
from tocsin_dispatcher.planning.stages._holding import user_zone
from tocsin_dispatcher.values import Expire, GateCase, GateVerdict, Proceed


def expiry(case: GateCase) -> GateVerdict:
    """Expire past `expires_at`, and a bill past its due day in the zone the user lives in now."""
    latest = latest_use(case.notification.context, user_zone(case))
    too_late = case.now >= case.delivery.expires_at or (latest is not None and case.now >= latest)
    return Expire() if too_late else Proceed()
