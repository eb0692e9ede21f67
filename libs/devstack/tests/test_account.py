"""The account of a simulation: what was sent, why, which line proves it, and the books at the end."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from rich.console import Console

from tocsin_devstack.bank_file import BankLine
from tocsin_devstack.bank_scenario import bank_scenario
from tocsin_devstack.evidence import Evidence, Fired
from tocsin_devstack.faults import Provider
from tocsin_devstack.frontend import alert_body
from tocsin_devstack.reading import Books, Delivered, Told
from tocsin_devstack.report import Report
from tocsin_devstack.scenario import (
    AccountThreshold,
    Kind,
    MerchantName,
    Scenario,
    TransactionLimit,
    UpcomingBill,
    Wish,
)
from tocsin_devstack.server import Accepted, Account
from tocsin_devstack.summary import Summary, summed_up

NOON = datetime(2025, 11, 3, 18, 0, tzinfo=UTC)  # 12:00 in Chicago
DAY_BEGINS = datetime(2025, 11, 3, 6, 0, tzinfo=UTC)


def _line(ordinal: int, on: date, text: str, amount: str, balance: str, category: str) -> BankLine:
    return BankLine(ordinal + 1, ordinal, on, text, Decimal(amount), Decimal(balance), category)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    """A small file: three rents before the window, two purchases and a rent within it."""
    lines = [
        _line(1, date(2025, 8, 3), "RENT", "-500.00", "4500.00", "Rent"),
        _line(2, date(2025, 9, 3), "RENT", "-500.00", "4000.00", "Rent"),
        _line(3, date(2025, 10, 3), "RENT", "-500.00", "3500.00", "Rent"),
        _line(4, date(2025, 11, 1), "GROCER*A1B2C3 TOWN", "-20.00", "3480.00", "Food"),
        _line(5, date(2025, 11, 3), "GROCER*D4E5F6 TOWN", "-30.00", "3450.00", "Food"),
        _line(6, date(2025, 11, 3), "RENT", "-500.00", "2950.00", "Rent"),
        _line(7, date(2025, 11, 5), "DEPOSIT", "900.00", "3850.00", "Income"),
    ]
    return bank_scenario("A small file", lines, 7)


@pytest.mark.parametrize(
    ("kind", "context", "evidence"),
    [
        (
            Kind.ACCOUNT_THRESHOLD,  # two lines of one day: the balance after the later one
            {"account_id": 101, "balance": "2950.00"},
            "balance 2950.00 after line 7 of 2025-11-03",
        ),
        (Kind.GOAL, {"current_amount": "2950.0000"}, "balance 2950.00 after line 7 of 2025-11-03"),
        (Kind.MERCHANT_NAME, {"transaction_id": 5}, "line 6: 2025-11-03 -30.00 GROCER*D4E5F6 TOWN"),
        (Kind.TRANSACTION_LIMIT, {"transaction_id": 6}, "line 7: 2025-11-03 -500.00 RENT"),
        (
            Kind.SPENDING_TARGET,
            {"budget_id": 301, "period": "2025-11"},
            "Food, 2025-11: line 5 -20.00, line 6 -30.00",
        ),
        (
            Kind.UPCOMING_BILL,
            {"bill_id": 401},
            "paid before: line 2 (2025-08-03), line 3 (2025-09-03), line 4 (2025-10-03)",
        ),
    ],
)
def test_every_kind_of_firing_names_the_lines_that_made_it_true(
    scenario: Scenario, kind: Kind, context: Mapping[str, object], evidence: str
) -> None:
    assert Evidence(scenario).of(Fired(kind, 1, context, NOON)) == evidence


def test_what_had_not_happened_yet_is_no_evidence(scenario: Scenario) -> None:
    evidence = Evidence(scenario)
    before = NOON - timedelta(minutes=1)
    assert evidence.of(Fired(Kind.TRANSACTION_LIMIT, 1, {"transaction_id": 6}, before)) == ""
    assert evidence.of(Fired(Kind.ACCOUNT_THRESHOLD, 1, {"account_id": 101, "balance": "2950.00"}, before)) == ""
    assert evidence.of(Fired(Kind.SPENDING_TARGET, 1, {"budget_id": 301, "period": "2025-11"}, before)) == (
        "Food, 2025-11: line 5 -20.00"
    )


def _told(*deliveries: Delivered, fired_at: datetime = NOON) -> Told:
    return Told(
        id=UUID(int=1),
        user_id=1,
        kind=Kind.TRANSACTION_LIMIT,
        alert_name="Large payment",
        title="Large transaction",
        message="RENT [x] for $500.00",
        context={"transaction_id": 6},
        fired_at=fired_at,
        deliveries=deliveries,
    )


def _printed(scenario: Scenario, told: list[Told]) -> list[str]:
    output = io.StringIO()
    Report(Console(file=output), scenario).day(3, date(2025, 11, 3), told, DAY_BEGINS)
    return output.getvalue().splitlines()


def test_a_day_says_what_was_sent_to_whom_on_which_channel_and_why(scenario: Scenario) -> None:
    tomorrow = datetime(2025, 11, 4, 14, 0, tzinfo=UTC)
    told = _told(
        Delivered("sms", "held", "quiet_hours", tomorrow, NOON, None),
        Delivered("in_app", "sent", None, None, NOON, NOON),
        Delivered("email", "delivered", None, None, NOON, NOON),
    )
    assert _printed(scenario, [told]) == [
        "",
        "Mon 03 Nov 2025, day 3 of 7",
        "  12:00 to Account owner: Large transaction. RENT [x] for $500.00",
        "        why: Large payment (transaction_limit); line 7: 2025-11-03 -500.00 RENT",
        "        in_app sent, email delivered 12:00, sms held until 08:00 (quiet_hours)",
    ]


def test_what_was_held_before_is_told_on_the_day_it_goes_out(scenario: Scenario) -> None:
    morning = datetime(2025, 11, 3, 14, 0, tzinfo=UTC)
    evening_before = datetime(2025, 11, 3, 4, 30, tzinfo=UTC)
    told = _told(
        Delivered("in_app", "sent", None, None, evening_before, evening_before),
        Delivered("sms", "sent", None, None, evening_before, morning),
        fired_at=evening_before,
    )
    assert _printed(scenario, [told])[2:] == [
        "  08:00 to Account owner, held until then: Large transaction: sms sent 08:00"
    ]


def test_a_day_on_which_nothing_happens_says_so(scenario: Scenario) -> None:
    assert _printed(scenario, [])[1:] == ["Mon 03 Nov 2025, day 3 of 7: nothing to say"]


BOOKS = Books(
    firings=dict.fromkeys(Kind, 2),
    notifications=12,
    deliveries={"sms": {"sent": 1}, "email": {"sent": 1, "held": 1}},
    delivery_ids=frozenset({"a", "b", "c"}),
    lost=0,
    surplus=0,
)


def _accepted(*deliveries: str | None) -> Account:
    account = Account()
    for delivery in deliveries:
        account.took(Accepted(Provider.SENDGRID, "id", "a@b.c", delivery, 1, None, "", None, {}, NOON))
    return account


def _sum(books: Books, *accounts: Account) -> Summary:
    return summed_up(100, books, accounts, 60, timedelta(seconds=12.345))


def test_the_last_line_has_exactly_the_keys_that_were_agreed() -> None:
    summary = _sum(BOOKS, _accepted("a"), _accepted("b"))
    assert json.loads(json.dumps(summary.as_json())) == {
        "facts": 100,
        "firings": {
            "account_threshold": 2,
            "goal": 2,
            "merchant_name": 2,
            "spending_target": 2,
            "transaction_limit": 2,
            "upcoming_bill": 2,
        },
        "notifications": 12,
        "deliveries": {"email": {"sent": 1, "held": 1}, "sms": {"sent": 1}},
        "lost": 0,
        "duplicated": 0,
        "days": 60,
        "seconds": 12.3,
    }
    assert summary.succeeded


@pytest.mark.parametrize(
    ("why", "summary", "duplicated"),
    [
        ("a delivery was accepted twice", _sum(BOOKS, _accepted("a", "b", "a")), 1),
        ("each provider accepted one delivery twice", _sum(BOOKS, _accepted("a", "a"), _accepted("b", "b")), 2),
        ("a message is of no delivery in the books", _sum(BOOKS, _accepted("z", None)), 2),
        ("a notification has no firing", _sum(replace(BOOKS, surplus=1)), 1),
        ("something was lost", _sum(replace(BOOKS, lost=1)), 0),
        ("a kind was silent", _sum(replace(BOOKS, firings={**BOOKS.firings, Kind.GOAL: 0})), 0),
    ],
)
def test_a_simulation_fails_when_something_is_lost_doubled_or_silent(
    why: str, summary: Summary, duplicated: int
) -> None:
    assert not summary.succeeded, why
    assert summary.duplicated == duplicated, why


@pytest.mark.parametrize(
    ("wish", "body"),
    [
        (
            Wish(
                NOON,
                1,
                "Low",
                AccountThreshold(101, Decimal("21000"), "USD", "below", "while_true"),
                sms=True,
                cooldown=timedelta(days=20),
            ),
            {
                "name": "Low",
                "account_threshold": {
                    "account_id": "101",
                    "threshold": "21000.00",
                    "currency": "USD",
                    "direction": "below",
                    "repeat": "while_true",
                },
                "sms_delivery": True,
                "cooldown": "1728000s",
            },
        ),
        (
            Wish(NOON, 1, "M", MerchantName("A*B", "exact", "daily_digest")),
            {
                "name": "M",
                "merchant_name": {"merchant_pattern": "A*B", "match_type": "exact", "frequency": "daily_digest"},
                "sms_delivery": False,
            },
        ),
        (
            Wish(NOON, 1, "L", TransactionLimit(Decimal("12.5"), "USD", "debit")),
            {
                "name": "L",
                "transaction_limit": {"amount": "12.50", "currency": "USD", "direction": "debit"},
                "sms_delivery": False,
            },
        ),
        (
            Wish(NOON, 1, "B", UpcomingBill(401, 3)),
            {"name": "B", "upcoming_bill": {"bill_id": "401", "days_before": 3}, "sms_delivery": False},
        ),
    ],
)
def test_a_wish_becomes_the_body_that_the_contract_names(wish: Wish, body: Mapping[str, object]) -> None:
    assert alert_body(wish) == body
