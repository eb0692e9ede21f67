"""Is there somewhere to send it?"""

from tocsin_dispatcher.planning.plan import PROFILE_WAIT
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import Channel, GateCase, GateVerdict, Hold, Proceed, Purpose, Suppress


def destination(case: GateCase) -> GateVerdict:
    """Suppress where there is no address, or none that may be used unverified. The inbox needs none, and a code goes
    to what is to be verified. Whose profile is awaited has an address that we do not know: what is theirs waits for it
    as long as it is of use."""
    channel, contact = case.delivery.channel, case.recipient.contact
    if channel is Channel.IN_APP:
        return Proceed()
    if channel in (Channel.PUSH, Channel.WEBHOOK):
        # One that was removed meanwhile is gone. It is no profile's: a push that has waited for one leaves without.
        return Suppress(Reason.NO_ADDRESS) if case.recipient.destination is None else Proceed()
    if contact is None and case.delivery.reason is Reason.PROFILE_AWAITED and case.now < case.delivery.expires_at:
        # the evaluator knows the person, so their profile was lost on its way: the audit has it sent again
        until = min(case.now + PROFILE_WAIT, case.delivery.expires_at)
        return Hold(until, Reason.PROFILE_AWAITED, case.delivery.expires_at)
    if contact is None or contact.address(channel) is None:
        return Suppress(Reason.NO_ADDRESS)
    if case.delivery.purpose is Purpose.VERIFICATION:
        return Proceed()
    if channel is Channel.SMS and contact.phone_verified_at is None:
        return Suppress(Reason.UNVERIFIED)
    if channel is Channel.EMAIL and contact.email_verified_at is None and not case.rules.unverified_email_allowed:
        return Suppress(Reason.UNVERIFIED)
    return Proceed()
