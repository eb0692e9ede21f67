"""What becomes of a delivery after an attempt, and when a provider is left alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_dispatcher.breakers import BreakerKey, Breakers, BreakerState, closed
from tocsin_dispatcher.retries import after_attempt, after_look_up
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import Channel, Delivery, Outcome, OutcomeKind

NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
KEY = BreakerKey("sendgrid", "key")
K = OutcomeKind


@pytest.mark.parametrize(
    ("channel", "failures", "seconds"),
    [
        (Channel.EMAIL, 0, 1),
        (Channel.EMAIL, 1, 2),
        (Channel.EMAIL, 3, 8),
        (Channel.EMAIL, 4, 300),
        (Channel.EMAIL, 40, 300),
        (Channel.SMS, 0, 2),
        (Channel.SMS, 1, 6),
        (Channel.SMS, 2, 60),
        (Channel.PUSH, 0, 2),
        (Channel.PUSH, 1, 4),
        (Channel.PUSH, 2, 300),
        (Channel.WEBHOOK, 0, 5),
        (Channel.WEBHOOK, 3, 135),
        (Channel.WEBHOOK, 4, 3600),
    ],
)
def test_transient_errors_are_retried_fast_and_then_at_the_cap(
    delivery: Delivery, channel: Channel, failures: int, seconds: int
) -> None:
    failed = replace(delivery, channel=channel, failures=failures)
    step = after_attempt(failed, Outcome(K.TRANSIENT), NOON, Random(1))
    assert (step.status, step.failures) == (DeliveryState.RETRYING, failures + 1)
    assert step.due_at is not None
    assert 0.75 * seconds <= (step.due_at - NOON).total_seconds() <= 1.25 * seconds


def test_no_retry_lies_past_the_expiry(delivery: Delivery) -> None:
    ending = replace(delivery, expires_at=NOON + timedelta(seconds=10), failures=9)
    assert after_attempt(ending, Outcome(K.TRANSIENT), NOON, Random(1)).due_at == ending.expires_at


def test_a_throttled_message_waits_for_the_reset_and_costs_no_retry(delivery: Delivery) -> None:
    reset = NOON + timedelta(seconds=40)
    step = after_attempt(delivery, Outcome(K.THROTTLED, not_before=reset), NOON, Random(1))
    assert (step.status, step.due_at, step.failures) == (DeliveryState.PENDING, reset, 0)


def test_an_account_fault_costs_no_retry(delivery: Delivery) -> None:
    step = after_attempt(delivery, Outcome(K.ACCOUNT), NOON, Random(1))
    assert (step.status, step.failures) == (DeliveryState.PENDING, 0)


@pytest.mark.parametrize(("kind", "status"), [(K.ACCEPTED, DeliveryState.SENT), (K.PERMANENT, DeliveryState.FAILED)])
def test_accepted_and_permanent_are_final(delivery: Delivery, kind: OutcomeKind, status: DeliveryState) -> None:
    step = after_attempt(delivery, Outcome(kind), NOON, Random(1))
    assert (step.status, step.due_at) == (status, None)


def test_an_email_with_an_unknown_outcome_is_retried_and_marked(delivery: Delivery) -> None:
    step = after_attempt(delivery, Outcome(K.UNKNOWN), NOON, Random(1))
    assert (step.status, step.possible_duplicate) == (DeliveryState.RETRYING, True)


def test_an_sms_with_an_unknown_outcome_waits_and_is_repeated_once(delivery: Delivery) -> None:
    sms = replace(delivery, channel=Channel.SMS)
    waiting = after_attempt(sms, Outcome(K.UNKNOWN), NOON, Random(1))
    assert (waiting.status, waiting.due_at) == (DeliveryState.UNKNOWN, NOON + timedelta(seconds=120))
    never_had_it = Outcome(K.TRANSIENT)
    repeat = after_look_up(sms, never_had_it, NOON, Random(1))
    assert (repeat.status, repeat.possible_duplicate) == (DeliveryState.RETRYING, True)
    again = after_look_up(
        replace(sms, repeated_after_unknown=repeat.repeated_after_unknown), never_had_it, NOON, Random(1)
    )
    assert again.status is DeliveryState.FAILED


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (K.ACCEPTED, DeliveryState.SENT),
        (K.PERMANENT, DeliveryState.FAILED),
        (K.UNKNOWN, DeliveryState.UNKNOWN),
    ],
)
def test_a_look_up_settles_an_sms(delivery: Delivery, kind: OutcomeKind, status: DeliveryState) -> None:
    assert after_look_up(replace(delivery, channel=Channel.SMS), Outcome(kind), NOON, Random(1)).status is status


def outcomes(breakers: Breakers, kinds: list[OutcomeKind], now: datetime = NOON) -> None:
    for kind in kinds:
        breakers.record(KEY, Outcome(kind), now)


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ([K.TRANSIENT] * 4, BreakerState.CLOSED),
        ([K.TRANSIENT] * 5, BreakerState.OPEN),
        ([K.TRANSIENT, K.UNKNOWN, K.TRANSIENT, K.UNKNOWN, K.UNKNOWN], BreakerState.OPEN),
        ([K.TRANSIENT] * 4 + [K.ACCEPTED] + [K.TRANSIENT] * 4, BreakerState.CLOSED),
        ([K.PERMANENT, K.THROTTLED] * 30, BreakerState.CLOSED),
        ([K.TRANSIENT, K.ACCEPTED] * 24, BreakerState.CLOSED),
        ([K.TRANSIENT, K.ACCEPTED] * 24 + [K.TRANSIENT], BreakerState.OPEN),
        ([K.TRANSIENT, K.ACCEPTED] * 20 + [K.ACCEPTED] * 50 + [K.TRANSIENT] * 4, BreakerState.CLOSED),
        ([K.ACCOUNT], BreakerState.OPEN),
    ],
)
def test_what_opens_a_breaker(kinds: list[OutcomeKind], state: BreakerState) -> None:
    breakers = Breakers()
    outcomes(breakers, kinds)
    assert breakers.of(KEY, NOON).state is state


ONE_S_OWN = Outcome(K.TRANSIENT, status=403, about_address=True)
"""What a browser with a foreign key is answered."""


def test_what_is_about_an_address_alone_does_not_count() -> None:
    breakers = Breakers()
    for _ in range(50):
        assert breakers.record(KEY, ONE_S_OWN, NOON) is None, "nothing to tell others"
    assert breakers.of(KEY, NOON) == closed(NOON)
    outcomes(breakers, [K.TRANSIENT] * 4)
    breakers.record(KEY, ONE_S_OWN, NOON)
    outcomes(breakers, [K.TRANSIENT])
    assert breakers.of(KEY, NOON).state is BreakerState.OPEN, "nor is it a success between failures"


def test_what_is_about_an_address_alone_is_retried_as_all_that_is_transient(delivery: Delivery) -> None:
    pushed = replace(delivery, channel=Channel.PUSH)
    alike = after_attempt(pushed, Outcome(K.TRANSIENT), NOON, Random(1))
    assert after_attempt(pushed, ONE_S_OWN, NOON, Random(1)) == alike


def opened() -> Breakers:
    breakers = Breakers()
    outcomes(breakers, [K.TRANSIENT] * 5)
    return breakers


def test_an_open_breaker_lets_single_probes_through_after_a_minute_and_two_successes_close_it() -> None:
    breakers, later = opened(), NOON + timedelta(seconds=60)
    assert not breakers.admit(KEY, later - timedelta(microseconds=1))
    assert breakers.admit(KEY, later)
    assert not breakers.admit(KEY, later), "one probe at a time"
    breakers.record(KEY, Outcome(K.ACCEPTED), later)
    assert breakers.of(KEY, later).state is BreakerState.HALF_OPEN
    assert breakers.admit(KEY, later)
    breakers.record(KEY, Outcome(K.ACCEPTED), later)
    assert breakers.of(KEY, later).state is BreakerState.CLOSED


def test_a_failed_probe_opens_it_for_another_minute() -> None:
    breakers, later = opened(), NOON + timedelta(seconds=60)
    assert breakers.admit(KEY, later)
    breakers.record(KEY, Outcome(K.UNKNOWN), later)
    assert not breakers.admit(KEY, later + timedelta(seconds=59))
    assert breakers.may_pass_at([KEY], later) == later + timedelta(seconds=60)


def test_a_probe_that_is_given_back_makes_room_for_another() -> None:
    breakers, later = opened(), NOON + timedelta(seconds=60)
    assert breakers.admit(KEY, later)
    breakers.release(KEY, later)
    assert breakers.admit(KEY, later)


def test_a_probe_that_tells_of_its_address_alone_makes_room_for_another() -> None:
    breakers, later = opened(), NOON + timedelta(seconds=60)
    assert breakers.admit(KEY, later)
    breakers.record(KEY, ONE_S_OWN, later)
    assert breakers.of(KEY, later).state is BreakerState.HALF_OPEN
    assert breakers.admit(KEY, later)


def test_a_replica_follows_what_another_wrote_later() -> None:
    breakers = opened()
    breakers.follow(KEY, closed(NOON + timedelta(seconds=1)), NOON)
    assert breakers.of(KEY, NOON).state is BreakerState.CLOSED
    breakers.follow(KEY, replace(closed(NOON), state=BreakerState.OPEN), NOON)
    assert breakers.of(KEY, NOON).state is BreakerState.CLOSED, "what was written earlier changes nothing"


@given(st.lists(st.sampled_from(OutcomeKind), max_size=200))
def test_a_breaker_that_is_open_always_says_when_it_is_tried_again(kinds: list[OutcomeKind]) -> None:
    breakers = Breakers()
    outcomes(breakers, kinds)
    breaker = breakers.of(KEY, NOON)
    assert breaker.state is not BreakerState.OPEN or breaker.next_probe_at == NOON + timedelta(seconds=60)
