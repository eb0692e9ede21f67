"""Every kind stays quiet when it must: deleted, inactive, snoozed, at night. And it speaks when that is over.

A kind of state (threshold, goal, target, bill) that still holds after a snooze is told by the first sweep; a purchase
that came meanwhile is gone. What the night holds leaves at its end in the user's own zone, unless it is a threshold,
target or bill that no longer holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import pytest

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Fact, Timetable

Post = Callable[[Timetable, int], Fact]
Words = Callable[[int, int], str]


@dataclass(frozen=True)
class Kind:
    """A kind's alerts, and what two of their subjects (1 and 2) are posted as and told as.

    A kind of event has one alert for all purchases; `false` is then the purchase taken back. The words are those of a
    subject, so many nights after the 3rd of November.
    """

    name: str
    alerts: tuple[dict[str, Any], ...]
    true: Post
    false: Post
    title: Words
    text: Words
    is_event: bool = False
    told_when_switched_on: bool = True
    can_cease: bool = True

    def inbox(self, subject: int) -> str:
        """How the inbox shows it."""
        return f"inbox: {self.title(subject, 0)}"

    def sent(self, subject: int, nights: int = 0) -> tuple[str, str]:
        """How e-mail and text tell it."""
        return f"email: {self.title(subject, nights)}", f"sms: {self.text(subject, nights)}"

    def told(self, subject: int) -> tuple[str, ...]:
        """All three."""
        return self.inbox(subject), *self.sent(subject)


def account(day: Timetable, subject: int, balance: str) -> Fact:
    return day.account(balance, id=f"{10 + subject}", name=f"Account {subject}")


def goal(day: Timetable, subject: int, current: str) -> Fact:
    return day.goal(current, id=f"{20 + subject}", name=f"Goal {subject}")


def budget(day: Timetable, subject: int, spent: str) -> Fact:
    return day.budget(spent, id=f"{30 + subject}", name=f"Budget {subject}")


def bill(day: Timetable, subject: int, due_date: str) -> Fact:
    return day.bill(due_date, id=f"{40 + subject}", name=f"Bill {subject}")


def coffee(day: Timetable, subject: int, **changes: Any) -> Fact:
    return day.purchase("4.50", f"Coffee {subject}", id=f"{500 + subject}", **changes)


def bike(day: Timetable, subject: int, **changes: Any) -> Fact:
    return day.purchase(f"25{subject}.00", id=f"{600 + subject}", **changes)


def threshold(account_id: str) -> dict[str, Any]:
    below = {"account_id": account_id, "threshold": "500.00", "currency": "USD", "direction": "below"}
    return {"account_threshold": below, "cooldown": "86400s"}  # once in a night


def days_left(nights: int) -> str:
    """Until the 6th of November."""
    return f"in {3 - nights} days"


KINDS = (
    Kind(
        "account_threshold",
        (threshold("11"), threshold("12")),
        true=lambda day, n: account(day, n, "480.00"),
        false=lambda day, n: account(day, n, "2000.00"),
        title=lambda n, _: f"Low balance: Account {n}",
        text=lambda n, _: f"Account {n}: $480.00 (below $500.00)",
    ),
    Kind(
        "goal",
        ({"goal": {"goal_id": "21"}}, {"goal": {"goal_id": "22"}}),
        true=lambda day, n: goal(day, n, "500.00"),
        false=lambda day, n: goal(day, n, "100.00"),
        title=lambda *_: "Goal reached: 50%",
        text=lambda n, _: f'Goal "Goal {n}" reached 50%!',
        told_when_switched_on=False,  # what it reached meanwhile is passed silently
        can_cease=False,  # what was reached was reached
    ),
    Kind(
        "merchant_name",
        ({"merchant_name": {"merchant_pattern": "coffee", "match_type": "contains"}},),
        true=coffee,
        false=lambda day, n: coffee(day, n, status="reversed"),
        title=lambda n, _: f"Coffee {n}",
        text=lambda n, _: f"Coffee {n}: $4.50",
        is_event=True,
        told_when_switched_on=False,
        can_cease=False,
    ),
    Kind(
        "spending_target",
        ({"spending_target": {"budget_id": "31"}}, {"spending_target": {"budget_id": "32"}}),
        true=lambda day, n: budget(day, n, "330.00"),
        false=lambda day, n: budget(day, n, "100.00"),
        title=lambda *_: "Budget at 80%",
        text=lambda n, _: f'Budget "Budget {n}" at 80%',
    ),
    Kind(
        "transaction_limit",
        ({"transaction_limit": {"amount": "250.00", "currency": "USD"}, "critical": False},),
        true=bike,
        false=lambda day, n: bike(day, n, status="reversed"),
        title=lambda *_: "Large transaction",
        text=lambda n, _: f"Large transaction: $25{n}.00 (limit: $250.00)",
        is_event=True,
        told_when_switched_on=False,
        can_cease=False,
    ),
    Kind(
        "upcoming_bill",
        ({"upcoming_bill": {"bill_id": "41"}}, {"upcoming_bill": {"bill_id": "42"}}),
        true=lambda day, n: bill(day, n, "2025-11-06"),
        false=lambda day, n: bill(day, n, "2025-11-30"),
        title=lambda _, nights: f"Bill due {days_left(nights)}",
        text=lambda n, nights: f'Bill "Bill {n}" ($1,494.00) due {days_left(nights)}',
    ),
)
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@EACH_KIND
async def test_it_says_nothing_while_deleted_inactive_or_snoozed(timetable: OpenTimetable, kind: Kind) -> None:
    async with timetable("2025-11-03 09:00") as day:
        alert = {**kind.alerts[0], "sms_delivery": True}
        if not kind.is_event:
            await day.post(kind.false(day, 1))
        deleted = await day.alert(**alert)
        await day.must("DELETE", f"/api/v2/alerts/{deleted}")
        inactive = await day.alert(**alert, active=False)
        half_past_ten = day.instant("10:30").astimezone(UTC).isoformat()
        snoozed = await day.alert(**alert, snoozed_until=half_past_ten)
        await day.at("09:05", kind.true(day, 1))
        await day.at("10:05")  # a sweep found it snoozed

        await day.at("10:59")
        if kind.is_event:
            await day.must("POST", f"/api/v2/alerts/{snoozed}/evaluate", {})  # what it slept through is gone
            await day.at("11:05", kind.true(day, 2))
            await day.want(*kind.told(2))
        else:
            await day.at("11:00")  # the first sweep, and run over the bills, after the snooze
            await day.want(*kind.told(1))

        await day.at("11:15")
        await day.must("PATCH", f"/api/v2/alerts/{inactive}", {"active": True})
        if kind.told_when_switched_on:
            await day.want(*kind.told(1))
        await day.at("12:15")


@EACH_KIND
async def test_email_and_text_wait_for_the_end_of_the_night_and_what_ceased_is_not_sent(
    timetable: OpenTimetable, kind: Kind
) -> None:
    async with timetable("2025-11-03 20:00", "Asia/Kathmandu") as day:
        night = {"enabled": True, "start": "22:00", "end": "08:00"}
        await day.must("PATCH", "/api/v2/preferences", {"quiet_hours": night})
        for alert in kind.alerts:
            await day.alert(**alert, sms_delivery=True)
        await day.at("22:30", kind.true(day, 1), kind.true(day, 2))
        await day.want(kind.inbox(1), kind.inbox(2))
        await day.at("2025-11-04 07:30", kind.false(day, 2))
        await day.at("2025-11-04 07:59")
        await day.at("2025-11-04 08:00")
        still_true = (1,) if kind.can_cease else (1, 2)
        await day.want(*(line for subject in still_true for line in kind.sent(subject, nights=1)))
        await day.at("2025-11-04 08:30")
