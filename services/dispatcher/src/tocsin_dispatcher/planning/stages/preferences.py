"""Does the user want it here?"""

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import Channel, GateCase, GateVerdict, Proceed, Suppress

_SWITCHED = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH})


def preferences(case: GateCase) -> GateVerdict:
    """Suppress where the user switched the channel or the kind off, unless the partner made the kind mandatory."""
    channel, kind = case.delivery.channel, case.notification.kind
    if channel not in _SWITCHED or kind in case.recipient.partner.mandatory_kinds:
        return Proceed()
    wanted = case.recipient.preferences.allows(kind, channel)
    return Proceed() if wanted else Suppress(Reason.PREFERENCE_OFF)
