"""The plan and the gate for push messages and webhooks, whose deliveries have addresses of their own."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tocsin_dispatcher.planning.gate import gate
from tocsin_dispatcher.planning.plan import plan
from tocsin_dispatcher.planning.stages.rate_limits import owes_token
from tocsin_dispatcher.reasons import Reason, SuppressionCause
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import (
    AlertKind,
    Channel,
    Contact,
    Counts,
    Delivery,
    EndpointTaking,
    Firing,
    GateCase,
    Hold,
    OwnAddresses,
    Preferences,
    Proceed,
    PushSubscription,
    QuietHours,
    Suppress,
    WebhookEndpoint,
)
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds

NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
LAPTOP, PHONE, MINE, BANKS, OFF = (UUID(int=number) for number in range(1, 6))
PENDING, SUPPRESSED = (DeliveryState.PENDING, None), DeliveryState.SUPPRESSED
AWAITED = (DeliveryState.HELD, Reason.PROFILE_AWAITED)
BROWSER = PushSubscription(1, LAPTOP, "push.example", b"")
ENDPOINT = WebhookEndpoint(1, MINE, "https://hook.example/1", "https://hook.example", False, (), b"{}")


def taking(id_: UUID, *kinds: AlertKind, banks: bool = False, disabled: bool = False) -> EndpointTaking:
    return EndpointTaking(id_, banks, frozenset(kinds), disabled)


def made(firing: Firing, addresses: OwnAddresses, contact: Contact | None = None) -> tuple[Delivery, ...]:
    """What is planned beside the inbox's."""
    inbox, *others = plan(firing, contact, NOON, SeededIds(1, SteppedClock(NOON)), addresses)
    assert inbox.channel is Channel.IN_APP
    assert len({one.id for one in (inbox, *others)}) == 1 + len(others)
    return tuple(others)


def planned(
    firing: Firing, addresses: OwnAddresses, contact: Contact | None = None
) -> list[tuple[Channel, UUID | None, DeliveryState, Reason | None]]:
    """How it begins."""
    return [(one.channel, one.destination_id, one.status, one.reason) for one in made(firing, addresses, contact)]


def test_each_browser_and_each_endpoint_of_the_user_gets_a_delivery(
    make_firing: Callable[..., Firing], contact: Contact
) -> None:
    firing = make_firing(channels=(Channel.PUSH, Channel.WEBHOOK))
    assert planned(firing, OwnAddresses((LAPTOP, PHONE), (taking(MINE),)), contact) == [
        (Channel.PUSH, LAPTOP, *PENDING),
        (Channel.PUSH, PHONE, *PENDING),
        (Channel.WEBHOOK, MINE, *PENDING),
    ]


def test_what_is_asked_for_and_leads_nowhere_is_planned_once_and_says_so(make_firing: Callable[..., Firing]) -> None:
    firing = make_firing(channels=(Channel.PUSH, Channel.WEBHOOK))
    nowhere = (None, SUPPRESSED, Reason.NO_ADDRESS)
    assert planned(firing, OwnAddresses()) == [(Channel.PUSH, *nowhere), (Channel.WEBHOOK, *nowhere)]
    other_kind = taking(MINE, AlertKind.GOAL)
    assert planned(firing, OwnAddresses((), (other_kind,)))[1] == (Channel.WEBHOOK, *nowhere)


def test_who_is_not_asked_for_gets_nothing(make_firing: Callable[..., Firing]) -> None:
    assert planned(make_firing(channels=()), OwnAddresses((LAPTOP,), (taking(MINE),))) == []


def test_the_bank_s_endpoints_get_what_they_take_whatever_the_alert_asks_for(
    make_firing: Callable[..., Firing],
) -> None:
    goals = taking(PHONE, AlertKind.GOAL, banks=True)
    addresses = OwnAddresses((), (taking(BANKS, AlertKind.MERCHANT_NAME, banks=True), goals))
    assert planned(make_firing(channels=()), addresses) == [(Channel.WEBHOOK, BANKS, *PENDING)]
    assert planned(make_firing(channels=(Channel.WEBHOOK,)), addresses) == [
        (Channel.WEBHOOK, None, SUPPRESSED, Reason.NO_ADDRESS),
        (Channel.WEBHOOK, BANKS, *PENDING),
    ], "the user's own lead nowhere, and that is told"


def test_a_disabled_endpoint_is_planned_suppressed_with_its_reason(make_firing: Callable[..., Firing]) -> None:
    addresses = OwnAddresses((), (taking(OFF, disabled=True), taking(BANKS, banks=True, disabled=True)))
    assert planned(make_firing(channels=(Channel.WEBHOOK,)), addresses) == [
        (Channel.WEBHOOK, OFF, SUPPRESSED, Reason.SUPPRESSED_DISABLED),
        (Channel.WEBHOOK, BANKS, SUPPRESSED, Reason.SUPPRESSED_DISABLED),
    ]


@pytest.mark.parametrize("known", [None, 8])
def test_a_push_message_waits_for_the_profile_and_no_webhook_does(
    make_firing: Callable[..., Firing], contact: Contact, known: int | None
) -> None:
    """Neither hour nor language of its reader is known for sure; systems have none."""
    firing = make_firing(channels=(Channel.PUSH, Channel.WEBHOOK), profile_version=9)
    person = None if known is None else replace(contact, version=known)
    addresses = OwnAddresses((LAPTOP, PHONE), (taking(MINE), taking(BANKS, banks=True)))
    assert planned(firing, addresses, person) == [
        (Channel.PUSH, LAPTOP, *AWAITED),
        (Channel.PUSH, PHONE, *AWAITED),
        (Channel.WEBHOOK, MINE, *PENDING),
        (Channel.WEBHOOK, BANKS, *PENDING),
    ]
    waits = {one.channel: one.due_at - NOON for one in made(firing, addresses, person)}
    assert waits[Channel.PUSH] == timedelta(seconds=60)
    assert waits[Channel.WEBHOOK] == timedelta(0)
    assert planned(firing, addresses, replace(contact, version=9))[0] == (Channel.PUSH, LAPTOP, *PENDING)


def test_whose_profile_is_awaited_without_a_browser_has_nothing_to_wait_for(
    make_firing: Callable[..., Firing],
) -> None:
    """No profile brings one."""
    firing = make_firing(channels=(Channel.PUSH,), profile_version=9)
    assert planned(firing, OwnAddresses()) == [(Channel.PUSH, None, SUPPRESSED, Reason.NO_ADDRESS)]


def test_a_push_message_whose_profile_never_came_leaves(make_case: Callable[..., GateCase]) -> None:
    """It has its address, unlike an e-mail. The hour is as the evaluator knew it, and UTC's where it knew none."""
    waited = {"channel": Channel.PUSH, "destination_id": LAPTOP, "reason": Reason.PROFILE_AWAITED}
    nobody = {"delivery_": waited, "destination": BROWSER, "contact": None}
    assert gate(make_case(**nobody)) == Proceed()
    held = gate(make_case(**nobody, **NIGHT))
    assert isinstance(held, Hold)
    assert (held.until, held.reason) == (datetime(2025, 11, 6, 8, tzinfo=UTC), Reason.QUIET_HOURS)
    in_chicago = gate(make_case(**nobody, **NIGHT, notification={"time_zone": "America/Chicago"}))
    assert isinstance(in_chicago, Hold)
    assert in_chicago.until == datetime(2025, 11, 6, 14, tzinfo=UTC)


NIGHT = {"preferences": Preferences(quiet_hours=QuietHours(enabled=True)), "now": datetime(2025, 11, 6, 5, tzinfo=UTC)}
FULL = {"counts": Counts(this_hour=99, today=99)}


@pytest.mark.parametrize(
    ("channel", "changes", "verdict"),
    [
        # a browser is there; it is gone; the channel is off
        (Channel.PUSH, {"destination": BROWSER}, Proceed()),
        (Channel.PUSH, {"destination": None}, Suppress(Reason.NO_ADDRESS)),
        (
            Channel.PUSH,
            {"destination": BROWSER, "preferences": Preferences(push_enabled=False)},
            Suppress(Reason.PREFERENCE_OFF),
        ),
        # a browser needs no address of the profile's
        (Channel.PUSH, {"destination": BROWSER, "contact": None}, Proceed()),
        # an endpoint is there; it is gone; it is disabled
        (Channel.WEBHOOK, {"destination": ENDPOINT}, Proceed()),
        (Channel.WEBHOOK, {"destination": None}, Suppress(Reason.NO_ADDRESS)),
        (
            Channel.WEBHOOK,
            {"destination": ENDPOINT, "suppressed": SuppressionCause.DISABLED},
            Suppress(Reason.SUPPRESSED_DISABLED),
        ),
        # systems sleep at no time, and count nothing
        (Channel.WEBHOOK, {"destination": ENDPOINT, **NIGHT}, Proceed()),
        (Channel.WEBHOOK, {"destination": ENDPOINT, **FULL}, Proceed()),
    ],
)
def test_the_gate(
    make_case: Callable[..., GateCase], channel: Channel, changes: dict[str, Any], verdict: object
) -> None:
    assert gate(make_case(delivery_={"channel": channel, "destination_id": MINE}, **changes)) == verdict


@pytest.mark.parametrize("changes", [NIGHT, FULL])
def test_people_sleep_and_have_enough_of_push_messages(
    make_case: Callable[..., GateCase], changes: dict[str, Any]
) -> None:
    case = make_case(delivery_={"channel": Channel.PUSH, "destination_id": LAPTOP}, destination=BROWSER, **changes)
    assert isinstance(gate(case), Hold)


def test_tokens_are_taken_where_people_are_disturbed(make_case: Callable[..., GateCase]) -> None:
    def delivery(**changes: Any) -> Delivery:
        return make_case(delivery_=changes).delivery

    owing = {channel for channel in Channel if owes_token(delivery(channel=channel))}
    assert owing == {Channel.EMAIL, Channel.SMS, Channel.PUSH}
    assert not owes_token(delivery(token_taken=True))
