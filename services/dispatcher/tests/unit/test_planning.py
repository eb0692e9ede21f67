"""The plan, the gate and their clocks."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_dispatcher.planning.expiry import after_hold
from tocsin_dispatcher.planning.gate import gate
from tocsin_dispatcher.planning.plan import PROFILE_WAIT, plan
from tocsin_dispatcher.planning.quiet_hours import quiet_until
from tocsin_dispatcher.planning.recheck import needs_recheck
from tocsin_dispatcher.planning.same_fact import settle
from tocsin_dispatcher.planning.windows import windows_at
from tocsin_dispatcher.reasons import Reason, SuppressionCause
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import (
    AlertKind,
    AlertStanding,
    Channel,
    Contact,
    Counts,
    Delivery,
    Displace,
    Expire,
    Firing,
    GateCase,
    GateRules,
    GoAlone,
    Hold,
    Merge,
    Notification,
    PartnerSettings,
    Preferences,
    Proceed,
    QuietHours,
    SameFact,
    Suppress,
    UpcomingBillContext,
)
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds

NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
CHICAGO = ZoneInfo("America/Chicago")
IDS = SeededIds(1, SteppedClock(NOON))
NIGHT = Preferences(quiet_hours=QuietHours(enabled=True))
RENT = UpcomingBillContext(5, "Rent", Decimal("1800"), "USD", date(2025, 11, 5))


def by_channel(deliveries: tuple[Delivery, ...]) -> dict[Channel, tuple[DeliveryState, Reason | None]]:
    return {delivery.channel: (delivery.status, delivery.reason) for delivery in deliveries}


def test_a_firing_is_planned_for_the_inbox_and_each_channel_asked_for(
    make_firing: Callable[..., Firing], contact: Contact
) -> None:
    firing = make_firing(channels=(Channel.EMAIL, Channel.SMS, Channel.IN_APP, Channel.EMAIL, Channel.PUSH))
    assert by_channel(plan(firing, contact, NOON, IDS)) == {
        Channel.IN_APP: (DeliveryState.SENT, None),
        Channel.EMAIL: (DeliveryState.PENDING, None),
        Channel.SMS: (DeliveryState.PENDING, None),
        Channel.PUSH: (DeliveryState.SUPPRESSED, Reason.NO_ADDRESS),
    }


def test_a_channel_without_an_address_is_planned_once_and_suppressed(
    make_firing: Callable[..., Firing], contact: Contact
) -> None:
    planned = plan(make_firing(), replace(contact, phone=None), NOON, IDS)
    assert by_channel(planned)[Channel.SMS] == (DeliveryState.SUPPRESSED, Reason.NO_ADDRESS)


@pytest.mark.parametrize("known", [None, 2])
def test_a_profile_that_has_not_arrived_is_awaited_for_a_minute(
    make_firing: Callable[..., Firing], contact: Contact, known: int | None
) -> None:
    planned = plan(make_firing(), None if known is None else replace(contact, version=known), NOON, IDS)
    email = next(delivery for delivery in planned if delivery.channel is Channel.EMAIL)
    assert (email.status, email.reason) == (DeliveryState.HELD, Reason.PROFILE_AWAITED)
    assert email.due_at == NOON + PROFILE_WAIT


def test_a_purchase_is_a_fact_on_email_but_not_in_the_inbox(
    make_firing: Callable[..., Firing], contact: Contact
) -> None:
    keys = {delivery.channel: delivery.fact_key for delivery in plan(make_firing(), contact, NOON, IDS)}
    assert keys == {Channel.IN_APP: None, Channel.EMAIL: "purchase:991", Channel.SMS: "purchase:991"}


def test_a_bill_expires_with_its_due_day_however_long_it_is_held(
    make_firing: Callable[..., Firing], contact: Contact
) -> None:
    email = plan(make_firing(RENT), contact, NOON, IDS)[1]
    midnight = datetime(2025, 11, 6, 6, 0, tzinfo=UTC)
    assert email.expires_at == midnight
    assert after_hold(email.expires_at, timedelta(hours=9), midnight) == midnight


CASES: list[tuple[str, dict[str, Any], object]] = [
    ("all is well", {}, Proceed()),
    ("no e-mail address", {"contact_": {"email": None}}, Suppress(Reason.NO_ADDRESS)),
    ("an unverified e-mail is allowed", {"contact_": {"email_verified_at": None}}, Proceed()),
    (
        "an unverified phone is not",
        {"delivery_": {"channel": Channel.SMS}, "contact_": {"phone_verified_at": None}},
        Suppress(Reason.UNVERIFIED),
    ),
    ("alert deleted", {"standing": AlertStanding.ALERT_GONE}, Suppress(Reason.ALERT_GONE)),
    ("alert snoozed", {"standing": AlertStanding.SNOOZED}, Suppress(Reason.SNOOZED)),
    ("no longer true", {"standing": AlertStanding.NO_LONGER_TRUE}, Suppress(Reason.NO_LONGER_TRUE)),
    ("at its expiry", {"delivery_": {"expires_at": NOON}}, Expire()),
    (
        "a bill after its due day in the zone lived in now",
        {"notification": {"context": RENT, "kind": RENT.kind}, "contact_": {"time_zone": "Pacific/Kiritimati"}},
        Expire(),
    ),
    ("channel off", {"preferences": Preferences(email_enabled=False)}, Suppress(Reason.PREFERENCE_OFF)),
    (
        "kind off on this channel",
        {"preferences": Preferences(overrides={(AlertKind.MERCHANT_NAME, Channel.EMAIL): False})},
        Suppress(Reason.PREFERENCE_OFF),
    ),
    (
        "kind off on another channel",
        {"preferences": Preferences(overrides={(AlertKind.MERCHANT_NAME, Channel.SMS): False})},
        Proceed(),
    ),
    (
        "a mandatory kind",
        {
            "preferences": Preferences(email_enabled=False),
            "partner": PartnerSettings(mandatory_kinds=frozenset({AlertKind.MERCHANT_NAME})),
        },
        Proceed(),
    ),
    (
        "STOP beats critical",
        {"suppressed": SuppressionCause.STOPPED, "notification": {"critical": True}},
        Suppress(Reason.SUPPRESSED_STOPPED),
    ),
    (
        "quiet hours do not apply by day",
        {"preferences": NIGHT},
        Proceed(),
    ),
    ("a token was taken already", {"delivery_": {"token_taken": True}, "counts": Counts(99, 99)}, Proceed()),
    ("the last token of the hour", {"counts": Counts(9, 9)}, Proceed()),
    (
        "the hour is full",
        {"counts": Counts(10, 10)},
        Hold(NOON + timedelta(hours=1), Reason.RATE_LIMITED, NOON + timedelta(hours=25)),
    ),
    (
        "the partner's ceiling is lower",
        {"counts": Counts(2, 2), "partner": PartnerSettings(max_per_hour=2)},
        Hold(NOON + timedelta(hours=1), Reason.RATE_LIMITED, NOON + timedelta(hours=25)),
    ),
    (
        "the user asks for more than the ceiling that holds where the partner has set none",
        {"counts": Counts(10, 10), "preferences": Preferences(max_per_hour=10_000)},
        Hold(NOON + timedelta(hours=1), Reason.RATE_LIMITED, NOON + timedelta(hours=25)),
    ),
    (
        "the same of the day",
        {"counts": Counts(0, 50), "preferences": Preferences(max_per_day=10_000)},
        Hold(NOON + timedelta(hours=12), Reason.RATE_LIMITED, NOON + timedelta(hours=36)),
    ),
    (
        "the local day is full: until midnight in Chicago",
        {"counts": Counts(0, 50)},
        Hold(NOON + timedelta(hours=12), Reason.RATE_LIMITED, NOON + timedelta(hours=36)),
    ),
    (
        "critical passes both limits",
        {"counts": Counts(10, 50, critical_this_hour=29), "notification": {"critical": True}},
        Proceed(),
    ),
    (
        "the thirty-first critical one of an hour is a flood",
        {"counts": Counts(0, 0, critical_this_hour=30), "notification": {"critical": True}},
        Hold(NOON + timedelta(hours=1), Reason.FLOOD, NOON + timedelta(hours=25)),
    ),
    (
        "a daily digest waits for 18:00 in Chicago",
        {"notification": {"daily_digest": True}},
        Hold(NOON + timedelta(hours=6), Reason.DAILY_DIGEST, NOON + timedelta(hours=30)),
    ),
]


@pytest.mark.parametrize(("changes", "verdict"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_gate(make_case: Callable[..., GateCase], changes: dict[str, Any], verdict: object) -> None:
    assert gate(make_case(**changes)) == verdict


def test_an_unverified_email_is_refused_where_the_setting_says_so(make_case: Callable[..., GateCase]) -> None:
    case = make_case(contact_={"email_verified_at": None})
    assert gate(replace(case, rules=GateRules(unverified_email_allowed=False))) == Suppress(Reason.UNVERIFIED)


def test_a_daily_digest_is_held_once(make_case: Callable[..., GateCase]) -> None:
    assert gate(make_case(now=NOON + timedelta(hours=6), notification={"daily_digest": True})) == Proceed()


def test_quiet_hours_hold_until_they_end_and_let_critical_pass(make_case: Callable[..., GateCase]) -> None:
    eleven_at_night = datetime(2025, 11, 6, 5, 0, tzinfo=UTC)
    late = {"expires_at": eleven_at_night + timedelta(hours=1)}
    held = gate(make_case(now=eleven_at_night, preferences=NIGHT, delivery_=late))
    eight = datetime(2025, 11, 6, 14, 0, tzinfo=UTC)
    assert held == Hold(eight, Reason.QUIET_HOURS, eight + timedelta(hours=1))
    critical = make_case(now=eleven_at_night, preferences=NIGHT, delivery_=late, notification={"critical": True})
    assert gate(critical) == Proceed()


def test_the_inbox_passes_what_holds_the_others(make_case: Callable[..., GateCase]) -> None:
    case = make_case(
        now=datetime(2025, 11, 6, 5, 0, tzinfo=UTC),
        delivery_={"channel": Channel.IN_APP},
        preferences=NIGHT,
        counts=Counts(99, 99),
        suppressed=SuppressionCause.BOUNCED,
        notification={"daily_digest": True},
    )
    assert gate(case) == Proceed()


QUIET: list[tuple[str, str, time, time, str, str | None]] = [
    ("just before it begins", "America/Chicago", time(22), time(8), "2025-11-05T21:59:59", None),
    ("as it begins", "America/Chicago", time(22), time(8), "2025-11-05T22:00:00", "2025-11-06T08:00:00"),
    ("after midnight", "America/Chicago", time(22), time(8), "2025-11-06T03:00:00", "2025-11-06T08:00:00"),
    ("as it ends", "America/Chicago", time(22), time(8), "2025-11-06T08:00:00", None),
    ("within one day", "Asia/Kathmandu", time(13), time(14, 30), "2025-11-06T13:30:00", "2025-11-06T14:30:00"),
    ("over the night that loses an hour", "America/Chicago", time(22), time(8), "2025-03-08T23:00", "2025-03-09T08:00"),
    ("over the night that gains an hour", "America/Chicago", time(22), time(8), "2025-11-01T23:00", "2025-11-02T08:00"),
    (
        "an end that is skipped moves forward",
        "America/Chicago",
        time(1),
        time(2, 30),
        "2025-03-09T01:30",
        "2025-03-09T03:30",
    ),
    ("an empty window", "America/Chicago", time(8), time(8), "2025-11-06T08:00:00", None),
]


@pytest.mark.parametrize(
    ("zone", "start", "end", "now", "until"), [case[1:] for case in QUIET], ids=[c[0] for c in QUIET]
)
def test_quiet_hours(zone: str, start: time, end: time, now: str, until: str | None) -> None:
    place = ZoneInfo(zone)
    asked = datetime.fromisoformat(now).replace(tzinfo=place).astimezone(UTC)
    want = None if until is None else datetime.fromisoformat(until).replace(tzinfo=place).astimezone(UTC)
    assert quiet_until(QuietHours(True, start, end), place, asked) == want


def test_a_repeated_hour_is_quiet_once() -> None:
    quiet = QuietHours(True, time(1, 15), time(1, 45))
    first, second = datetime(2025, 11, 2, 6, 30, tzinfo=UTC), datetime(2025, 11, 2, 7, 30, tzinfo=UTC)
    assert quiet_until(quiet, CHICAGO, first) == datetime(2025, 11, 2, 6, 45, tzinfo=UTC)
    assert quiet_until(quiet, CHICAGO, second) is None


@given(
    st.times(),
    st.times(),
    st.integers(0, 2 * 365 * 24 * 60).map(lambda minutes: NOON + timedelta(minutes=minutes)),
    st.sampled_from(["America/Chicago", "Asia/Kathmandu", "Australia/Lord_Howe", "Europe/Berlin", "Pacific/Apia"]),
)
def test_quiet_hours_always_end_later_and_within_a_day_and_a_clock_change(
    start: time, end: time, now: datetime, zone: str
) -> None:
    until = quiet_until(QuietHours(True, start, end), ZoneInfo(zone), now)
    assert until is None or now < until <= now + timedelta(hours=26)


def test_days_are_the_users_and_hours_are_full_hours() -> None:
    windows = windows_at(datetime(2025, 11, 2, 5, 30, tzinfo=UTC), CHICAGO)
    assert windows.day == date(2025, 11, 2)
    assert windows.next_hour == datetime(2025, 11, 2, 6, tzinfo=UTC)
    assert windows.next_day == datetime(2025, 11, 3, 6, tzinfo=UTC), "the day of the change has 25 hours"


FACTS = [
    # (other's status, other critical, other a digest, mine critical) -> who speaks
    (DeliveryState.SENT, False, False, False, "merge"),
    (DeliveryState.SENT, True, False, False, "merge"),
    (DeliveryState.SENT, False, False, True, "alone"),
    (DeliveryState.PENDING, False, False, False, "merge"),
    (DeliveryState.PENDING, False, False, True, "displace"),
    (DeliveryState.PENDING, False, True, False, "displace"),
    (DeliveryState.HELD, False, True, False, "displace"),
    (DeliveryState.HELD, False, False, True, "displace"),
    (DeliveryState.HELD, True, False, False, "merge"),
    (DeliveryState.SENDING, True, False, True, "merge"),
    (DeliveryState.RETRYING, False, False, True, "displace"),
]


@pytest.mark.parametrize(("status", "other_critical", "digest", "critical", "want"), FACTS)
def test_one_message_tells_a_purchase(
    delivery: Delivery, status: DeliveryState, other_critical: bool, digest: bool, critical: bool, want: str
) -> None:
    decisions = {"merge": Merge(delivery.id), "displace": Displace(delivery.id), "alone": GoAlone(delivery.id)}
    assert settle(critical, SameFact(delivery.id, status, other_critical, digest)) == decisions[want]


def test_what_has_waited_is_rechecked_and_what_is_fresh_is_not(
    delivery: Delivery, make_notification: Callable[..., Notification]
) -> None:
    notification = make_notification()
    assert not needs_recheck(delivery, notification, NOON + timedelta(seconds=1))
    assert needs_recheck(delivery, notification, NOON + timedelta(hours=1))
    assert needs_recheck(replace(delivery, status=DeliveryState.HELD), notification, NOON)
