"""The account of a simulation: what was sent, why, which line proves it, and the books at the end."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from tocsin_devstack.bank_file import BankLine
from tocsin_devstack.bank_scenario import bank_scenario
from tocsin_devstack.evidence import Evidence, Fired
from tocsin_devstack.faults import Provider
from tocsin_devstack.frontend import alert_body
from tocsin_devstack.reading import Books, Delivered, Told
from tocsin_devstack.report import CHANNELS, Report
from tocsin_devstack.scenario import (
    AccountThreshold,
    Budget,
    BudgetPeriod,
    Kind,
    MerchantName,
    Posting,
    Scenario,
    Transaction,
    TransactionLimit,
    TransactionStatus,
    UpcomingBill,
    Wish,
)
from tocsin_devstack.server import Accepted, Account, Refused
from tocsin_devstack.summary import Summary, summed_up

NOON = datetime(2025, 11, 3, 18, 0, tzinfo=UTC)  # 12:00 in Chicago
PENDING, POSTED, REVERSED = TransactionStatus
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
            "paid before: line 3 -500.00 (2025-09-03), line 4 -500.00 (2025-10-03), line 7 -500.00 (2025-11-03)",
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
    assert evidence.of(Fired(Kind.UPCOMING_BILL, 1, {"bill_id": 401}, before)) == (
        "paid before: line 2 -500.00 (2025-08-03), line 3 -500.00 (2025-09-03), line 4 -500.00 (2025-10-03)"
    )


BUDGET = Budget(301, 1, "Food", "Food", "USD", Decimal(100), BudgetPeriod.MONTHLY)


def _bought(id_: int, days_ago: int, amount: str, status: TransactionStatus = POSTED, **more: Any) -> Transaction:
    at = NOON - timedelta(days=days_ago)
    line = Transaction(
        id=id_,
        user_id=1,
        account_id=101,
        amount=Decimal(amount),
        currency="USD",
        merchant="Grocer",
        description="GROCER",
        category="Food",
        posted_on=at.date(),
        posted_at=at,
        status=status,
        balance_after=None,
        source=f"transaction {id_}",
    )
    return replace(line, **more)


@pytest.mark.parametrize(
    ("why", "lines", "listed"),
    [
        ("a purchase still pending counts", [_bought(1, 1, "-20.00", PENDING)], "transaction 1 -20.00"),
        (
            "its posted form takes its place, whether the bank names the pending one",
            [_bought(1, 2, "-20.00", PENDING), _bought(2, 1, "-20.00", settles=1, pending_transaction_id=1)],
            "transaction 2 -20.00",
        ),
        (
            "or not, and with a tip",
            [_bought(1, 2, "-20.00", PENDING), _bought(2, 1, "-23.00", settles=1)],
            "transaction 2 -23.00",
        ),
        (
            "not before it is there",
            [_bought(1, 1, "-20.00", PENDING), _bought(2, -1, "-20.00", settles=1)],
            "transaction 1 -20.00",
        ),
        (
            "one transaction said twice is its latest form",
            [_bought(1, 2, "-20.00", PENDING), _bought(1, 1, "-21.00")],
            "transaction 1 -21.00",
        ),
        (
            "a reversed one cost nothing",
            [_bought(1, 2, "-20.00"), _bought(1, 1, "-20.00", REVERSED), _bought(2, 1, "-5.00")],
            "transaction 2 -5.00",
        ),
        (
            "until it is reversed",
            [_bought(1, 2, "-20.00"), _bought(1, -1, "-20.00", REVERSED)],
            "transaction 1 -20.00",
        ),
        (
            "a refund is listed with its sign",
            [_bought(1, 2, "-20.00"), _bought(2, 1, "4.50")],
            "transaction 1 -20.00, transaction 2 4.50",
        ),
        (
            "what is settled in the next month counts there",
            [_bought(1, 4, "-20.00", PENDING), _bought(2, 1, "-20.00", settles=1)],
            "transaction 2 -20.00",
        ),
        (
            "of many lines the last are named, and the others' sum",
            [_bought(number, 2, "-1.10") for number in range(1, 16)],
            "3 earlier -3.30, " + ", ".join(f"transaction {number} -1.10" for number in range(4, 16)),
        ),
    ],
)
def test_a_budgets_evidence_adds_up_to_what_was_spent(
    scenario: Scenario, why: str, lines: list[Transaction], listed: str
) -> None:
    posted = Posting(scenario.starts_at, (BUDGET,))
    evidence = Evidence(replace(scenario, history=tuple(lines), postings=(posted,)))
    fired = Fired(Kind.SPENDING_TARGET, 1, {"budget_id": 301, "period": "2025-11"}, NOON)
    assert evidence.of(fired) == f"Food, 2025-11: {listed}", why


def _delivered(
    channel: str,
    status: str,
    reason: str | None,
    due_at: datetime | None,
    created_at: datetime,
    sent_at: datetime | None,
) -> Delivered:
    return Delivered(UUID(int=CHANNELS.index(channel)), channel, status, reason, due_at, created_at, sent_at)


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
        _delivered("sms", "held", "quiet_hours", tomorrow, NOON, None),
        _delivered("in_app", "sent", None, None, NOON, NOON),
        _delivered("email", "delivered", None, None, NOON, NOON),
    )
    assert _printed(scenario, [told]) == [
        "",
        "Mon 03 Nov 2025, day 3 of 7",
        "  12:00 to Account owner: Large transaction. RENT [x] for $500.00",
        "        why: Large payment (transaction_limit); line 7: 2025-11-03 -500.00 RENT",
        "        in_app sent, email delivered 12:00, sms held until 08:00 (quiet_hours)",
    ]


def test_what_was_held_before_is_told_on_the_day_it_goes_out_or_ends_otherwise(scenario: Scenario) -> None:
    morning = datetime(2025, 11, 3, 14, 0, tzinfo=UTC)
    evening_before = datetime(2025, 11, 3, 4, 30, tzinfo=UTC)
    told = _told(
        _delivered("sms", "sent", None, None, evening_before, morning),
        _delivered("email", "suppressed", "no_longer_true", None, evening_before, None),
        _delivered("push", "expired", "expired", None, evening_before, None),
        replace(_delivered("email", "merged", "merged", None, evening_before, morning), in_digest=True),
        _delivered("webhook", "held", "breaker_open", NOON, evening_before, None),
        fired_at=evening_before,
    )
    assert _printed(scenario, [told])[2:] == [
        "  08:00 to Account owner, waiting until then: Large transaction: sms sent 08:00",
        "  to Account owner, no longer waiting: Large transaction: email suppressed (no_longer_true)",
        "  to Account owner, no longer waiting: Large transaction: push expired (expired)",
        "  08:00 to Account owner, waiting until then: Large transaction: email in a digest 08:00",
    ], "and what still waits was told before"


def test_a_day_on_which_nothing_happens_says_so(scenario: Scenario) -> None:
    before = DAY_BEGINS - timedelta(hours=1)
    still_waiting = _told(_delivered("email", "retrying", None, NOON, before, None), fired_at=before)
    for told in ([], [still_waiting]):
        assert _printed(scenario, told)[1:] == ["Mon 03 Nov 2025, day 3 of 7: nothing to say"]


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
    assert summary.complaint == ""


def _refusing() -> Account:
    account = _accepted("a")
    account.refused += [Refused(Provider.SENDGRID, 400, ("from: is required", "to: is none")) for _ in range(2)]
    return account


@pytest.mark.parametrize(
    ("why", "summary", "complaint"),
    [
        ("a delivery was accepted twice", _sum(BOOKS, _accepted("a", "b", "a")), "0 lost, 1 duplicated"),
        (
            "each provider accepted one delivery twice",
            _sum(BOOKS, _accepted("a", "a"), _accepted("b", "b")),
            "0 lost, 2 duplicated",
        ),
        ("messages are of no delivery in the books", _sum(BOOKS, _accepted("z", None)), "0 lost, 2 duplicated"),
        ("a notification has no firing", _sum(replace(BOOKS, surplus=1)), "0 lost, 1 duplicated"),
        ("something was lost", _sum(replace(BOOKS, lost=1)), "1 lost, 0 duplicated"),
        (
            "a provider took calls for invalid",
            _sum(BOOKS, _accepted("b"), _refusing()),
            "2 calls refused as invalid, the first by sendgrid: 400 from: is required; to: is none",
        ),
        (
            "a kind was silent",
            _sum(replace(BOOKS, lost=2, firings={**BOOKS.firings, Kind.GOAL: 0})),
            "2 lost, 0 duplicated, nothing from goal",
        ),
    ],
)
def test_a_simulation_fails_when_something_is_lost_doubled_refused_or_silent(
    why: str, summary: Summary, complaint: str
) -> None:
    assert summary.complaint == f"failed: {complaint}", why


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
