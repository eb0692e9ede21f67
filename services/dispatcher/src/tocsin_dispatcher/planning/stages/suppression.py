"""May the address be used?"""

from tocsin_dispatcher.values import Channel, GateCase, GateVerdict, Proceed, Suppress


def suppression(case: GateCase) -> GateVerdict:
    """Suppress for an address on the suppression list. STOP beats critical, and so do the others."""
    cause = case.recipient.suppressed
    if case.delivery.channel is Channel.IN_APP or cause is None:
        return Proceed()
    return Suppress(cause.reason)
