"""Does the alert still stand?"""

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import AlertStanding, GateCase, GateVerdict, Proceed, Suppress

_REASONS = {
    AlertStanding.ALERT_GONE: Reason.ALERT_GONE,
    AlertStanding.SNOOZED: Reason.SNOOZED,
    AlertStanding.NO_LONGER_TRUE: Reason.NO_LONGER_TRUE,
}


def alert(case: GateCase) -> GateVerdict:
    """Suppress when the alert was deleted or snoozed meanwhile, or is no longer true."""
    reason = _REASONS.get(case.recipient.standing)
    return Proceed() if reason is None else Suppress(reason)
