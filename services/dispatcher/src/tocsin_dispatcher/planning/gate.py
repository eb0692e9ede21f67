"""The gate: may this delivery leave now? Asked before every attempt, so that neither a retry nor a long queue nor an
ended outage sends at 3 a.m., after STOP, or "due tomorrow" a day late."""

from collections.abc import Callable

from tocsin_dispatcher.planning.stages.alert import alert
from tocsin_dispatcher.planning.stages.daily_digest import daily_digest
from tocsin_dispatcher.planning.stages.destination import destination
from tocsin_dispatcher.planning.stages.expiry import expiry
from tocsin_dispatcher.planning.stages.one_message_per_fact import one_message_per_fact
from tocsin_dispatcher.planning.stages.preferences import preferences
from tocsin_dispatcher.planning.stages.quiet_hours import quiet_hours
from tocsin_dispatcher.planning.stages.rate_limits import rate_limits
from tocsin_dispatcher.planning.stages.suppression import suppression
from tocsin_dispatcher.values import GateCase, GateVerdict, Proceed, Purpose

Stage = Callable[[GateCase], GateVerdict]

GATE: tuple[Stage, ...] = (
    destination,
    alert,
    expiry,
    preferences,
    suppression,
    one_message_per_fact,
    daily_digest,
    quiet_hours,
    rate_limits,
)
"""The stages in order; the first that does not proceed decides."""

BEFORE_A_DIGEST: tuple[Stage, ...] = tuple(stage for stage in GATE if stage is not rate_limits)
"""What a message must pass to leave together with others: the digest takes one token for all."""

OF_A_MEMBER: tuple[Stage, ...] = (alert, expiry, preferences)
"""Whether a digest that is tried once more may still tell it."""

OF_A_DIGEST: tuple[Stage, ...] = (destination, expiry, suppression, quiet_hours, rate_limits)
"""The stages for a digest itself: what it tells has passed its own."""

OF_NO_ALERT: tuple[Stage, ...] = (destination, expiry, suppression)
"""The stages for a template that is tried, and for a code: nothing has happened that a person could want to hear of, or
not now. Who sent STOP gets no code either."""
_OF_NO_ALERT = frozenset({Purpose.TEST, Purpose.VERIFICATION})


def gate(case: GateCase) -> GateVerdict:
    """What becomes of the delivery now. Pure: the same case has the same verdict."""
    if case.delivery.purpose is Purpose.DIGEST:
        return _first_verdict(OF_A_DIGEST, case)
    return _first_verdict(OF_NO_ALERT if case.delivery.purpose in _OF_NO_ALERT else GATE, case)


def gate_before_a_digest(case: GateCase) -> GateVerdict:
    """Whether the delivery may leave now, but for the limits: a digest is counted as one."""
    return _first_verdict(BEFORE_A_DIGEST, case)


def gate_member(case: GateCase) -> GateVerdict:
    """Whether a digest tells this member still."""
    return _first_verdict(OF_A_MEMBER, case)


def _first_verdict(stages: tuple[Stage, ...], case: GateCase) -> GateVerdict:
    for stage in stages:
        verdict = stage(case)
        if not isinstance(verdict, Proceed):
            return verdict
    return Proceed()
