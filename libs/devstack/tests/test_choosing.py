"""Thresholds, limits and targets chosen from data really lie where something happens."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tocsin_devstack.choosing import (
    CENT,
    budget_amount,
    high_balance,
    large_purchase,
    low_balance,
    roundest_between,
    steepest_rise,
)

cents = st.integers(-10_000_000, 10_000_000).map(lambda number: Decimal(number) / 100)


@given(cents, cents)
def test_the_roundest_number_lies_between_or_there_is_none(one: Decimal, other: Decimal) -> None:
    low, high = min(one, other), max(one, other)
    found = roundest_between(low, high)
    if low == high:
        assert found is None
    else:
        assert found is not None
        assert low < found <= high
        assert found == found.quantize(CENT)


def test_the_roundest_number_has_as_few_digits_as_can_be() -> None:
    # (low, high, wanted)
    for low, high, wanted in (
        ("20934.26", "21700.00", "21000"),  # thousands suffice
        ("0.00", "1494.00", "1000"),
        ("448.12", "477.04", "450"),  # a five is rounder than a four and an eight
        ("-12.40", "3.00", "0"),  # zero is the roundest of all
        ("9.98", "9.99", "9.99"),  # only the upper end itself
    ):
        assert roundest_between(Decimal(low), Decimal(high)) == Decimal(wanted), (low, high)


@given(st.lists(cents, min_size=1, max_size=70))
def test_a_low_threshold_is_above_some_balance_and_not_above_all(balances: list[Decimal]) -> None:
    threshold = low_balance(balances)
    if min(balances) == max(balances):
        assert threshold is None
    else:
        assert threshold is not None
        assert min(balances) < threshold <= max(balances)


@given(st.lists(cents, min_size=1, max_size=70))
def test_a_high_threshold_is_crossed_from_below(balances: list[Decimal]) -> None:
    threshold = high_balance(balances)
    if threshold is not None:
        below = [index for index, balance in enumerate(balances) if balance <= threshold]
        assert any(balance > threshold for balance in balances[below[0] :]), "it is crossed after it was not"


@given(st.lists(cents, min_size=1, max_size=70))
def test_the_steepest_rise_is_the_largest_difference_to_a_later_balance(balances: list[Decimal]) -> None:
    rise = steepest_rise(balances)
    differences = [
        later - earlier for index, earlier in enumerate(balances) for later in balances[index + 1 :] if later > earlier
    ]
    if not differences:
        assert rise is None
    else:
        assert rise is not None
        assert rise.high - rise.low == max(differences)
        assert balances[rise.low_index] == rise.low
        assert rise.high in balances[rise.low_index :]


@given(st.lists(cents, max_size=70))
def test_a_limit_is_reached_by_one_to_four_sizes_of_payment(amounts: list[Decimal]) -> None:
    limit = large_purchase(amounts)
    sizes = {-amount for amount in amounts if amount < 0}
    if not sizes:
        assert limit is None
    else:
        assert limit is not None
        assert 1 <= len([size for size in sizes if size >= limit]) <= 4


@given(cents, st.integers(1, 10_000_000).map(lambda number: Decimal(number) / 100))
def test_the_windows_dearest_month_reaches_half_of_a_chosen_budget(usual: Decimal, peak: Decimal) -> None:
    amount = budget_amount(usual, peak)
    assert amount is not None
    assert amount > 0
    assert peak * 100 >= 50 * amount


def test_a_category_that_cost_nothing_in_the_window_gets_no_budget() -> None:
    assert budget_amount(Decimal(100), Decimal(0)) is None
    assert budget_amount(Decimal(100), Decimal(-5)) is None
