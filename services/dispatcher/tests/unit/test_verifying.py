"""Codes: made, hashed, limited, and told to nobody but who sends them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_dispatcher.channels.email import Email
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.planning.gate import gate
from tocsin_dispatcher.planning.recheck import needs_recheck
from tocsin_dispatcher.reasons import Reason, SuppressionCause
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import (
    AlertKind,
    Channel,
    Counts,
    Expire,
    GateCase,
    KindSwitch,
    ManyKinds,
    Notification,
    PartnerSettings,
    Preferences,
    Proceed,
    Purpose,
    QuietHours,
    Suppress,
    Verification,
)
from tocsin_dispatcher.verifying.codes import Codes
from tocsin_dispatcher.verifying.limits import Limits, Scope, country_of, subjects, why_not
from tocsin_kit.sealing import CannotOpen

ONE, OTHER = UUID(int=1), UUID(int=2)
NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)


def test_codes_are_six_digits_and_evenly_spread() -> None:
    """A code that begins with zeros is one too."""
    codes = Codes(b"key", Random(1))
    made = [codes.new() for _ in range(20_000)]
    assert {len(code) for code in made} == {6}
    assert all(code.isdecimal() for code in made)
    assert min(Counter(code[0] for code in made).values()) > 1_700
    assert len(set(made)) > 19_000


@given(st.from_regex(r"[0-9]{6}", fullmatch=True), st.from_regex(r"[0-9]{6}", fullmatch=True))
def test_only_the_code_itself_fits_and_only_its_own_verification(code: str, typed: str) -> None:
    """What is stored of it says nothing without the key."""
    codes = Codes(b"key", Random(1))
    hashed = codes.hashed(ONE, code)
    assert codes.fits(ONE, typed, hashed) is (typed == code)
    assert not codes.fits(OTHER, code, hashed)
    assert not Codes(b"another key", Random(1)).fits(ONE, code, hashed)


def test_a_sealed_code_opens_for_its_delivery_and_with_our_key_only() -> None:
    """And it does not show in what is stored."""
    codes = Codes(b"key", Random(1))
    sealed = codes.seal(ONE, "482913")
    assert codes.open(ONE, sealed) == "482913"
    assert b"482913" not in sealed
    for opener, delivery, what in ((codes, OTHER, sealed), (Codes(b"x", Random(1)), ONE, sealed), (codes, ONE, b"")):
        with pytest.raises(CannotOpen):
            opener.open(delivery, what)


NUMBERS = [
    ("+13125550142", "US"),
    ("+14165550123", "CA"),
    ("+4915112345678", "DE"),
    ("+447400123456", "GB"),
    ("+99912345678", None),
    ("no number", None),
]


@pytest.mark.parametrize(("number", "country"), NUMBERS)
def test_a_number_has_a_country(number: str, country: str | None) -> None:
    """Also where countries share a code."""
    assert country_of(number) == country


def counts(**changes: int) -> dict[str, int]:
    return {**dict.fromkeys(Scope, 1), **changes}


@pytest.mark.parametrize(
    ("channel", "address", "countries", "counted", "reason"),
    [
        (Channel.SMS, "+13125550142", (), {}, None),
        (Channel.SMS, "+13125550142", ("CA", "US"), {}, None),
        (Channel.SMS, "+4915112345678", ("CA", "US"), {}, Reason.COUNTRY_NOT_ALLOWED),
        (Channel.SMS, "+99912345678", ("US",), {}, Reason.COUNTRY_NOT_ALLOWED),
        (Channel.EMAIL, "ann@example.com", ("US",), {}, None),
        (Channel.SMS, "", (), {}, Reason.NO_ADDRESS),
        (Channel.SMS, "+13125550142", (), {"address": 3}, Reason.RATE_LIMITED),
        (Channel.SMS, "+13125550142", (), {"prefix": 5}, Reason.RATE_LIMITED),
        (Channel.EMAIL, "ann@example.com", (), {"prefix": 5}, None),
        (Channel.EMAIL, "ann@example.com", (), {"address": 3}, Reason.RATE_LIMITED),
    ],
)
def test_where_codes_go(
    channel: Channel, address: str, countries: tuple[str, ...], counted: dict[str, int], reason: Reason | None
) -> None:
    """Nobody is told which of these it was."""
    limits = Limits(per_address=2, per_prefix=4)
    partner = PartnerSettings(countries=countries)
    assert why_not(channel, address, partner, counts(**counted), limits) is reason


def test_a_person_and_a_bank_have_limits_they_are_told_of() -> None:
    """The last one that is allowed still is."""
    limits = Limits(per_user=2, per_partner=5)
    for counted, reached in (({"user": 2, "partner": 5}, False), ({"user": 3}, True), ({"partner": 6}, True)):
        assert limits.reached_by_user(counts(**counted)) is reached, counted


def test_numbers_of_one_block_are_counted_together() -> None:
    """Who pumps texts has a block of them; e-mail and texts are counted apart."""
    user = UserKey(1, 1)
    first, second = (subjects(user, Channel.SMS, number) for number in ("+13125550142", "+13125550999"))
    assert first[Scope.PREFIX] == second[Scope.PREFIX]
    assert first[Scope.ADDRESS] != second[Scope.ADDRESS]
    other = subjects(user, Channel.SMS, "+13125560142")
    assert other[Scope.PREFIX] != first[Scope.PREFIX]
    assert list(subjects(user, Channel.SMS, "")) == list(first), "an answer takes as long without an address"


MakeCase = Callable[..., GateCase]
CODE = {"purpose": Purpose.VERIFICATION, "notification_id": None, "fact_key": None, "token_taken": True}


def test_a_code_passes_night_limits_and_preferences(make_case: MakeCase) -> None:
    """The person waits for it."""
    off = Preferences(
        email_enabled=False,
        sms_enabled=False,
        overrides={(AlertKind.GOAL, Channel.SMS): False},
        quiet_hours=QuietHours(enabled=True, start=NOON.time(), end=NOON.time().replace(hour=17)),
    )
    for channel in (Channel.EMAIL, Channel.SMS):
        case = make_case(
            delivery_={**CODE, "channel": channel},
            contact_={"email_verified_at": None, "phone_verified_at": None},
            preferences=off,
            counts=Counts(100, 100, 100),
        )
        strict = replace(case, rules=replace(case.rules, unverified_email_allowed=False))
        assert gate(case) == gate(strict) == Proceed()


@pytest.mark.parametrize("cause", SuppressionCause)
def test_a_code_never_goes_where_nothing_is_sent(make_case: MakeCase, cause: SuppressionCause) -> None:
    """STOP is STOP."""
    case = make_case(delivery_={**CODE, "channel": Channel.SMS}, suppressed=cause)
    assert gate(case) == Suppress(cause.reason)


def test_a_code_that_is_too_old_or_has_nowhere_to_go_ends(make_case: MakeCase) -> None:
    """Ten minutes, whatever held it up."""
    case = make_case(delivery_={**CODE, "expires_at": NOON + timedelta(minutes=10)})
    assert gate(replace(case, now=NOON + timedelta(minutes=10))) == Expire()
    assert gate(make_case(delivery_=CODE, contact_={"email": None})) == Suppress(Reason.NO_ADDRESS)


@pytest.mark.parametrize("purpose", [Purpose.VERIFICATION, Purpose.TEST])
def test_nobody_is_asked_whether_a_code_or_a_trial_still_holds(make_case: MakeCase, purpose: Purpose) -> None:
    """No alert of theirs is known to the evaluator."""
    case = make_case(delivery_={**CODE, "purpose": purpose, "status": DeliveryState.RETRYING})
    assert not needs_recheck(case.delivery, case.notification, NOON + timedelta(hours=1))
    alert = replace(case.delivery, purpose=Purpose.ALERT)
    assert needs_recheck(alert, case.notification, NOON)


def test_the_link_of_a_codes_email_stops_no_kind_of_alert(make_notification: Callable[..., Notification]) -> None:
    """It is none's: who clicks it wants no e-mail at all."""
    links = UnsubscribeLinks({"1": b"key"}, "https://bank.example")
    email = Email(Renderer("https://app.example", "Bank"), links)
    told = replace(make_notification(), context=Verification("482913", timedelta(minutes=10)))
    switch = links.read(email.stop(told).rpartition("/")[2])
    assert switch == KindSwitch(1, 1, ManyKinds.ALL, Channel.EMAIL)
