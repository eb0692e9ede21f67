"""Money, ids, backoff and halving."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_kit.backoff import Backoff
from tocsin_kit.clock import SteppedClock
from tocsin_kit.halves import in_halves
from tocsin_kit.ids import SeededIds, SystemIds
from tocsin_kit.money import amount_text, is_currency, parse_amount

AMOUNTS = st.decimals(min_value=-(10**14) + 1, max_value=10**14 - 1, places=4)


@given(AMOUNTS)
def test_an_amount_survives_the_way_to_text_and_back(amount: Decimal) -> None:
    assert parse_amount(amount_text(amount), "amount") == amount


@pytest.mark.parametrize(
    ("amount", "text"),
    [("500", "500.00"), ("-0.5", "-0.50"), ("0.0079", "0.0079"), ("1E+3", "1000.00"), ("12.340", "12.34")],
)
def test_amounts_are_written_with_two_to_four_decimals(amount: str, text: str) -> None:
    assert amount_text(Decimal(amount)) == text


@pytest.mark.parametrize("text", ["", "1e3", "1,00", "NaN", "Infinity", "1.23456", "1" * 15, " 1", "1.", "٣"])
def test_what_is_no_decimal_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(ValueError, match="threshold must be a decimal"):
        parse_amount(text, "threshold")


def test_currencies_are_those_of_iso_4217() -> None:
    assert is_currency("USD")
    assert is_currency("JPY")
    assert not is_currency("usd")
    assert not is_currency("XYZ")


def test_ids_are_version_7_and_a_seed_repeats_them() -> None:
    clock = SteppedClock(datetime(2025, 11, 3, tzinfo=UTC))
    first, second = SeededIds(7, clock), SeededIds(7, clock)
    made = [first.uuid7() for _ in range(100)]
    assert made == [second.uuid7() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(one.version == 7 and one.variant == "specified in RFC 4122" for one in made)
    assert SystemIds(clock).uuid7() != SystemIds(clock).uuid7()


@given(st.integers(1, 40), st.integers())
def test_a_delay_is_the_phase_s_wait_within_a_quarter(failures: int, seed: int) -> None:
    backoff = Backoff(timedelta(seconds=1), 2.0, 5, timedelta(minutes=5))
    steady = timedelta(seconds=2 ** (failures - 1)) if failures < 5 else timedelta(minutes=5)
    assert steady * 0.75 <= backoff.delay(failures, Random(seed)) <= steady * 1.25


@given(st.lists(st.integers(0, 9), max_size=40))
async def test_halving_does_the_good_and_returns_just_the_bad(items: list[int]) -> None:
    done: list[int] = []

    async def work(batch: Sequence[int]) -> None:
        if any(item == 0 for item in batch):
            raise ValueError("zero")
        done.extend(batch)

    bad = await in_halves(items, work, lambda error: isinstance(error, ValueError))
    assert [item for item, _ in bad] == [0] * items.count(0)
    assert done == [item for item in items if item != 0]


async def test_an_error_that_is_not_about_data_is_not_halved() -> None:
    async def work(_: Sequence[int]) -> None:
        raise ConnectionError("away")

    with pytest.raises(ConnectionError):
        await in_halves([1, 2], work, lambda error: isinstance(error, ValueError))
