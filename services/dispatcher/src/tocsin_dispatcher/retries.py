"""What becomes of a delivery after an attempt: sent, tried again at some instant, or final. Pure.

Retries are rows with a time; nobody sleeps through one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import Channel, Delivery, Outcome, OutcomeKind
from tocsin_kit.backoff import Backoff

RETRIES: Mapping[Channel, Backoff] = {
    Channel.EMAIL: Backoff(timedelta(seconds=1), 2, 5, timedelta(minutes=5)),
    Channel.SMS: Backoff(timedelta(seconds=2), 3, 3, timedelta(minutes=1)),
    Channel.PUSH: Backoff(timedelta(seconds=2), 2, 3, timedelta(minutes=5)),
    Channel.WEBHOOK: Backoff(timedelta(seconds=5), 3, 5, timedelta(hours=1)),
}
"""Per channel a fast phase, then the cap until the message expires. Jitter is the kit's: uniform in [0.75, 1.25]."""

CALLBACK_WAIT = timedelta(seconds=120)
"""How long an SMS with an unknown outcome waits for a callback before the provider is asked."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to write of a delivery after an attempt or a look-up."""

    status: DeliveryState
    due_at: datetime | None
    """When the worker looks at it again; None in a final state."""
    failures: int
    possible_duplicate: bool = False
    """The next attempt may repeat a message that has arrived, and is marked so."""
    repeated_after_unknown: bool = False
    """Its one repeat after an unknown outcome is used up."""


def after_attempt(delivery: Delivery, outcome: Outcome, now: datetime, random: Random) -> NextStep:
    """The step after an attempt with this outcome. Retries never lie past the expiry: the gate expires it there."""
    match outcome.kind:
        case OutcomeKind.ACCEPTED:
            return _final(delivery, DeliveryState.SENT)
        case OutcomeKind.PERMANENT:
            return _final(delivery, DeliveryState.FAILED)
        case OutcomeKind.THROTTLED:
            pause = RETRIES[delivery.channel].delay(1, random)
            due_at = max(now + pause, outcome.not_before or now)
            return _again(delivery, DeliveryState.PENDING, due_at, delivery.failures)
        case OutcomeKind.ACCOUNT:
            # Its breaker is open now: the next claim takes the next provider, or waits for this one.
            return _again(delivery, DeliveryState.PENDING, now, delivery.failures)
        case OutcomeKind.TRANSIENT:
            return _retry(delivery, now, random)
        case OutcomeKind.UNKNOWN:
            return _after_unknown(delivery, now, random)


def after_look_up(delivery: Delivery, found: Outcome, now: datetime, random: Random) -> NextStep:
    """The step after the provider was asked about an unknown outcome.

    Accepted: it had the message. Permanent: it had it and failed. Transient: it never had it, so the delivery is
    tried once more, marked, and after that is failed. Anything else: it could not say, and is asked again later.
    """
    match found.kind:
        case OutcomeKind.ACCEPTED:
            return _final(delivery, DeliveryState.SENT)
        case OutcomeKind.PERMANENT:
            return _final(delivery, DeliveryState.FAILED)
        case OutcomeKind.TRANSIENT if delivery.repeated_after_unknown:
            return _final(delivery, DeliveryState.FAILED)
        case OutcomeKind.TRANSIENT:
            due_at = min(now, delivery.expires_at)
            return NextStep(DeliveryState.RETRYING, due_at, delivery.failures + 1, True, repeated_after_unknown=True)
        case _:
            later = now + RETRIES[delivery.channel].cap
            return _again(delivery, DeliveryState.UNKNOWN, later, delivery.failures)


def _after_unknown(delivery: Delivery, now: datetime, random: Random) -> NextStep:
    if delivery.channel is Channel.SMS:
        return _again(delivery, DeliveryState.UNKNOWN, now + CALLBACK_WAIT, delivery.failures)
    step = _retry(delivery, now, random)
    return NextStep(step.status, step.due_at, step.failures, possible_duplicate=True)


def _retry(delivery: Delivery, now: datetime, random: Random) -> NextStep:
    failures = delivery.failures + 1
    due_at = now + RETRIES[delivery.channel].delay(failures, random)
    return _again(delivery, DeliveryState.RETRYING, due_at, failures)


def _again(delivery: Delivery, status: DeliveryState, due_at: datetime, failures: int) -> NextStep:
    return NextStep(
        status,
        min(due_at, delivery.expires_at),
        failures,
        repeated_after_unknown=delivery.repeated_after_unknown,
    )


def _final(delivery: Delivery, status: DeliveryState) -> NextStep:
    return NextStep(status, None, delivery.failures, repeated_after_unknown=delivery.repeated_after_unknown)
