"""Which results of a batch are written."""

import itertools
from dataclasses import replace

from tocsin_dispatcher.delivering.recorder import Result, _one_per_attempt
from tocsin_dispatcher.values import Delivery, Outcome, OutcomeKind

from .conftest import NOON_IN_CHICAGO as NOON


def test_of_two_results_of_one_attempt_the_one_that_knows_is_written(delivery: Delivery) -> None:
    """A call that outlived its lease was taken for lost, and then it was answered: both wait to be written."""
    lost, heard = Outcome(OutcomeKind.UNKNOWN, answer="lost"), Outcome(OutcomeKind.ACCEPTED, provider_id="m1")
    for order in itertools.permutations([lost, heard]):
        results = [Result(delivery, outcome, NOON) for outcome in order]
        assert [result.outcome for result in _one_per_attempt(results)] == [heard]


def test_of_two_results_that_know_the_first_is_written(delivery: Delivery) -> None:
    first, second = (Outcome(OutcomeKind.ACCEPTED, provider_id=name) for name in "ab")
    kept = _one_per_attempt([Result(delivery, first, NOON), Result(delivery, second, NOON)])
    assert [result.outcome for result in kept] == [first]


def test_results_of_other_attempts_are_all_written(delivery: Delivery) -> None:
    outcome = Outcome(OutcomeKind.TRANSIENT)
    results = [Result(replace(delivery, attempt=number), outcome, NOON) for number in (2, 1)]
    assert [result.delivery.attempt for result in _one_per_attempt(results)] == [1, 2]
