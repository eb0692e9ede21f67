"""What leaves together, and what a digest passes before it leaves."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tocsin_dispatcher.planning.digests import are_a_digest, digest_of, digest_told, may_join, waits_together
from tocsin_dispatcher.planning.gate import gate, gate_before_a_digest, gate_member
from tocsin_dispatcher.planning.recheck import needs_recheck
from tocsin_dispatcher.reasons import Reason, SuppressionCause
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import (
    AlertStanding,
    Channel,
    Counts,
    Delivery,
    Digest,
    Expire,
    GateCase,
    Hold,
    Notification,
    Preferences,
    Proceed,
    Purpose,
    QuietHours,
    Suppress,
    UpcomingBillContext,
    WorkClass,
)

NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
DIGEST_ID = UUID("01935f4e-0000-7000-8000-0000000000dd")
RENT = UpcomingBillContext(5, "Rent", Decimal("1800"), "USD", date(2025, 11, 5))
FULL = Counts(this_hour=10, today=10)
HELD: dict[str, Any] = {"status": DeliveryState.HELD, "reason": Reason.QUIET_HOURS}


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, True),
        ({"reason": Reason.RATE_LIMITED}, True),
        ({"reason": Reason.FLOOD}, True),
        ({"reason": Reason.DAILY_DIGEST}, True),
        ({"status": DeliveryState.PENDING}, True),
        ({"reason": Reason.PROFILE_AWAITED}, False),
        ({"reason": Reason.BREAKER_OPEN}, False),
        ({"attempt": 1}, False),
        ({"merged_into": DIGEST_ID}, False),
        ({"channel": Channel.WEBHOOK}, False),
        ({"purpose": Purpose.DIGEST}, False),
    ],
)
def test_only_what_was_held_for_the_persons_sake_and_never_tried_waits_together(
    delivery: Delivery, changes: dict[str, Any], waits: bool
) -> None:
    assert waits_together(replace(delivery, **(HELD | changes))) is waits


def test_what_was_not_held_joins_only_where_it_is_a_daily_digests(
    delivery: Delivery, make_notification: Callable[..., Notification]
) -> None:
    assert not may_join(delivery, make_notification())
    assert may_join(delivery, make_notification(daily_digest=True))
    late = replace(delivery, status=DeliveryState.HELD, reason=Reason.PROFILE_AWAITED)
    assert may_join(late, make_notification(daily_digest=True)), "the profile came when the hour had passed"
    assert not may_join(late, make_notification())
    assert not may_join(replace(delivery, attempt=1), make_notification(daily_digest=True))


@pytest.mark.parametrize(("daily", "others", "is_one"), [(0, 2, False), (0, 3, True), (1, 0, True), (1, 1, True)])
def test_three_are_a_digest_and_a_daily_one_always(
    make_notification: Callable[..., Notification], daily: int, others: int, is_one: bool
) -> None:
    members = [make_notification(daily_digest=True)] * daily + [make_notification()] * others
    assert are_a_digest(members) is is_one


def test_a_digest_is_as_urgent_as_its_most_urgent_member_and_lives_as_long_as_its_last(delivery: Delivery) -> None:
    late = replace(delivery, work_class=WorkClass.BILLS, expires_at=NOON + timedelta(hours=30))
    early = replace(delivery, work_class=WorkClass.USER, expires_at=NOON + timedelta(hours=3))
    digest = digest_of(DIGEST_ID, [late, early], NOON)
    assert (digest.work_class, digest.expires_at) == (WorkClass.USER, NOON + timedelta(hours=30))
    assert (digest.purpose, digest.notification_id, digest.fact_key) == (Purpose.DIGEST, None, None)


def test_a_digest_is_critical_where_a_member_is(
    delivery: Delivery, make_notification: Callable[..., Notification]
) -> None:
    digest = digest_of(DIGEST_ID, [delivery], NOON)
    plain, urgent = make_notification(), make_notification(critical=True)
    assert not digest_told(digest, [plain, plain]).critical
    told = digest_told(digest, [plain, urgent])
    assert told.critical
    assert isinstance(told.context, Digest)
    assert len(told.context.members) == 2


def _digest_case(make_case: Callable[..., GateCase], *, critical: bool = False, **recipient: Any) -> GateCase:
    case = make_case(notification={"critical": critical}, **recipient)
    delivery = digest_of(DIGEST_ID, [case.delivery], NOON)
    return replace(case, delivery=delivery, notification=digest_told(delivery, [case.notification]))


def test_a_digest_passes_by_itself_where_kinds_are_switched_off_and_alerts_gone(
    make_case: Callable[..., GateCase],
) -> None:
    assert gate(_digest_case(make_case, standing=AlertStanding.ALERT_GONE)) == Proceed()


def test_a_digest_waits_for_a_token_and_for_the_morning_unless_it_is_critical(
    make_case: Callable[..., GateCase],
) -> None:
    verdict = gate(_digest_case(make_case, counts=FULL))
    assert isinstance(verdict, Hold)
    assert verdict.reason is Reason.RATE_LIMITED
    always = Preferences(quiet_hours=QuietHours(enabled=True, start=datetime.min.time(), end=NOON.time()))
    verdict = gate(_digest_case(make_case, preferences=always))
    assert isinstance(verdict, Hold)
    assert verdict.reason is Reason.QUIET_HOURS
    assert gate(_digest_case(make_case, preferences=always, counts=FULL, critical=True)) == Proceed()


def test_a_digest_goes_to_no_address_that_is_suppressed_or_gone(make_case: Callable[..., GateCase]) -> None:
    stopped = gate(_digest_case(make_case, suppressed=SuppressionCause.BOUNCED))
    assert stopped == Suppress(Reason.SUPPRESSED_BOUNCED)
    assert gate(_digest_case(make_case, contact_={"email": None})) == Suppress(Reason.NO_ADDRESS)


def test_before_a_digest_the_limits_do_not_count(make_case: Callable[..., GateCase]) -> None:
    case = make_case(counts=FULL)
    assert isinstance(gate(case), Hold)
    assert gate_before_a_digest(case) == Proceed()


def test_a_member_that_is_over_is_told_no_longer(make_case: Callable[..., GateCase]) -> None:
    assert gate_member(make_case()) == Proceed()
    assert gate_member(make_case(standing=AlertStanding.SNOOZED)) == Suppress(Reason.SNOOZED)
    off = Preferences(email_enabled=False)
    assert gate_member(make_case(preferences=off)) == Suppress(Reason.PREFERENCE_OFF)
    tomorrow = make_case(now=NOON + timedelta(hours=12), notification={"context": RENT})
    assert gate_member(tomorrow) == Expire()


def test_what_waited_together_is_asked_about_also_while_it_is_young(
    delivery: Delivery, make_notification: Callable[..., Notification]
) -> None:
    assert not needs_recheck(delivery, make_notification(), NOON)
    assert needs_recheck(replace(delivery, reason=Reason.RATE_LIMITED), make_notification(), NOON)
    digest = digest_of(DIGEST_ID, [delivery], NOON)
    assert needs_recheck(digest, digest_told(digest, [make_notification()]), NOON)
