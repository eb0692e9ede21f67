"""Payees are read from bank statement lines, and the monthly ones are found."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_devstack.bills import nearest_due
from tocsin_devstack.payees import Payment, monthly_payees, payee_of


@pytest.mark.parametrize(
    ("description", "payee"),
    [
        ("AMAZON MKTPL*9C5AU2D Amzn.com/bill WA 12/10", "AMAZON MKTPL"),  # an order's code
        ("Amazon.com*TB9484GP3 Amzn.com/bill WA 01/02", "Amazon.com"),
        ("GOOGLE *WEBPASS 800-932-7277 CA 12/24", "GOOGLE *WEBPASS"),  # a name after the star, then a phone
        ("THE HOME DEPOT #1901 BROADVIEW IL 022090 10/27", "THE HOME DEPOT"),  # a store's number
        ("Zelle payment to BUBBLY DYNAMICS 27172177672", "Zelle payment to BUBBLY DYNAMICS"),  # a reference
        ("Zelle payment to PERSON-28 JPM99c298n7u", "Zelle payment to PERSON-28"),  # a name with a short number
        ("POS DEBIT ZORO TOOLS INC 8552899676 IL", "ZORO TOOLS INC"),
        ("UBIQUITI INC. UI.COM NY 12/28", "UBIQUITI INC. UI.COM"),  # state and day
        ("STRIPE TRANSFER", "STRIPE TRANSFER"),
        ("12345678", "12345678"),  # nothing else to say
        ("IL", "IL"),
    ],
)
def test_a_payee_is_what_stands_before_codes_phones_places_and_days(description: str, payee: str) -> None:
    assert payee_of(description) == payee


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1))
def test_every_description_that_says_something_has_a_payee(description: str) -> None:
    if description.strip():
        payee = payee_of(description)
        assert payee.strip()
        assert len(payee) <= 100


def _paid(payee: str, amount: str, *days: date) -> list[Payment]:
    return [Payment(payee, day, Decimal(amount), "Home", f"line {day}") for day in days]


def test_a_payee_paid_each_month_about_the_same_is_found_the_dearest_first() -> None:
    rent = _paid("Rent", "1000.00", date(2025, 9, 2), date(2025, 10, 2), date(2025, 11, 3))
    net = _paid("Net", "60.00", date(2025, 9, 25), date(2025, 10, 27), date(2025, 11, 25))
    found = monthly_payees([*net, *rent], date(2025, 12, 1))
    assert [(payee.payee, payee.day_of_month) for payee in found] == [("Rent", 2), ("Net", 25)]
    assert [payment.source for payment in found[0].payments] == [f"line {payment.on}" for payment in rent]


@pytest.mark.parametrize(
    ("why", "payments"),
    [
        ("two payments are no habit", _paid("A", "10.00", date(2025, 10, 2), date(2025, 11, 2))),
        ("weekly is not monthly", _paid("A", "10.00", date(2025, 11, 2), date(2025, 11, 9), date(2025, 11, 16))),
        ("it ended long ago", _paid("A", "10.00", date(2025, 6, 2), date(2025, 7, 2), date(2025, 8, 2))),
        (
            "amounts that jump are no bill",
            _paid("A", "10.00", date(2025, 9, 2), date(2025, 10, 2)) + _paid("A", "14.00", date(2025, 11, 2)),
        ),
    ],
)
def test_other_payees_are_no_bills(why: str, payments: list[Payment]) -> None:
    assert monthly_payees(payments, date(2025, 12, 1)) == [], why


def test_a_payment_pays_the_due_date_nearest_to_it() -> None:
    assert nearest_due(date(2025, 12, 26), 25) == date(2025, 12, 25)
    assert nearest_due(date(2025, 12, 31), 2) == date(2026, 1, 2)  # early, in the month before
    assert nearest_due(date(2026, 1, 2), 30) == date(2025, 12, 30)  # late, in the month after
    assert nearest_due(date(2026, 2, 27), 31) == date(2026, 2, 28)  # a 31st falls on the month's last day
