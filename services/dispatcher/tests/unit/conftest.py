"""Builders of values: each test names only what it is about."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import (
    AlertKind,
    Attempt,
    Channel,
    Contact,
    Delivery,
    Firing,
    FiringContext,
    GateCase,
    MerchantNameContext,
    Notification,
    PartnerSettings,
    Preferences,
    Purpose,
    Recipient,
    WorkClass,
)

NOON_IN_CHICAGO = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
FIRING_ID = UUID("01935f4e-0000-7000-8000-000000000001")
DELIVERY_ID = UUID("01935f4e-0000-7000-8000-000000000002")
PURCHASE = MerchantNameContext(991, 991, "Corner Coffee", Decimal("-4.75"), "USD", date(2025, 11, 5), "coffee")


@pytest.fixture
def contact() -> Contact:
    """A person in Chicago, both addresses verified."""
    seen = datetime(2025, 1, 1, tzinfo=UTC)
    return Contact(1, 1, "ann@example.com", seen, "+13125550100", seen, "en-US", "America/Chicago", 3)


@pytest.fixture
def make_firing() -> Callable[..., Firing]:
    """A realtime firing of a merchant alert for e-mail and SMS."""

    def make(context: FiringContext = PURCHASE, **changes: Any) -> Firing:
        firing = Firing(
            id=FIRING_ID,
            partner_id=1,
            user_id=1,
            alert_id=7,
            kind=context.kind,
            work_class=WorkClass.REALTIME,
            occurrence_key="1:purchase:991",
            context=context,
            fired_at=NOON_IN_CHICAGO,
            critical=False,
            channels=(Channel.EMAIL, Channel.SMS),
            daily_digest=False,
            profile_version=3,
            time_zone="America/Chicago",
            locale="en-US",
            alert_name="Coffee",
        )
        return replace(firing, **changes)

    return make


@pytest.fixture
def delivery() -> Delivery:
    """A pending e-mail, planned at noon."""
    return Delivery(
        id=DELIVERY_ID,
        partner_id=1,
        purpose=Purpose.ALERT,
        notification_id=FIRING_ID,
        user_id=1,
        channel=Channel.EMAIL,
        destination_id=None,
        destination="ann@example.com",
        work_class=WorkClass.REALTIME,
        status=DeliveryState.PENDING,
        reason=None,
        due_at=NOON_IN_CHICAGO,
        attempt=0,
        failures=0,
        expires_at=NOON_IN_CHICAGO + timedelta(hours=24),
        fact_key="purchase:991",
        created_at=NOON_IN_CHICAGO,
    )


@pytest.fixture
def make_notification() -> Callable[..., Notification]:
    """A notification of a context."""

    def make(context: FiringContext = PURCHASE, **changes: Any) -> Notification:
        values: dict[str, Any] = {
            "id": FIRING_ID,
            "partner_id": 1,
            "user_id": 1,
            "alert_id": 7,
            "kind": AlertKind(context.kind),
            "work_class": WorkClass.REALTIME,
            "critical": False,
            "daily_digest": False,
            "context": context,
            "fired_at": NOON_IN_CHICAGO,
            "title": "Corner Coffee",
            "message": "Transaction detected",
            "action_url": "https://app.example/transactions/991",
        }
        return Notification(**{**values, **changes})

    return make


@pytest.fixture
def make_case(
    contact: Contact, delivery: Delivery, make_notification: Callable[..., Notification]
) -> Callable[..., GateCase]:
    """A case for the gate at noon that would proceed; changes by the name of the value they belong to."""

    def make(
        now: datetime = NOON_IN_CHICAGO,
        delivery_: dict[str, Any] | None = None,
        notification: dict[str, Any] | None = None,
        contact_: dict[str, Any] | None = None,
        **recipient: Any,
    ) -> GateCase:
        person = {
            "contact": replace(contact, **(contact_ or {})),
            "preferences": Preferences(),
            "partner": PartnerSettings(),
            **recipient,
        }
        return GateCase(
            replace(delivery, **(delivery_ or {})), make_notification(**(notification or {})), Recipient(**person), now
        )

    return make


@pytest.fixture
def attempt() -> Attempt:
    """The first attempt of the delivery, at noon."""
    return Attempt(1, DELIVERY_ID, 1, "sendgrid", "key", NOON_IN_CHICAGO)
