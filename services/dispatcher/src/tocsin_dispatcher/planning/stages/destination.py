"""Is there somewhere to send it?"""

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import Channel, GateCase, GateVerdict, Proceed, Purpose, Suppress


def destination(case: GateCase) -> GateVerdict:
    """Suppress where there is no address, or none that may be used unverified. The inbox needs none, and a code goes
    to what is to be verified."""
    channel, contact = case.delivery.channel, case.recipient.contact
    if channel is Channel.IN_APP:
        return Proceed()
    if channel in (Channel.PUSH, Channel.WEBHOOK):
        # One that was removed meanwhile is gone.
        return Suppress(Reason.NO_ADDRESS) if case.recipient.destination is None else Proceed()
    if contact is None or contact.address(channel) is None:
        return Suppress(Reason.NO_ADDRESS)
    if case.delivery.purpose is Purpose.VERIFICATION:
        return Proceed()
    if channel is Channel.SMS and contact.phone_verified_at is None:
        return Suppress(Reason.UNVERIFIED)
    if channel is Channel.EMAIL and contact.email_verified_at is None and not case.rules.unverified_email_allowed:
        return Suppress(Reason.UNVERIFIED)
    return Proceed()
