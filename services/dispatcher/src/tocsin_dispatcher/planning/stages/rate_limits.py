"""Has the user had enough for this hour or day?"""

from tocsin_dispatcher.planning.stages._holding import hold, user_zone
from tocsin_dispatcher.planning.windows import windows_at
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import Channel, Delivery, GateCase, GateVerdict, PartnerSettings, Preferences, Proceed

_LIMITED = frozenset({Channel.EMAIL, Channel.SMS, Channel.PUSH})


def rate_limits(case: GateCase) -> GateVerdict:
    """Hold until the next window where no token is left.

    A token is taken once, at the first pass: a retry proceeds on the one it has. Proceeding takes none: the worker
    takes tokens for a batch in one statement, and holds what got none by asking again with the new counts. Critical
    passes both limits, up to its own number an hour and channel; beyond that it is held as `flood`.
    """
    if not owes_token(case.delivery):
        return Proceed()
    windows, counts = windows_at(case.now, user_zone(case)), case.recipient.counts
    if case.notification.critical:
        full = counts.critical_this_hour >= case.rules.critical_per_hour
        return hold(case, windows.next_hour, Reason.FLOOD) if full else Proceed()
    per_hour, per_day = limits(case.recipient.preferences, case.recipient.partner)
    if counts.today >= per_day:
        return hold(case, windows.next_day, Reason.RATE_LIMITED)
    return hold(case, windows.next_hour, Reason.RATE_LIMITED) if counts.this_hour >= per_hour else Proceed()


def owes_token(delivery: Delivery) -> bool:
    """Whether it takes a token before it leaves: webhooks and the inbox take none."""
    return not delivery.token_taken and delivery.channel in _LIMITED


def limits(preferences: Preferences, partner: PartnerSettings) -> tuple[int, int]:
    """Messages an hour and a local day, per channel: the user's, at most the partner's ceiling."""
    return min(preferences.max_per_hour, partner.max_per_hour), min(preferences.max_per_day, partner.max_per_day)
